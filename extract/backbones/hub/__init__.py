"""Models of Hugging Face: built, and filled from the layouts in which their weights are kept."""
