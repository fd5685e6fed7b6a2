"""Deployments: a model made callable in Azure, warmed, watched, and never forgotten."""
