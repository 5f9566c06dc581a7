"""``python -m RISCluster refine``: the third stage, as DEC_train.py."""

HELP = "refine encoder and clusters, label every sample, results in <run>/DEC (as DEC_train.py)"
STAGE = "DEC"
