"""Scores of subgroups, with one test a column of whether they differ."""
