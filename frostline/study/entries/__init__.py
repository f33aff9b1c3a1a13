"""Entries of a study file."""
