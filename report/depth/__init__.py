"""How deep: where to read a backbone and where to train it, from predictions to a sentence."""
