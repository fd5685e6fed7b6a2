"""A local Azure OpenAI for fine-tuning: it speaks Azure's wire and knows nothing of the service that uses it."""
