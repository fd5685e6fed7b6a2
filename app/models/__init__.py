"""Models: what jobs left behind, with where it came from, and the catalogue of bases."""
