"""Tears down every deployment of ours whose end has passed, with nothing but the database and Azure."""
