"""Sweeps: many heads trained on the same embeddings, each selected on validation images."""
