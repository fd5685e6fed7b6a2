"""Upkeep: what is compared with Azure as a whole. Strays are found, drift is seen, invariants are checked.

It stands above every room of a model's life, and none of them knows it.
"""
