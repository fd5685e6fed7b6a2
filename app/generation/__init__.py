"""Generation: training rows made by a deployed model from pairs, documents or an API, checked and never trusted."""
