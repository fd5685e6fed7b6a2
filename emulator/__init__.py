"""A local Azure OpenAI for fine-tuning: a separate server that imports nothing of the service."""
