"""Networks, and the mathematics of clustering in their latent space."""
