"""What the steps of a study cost on this machine: measured on a few images, and remembered."""
