"""All that is known of Azure OpenAI: the port the rooms call, its adapters, and the dated catalogue."""
