"""Connections: one Azure OpenAI resource each, how to reach it, and whether it may be called right now."""
