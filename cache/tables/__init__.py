"""Rules for the tables that people bring: the same for `index` and for `evaluate`."""
