"""Gaussian mixtures in latent space: initialisation, fit, stability, choice of K."""
