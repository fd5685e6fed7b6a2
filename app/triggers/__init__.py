"""Triggers: news from outside. A signed message brings the next look forward and is never believed for more."""
