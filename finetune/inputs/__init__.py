"""Inputs of a network: pixels, or activations of frozen blocks."""
