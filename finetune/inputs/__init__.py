"""Inputs: what a network is fed, from pixels or from activations of frozen blocks."""
