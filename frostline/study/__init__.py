"""Studies: data sets, backbones and protocols in one file, and their runner."""
