"""What is known of base models, limits and prices: dated data with sources, and its reader."""
