"""Quality of the clusters of finished runs: in themselves, between runs, against known classes."""
