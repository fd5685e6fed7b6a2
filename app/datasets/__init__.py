"""Datasets: names with immutable, content-addressed versions, and their copies at Azure."""
