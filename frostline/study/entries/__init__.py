"""Parts of a study file."""
