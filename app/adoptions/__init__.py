"""Adoptions: a fine-tuning job that the portal or another client made comes into a project, with its data."""
