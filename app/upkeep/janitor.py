"""Leftovers in our own storage that no row names: found, told, thrown away once old. It never asks Azure."""
