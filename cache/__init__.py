"""What is at rest: the manifest and the HDF5 stores."""
