"""How good the clusters of finished runs are: in themselves, against each other, against truth."""
