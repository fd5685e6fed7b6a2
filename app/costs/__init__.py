"""Costs: what things cost by dated prices, what is reserved, what was spent, and the caps on both."""
