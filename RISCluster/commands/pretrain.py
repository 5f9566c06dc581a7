"""``python -m RISCluster pretrain``: the first stage, as AEC_train.py."""

HELP = "pretrain the autoencoder on spectrograms, results in <run>/AEC (as AEC_train.py)"
STAGE = "AEC"
