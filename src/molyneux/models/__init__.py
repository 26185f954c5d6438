"""Presets, their weights, and the captioner assembled from them."""
