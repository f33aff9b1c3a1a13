"""Backbones: which there are, their weights, and what is taken from them."""
