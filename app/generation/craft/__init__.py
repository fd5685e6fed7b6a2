"""What is asked of a generator and what its answers are worth. Pure: no room, no database, no network."""
