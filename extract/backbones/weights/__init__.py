"""Weights: where they are, how they are read, and the digest that names them."""
