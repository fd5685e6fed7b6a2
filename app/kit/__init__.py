"""Tools with no word of the domain: clock, ids, database, care, errors, logging."""
