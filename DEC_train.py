"""Stage 3: refine encoder and centroids together, label every sample; results in <run>/DEC.

    python DEC_train.py                                       settings from config.ini
    python DEC_train.py run.name=rutford data.file=x.h5       with other settings
    torchrun --standalone --nproc_per_node=4 DEC_train.py     with four processes

Interrupted, it goes on where it stopped when the same command is run again.
"""

import sys
from collections.abc import Sequence

from RISCluster.cli import stage_main


def main(words: Sequence[str] | None = None) -> int:
    """Command line of this stage; the exit code."""
    return stage_main("DEC", __doc__, words)


if __name__ == "__main__":
    sys.exit(main())
