"""Heads: scikit-learn estimators for cached embeddings, and how each takes part in a sweep."""
