"""Exact attention computed in parts: tiled, split along the keys, and read through a block table."""
