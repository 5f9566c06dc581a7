"""Finished runs: stages, tables of labels, networks, names of clusters."""
