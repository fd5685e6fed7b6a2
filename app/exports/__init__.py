"""Exports: a model told on a card, carried as a bundle to another installation, and read there as a past run."""
