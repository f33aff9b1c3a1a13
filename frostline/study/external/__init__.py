"""External data sets of a study: scored by its runs, and shown next to their own."""
