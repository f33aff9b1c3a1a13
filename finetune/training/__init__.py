"""Training: epochs, steps, optimisers and checkpoints."""
