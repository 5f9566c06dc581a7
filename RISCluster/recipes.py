"""Sets of values that ``run.recipe`` names: each replaces keys that are left at their defaults."""

# Jenkins et al. 2021, as far as the defaults differ from it.
PAPER = {
    ("data", "amplitude"): "linear",
    ("data", "standardize"): "no",
    ("aec", "latent_activation"): "relu",
    ("aec", "n_components"): "0",
    ("aec", "schedule"): "constant",
    ("gmm", "init"): "kmeans",
    ("gmm", "covariance_shrinkage"): "0",
    ("dec", "latent_scale"): "none",
    ("dec", "gamma"): "0.001",
    ("dec", "labels"): "student",
    ("dec", "keep"): "refined",
}

RECIPES = {"none": {}, "paper": PAPER}
