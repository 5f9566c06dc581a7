"""``python -m RISCluster COMMAND``: a module a command, loaded when it is asked for.

Each has `HELP`, a sentence; `add_arguments`, which takes a parser; and `run`, which takes what was
parsed. Their heavy imports are inside `run`. The stages and `config` have no module.
"""

COMMANDS = (
    "download",
    "build",
    "cube",
    "info",
    "pretrain",
    "cluster",
    "refine",
    "run",
    "predict",
    "report",
    "compare",
    "export",
    "demo",
    "config",
)

STAGES = {
    "pretrain": (
        "AEC",
        "pretrain the autoencoder on spectrograms, results in <run>/AEC (as AEC_train.py)",
    ),
    "cluster": (
        "GMM",
        "fit Gaussian mixtures to the latents, results in <run>/GMM (as GMM_centroids.py)",
    ),
    "refine": (
        "DEC",
        "refine encoder and clusters, label every sample, results in <run>/DEC (as DEC_train.py)",
    ),
}
CONFIG_HELP = (
    "print config.ini with every setting, its default and what is allowed (config > config.ini)"
)
