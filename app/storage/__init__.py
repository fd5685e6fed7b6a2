"""Where dataset bytes rest: a port and its adapters."""
