"""Studies: variations of one training within one budget (hyperparameter sweeps), measured on one validation set."""
