"""Trackers: runs are handed to MLflow, Weights & Biases, TensorBoard, or a tracker of your own."""
