"""``python -m RISCluster COMMAND``: a module a command, loaded when it is asked for.

Each has `HELP`, a sentence; `add_arguments`, which takes a parser; and `run`, which takes what was
parsed. Their heavy imports are inside `run`. Those of the stages have `HELP` and `STAGE`.
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
