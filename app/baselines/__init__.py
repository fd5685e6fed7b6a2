"""Baselines: what the base model reaches without training, by prompt, examples and retrieval, on the same cases."""
