"""The command line: user commands speak HTTP through `app.client`, operator commands wire the service."""
