"""Kitae, the service: rooms in the order of a fine-tuned model's life, and the doors that lead to them."""
