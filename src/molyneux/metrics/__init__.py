"""Statistics that stand beside every number."""
