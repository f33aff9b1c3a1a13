"""The solver: many logistic heads over one embedding matrix at once."""
