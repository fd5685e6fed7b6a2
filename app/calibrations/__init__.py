"""Graders tried on samples before anything is trained by them."""
