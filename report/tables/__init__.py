"""Tables: one model of a table, and a writer for each format."""
