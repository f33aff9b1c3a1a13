"""The frost line: read a backbone at every depth, train it from some, choose, and say it."""
