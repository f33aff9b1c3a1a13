"""What goes into a manuscript: methods, references, rows of checklists, and cards of models."""
