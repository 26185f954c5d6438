"""Presets, their weights, and the captioner assembled from them."""

DEFAULT_PRESET = "smollm2-effnet"
"""The preset where none is named."""
