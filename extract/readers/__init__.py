"""Readers: one module a kind of data set, each giving the rows of a manifest."""
