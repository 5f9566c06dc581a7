"""Layouts of files, transforms, split, batches, and the synthetic set."""
