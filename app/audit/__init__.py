"""Who changed what, when and from where, in chains that show whether anybody touched them."""
