"""Loops over epochs and batches, and encoding a whole data set. Nothing here draws or scores."""
