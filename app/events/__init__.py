"""Events: the append-only log of what happened, one row a fact, readable without a gap."""
