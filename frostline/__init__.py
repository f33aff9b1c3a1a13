"""Frostline finds out how deep a pretrained backbone should be frozen for your medical images."""

__version__ = "0.1.0"
