"""Heads trained on cached embeddings."""
