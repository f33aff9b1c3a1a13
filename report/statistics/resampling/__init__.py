"""Resampling: bootstrap replicates and leave-one-out values over units."""
