"""Stores: immutable HDF5 parts in a folder, written, read, merged and checked."""
