"""One writer of tables for each format."""
