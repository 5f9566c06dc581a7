"""``python -m RISCluster cluster``: the second stage, as GMM_centroids.py."""

HELP = "fit Gaussian mixtures to the latents, results in <run>/GMM (as GMM_centroids.py)"
STAGE = "GMM"
