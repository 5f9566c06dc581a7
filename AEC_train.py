"""Stage 1: pretrain a convolutional autoencoder on spectrograms; results in <run>/AEC.

    python AEC_train.py                                       settings from config.ini
    python AEC_train.py run.name=rutford data.file=x.h5       with other settings
    torchrun --standalone --nproc_per_node=4 AEC_train.py     with four processes

After an interruption, the same command resumes it.
"""

import sys
from collections.abc import Sequence

from RISCluster.errors import all_processes
from RISCluster.settings import parse_stage


def main(words: Sequence[str] | None = None) -> int:
    """Run this stage from the command line; the exit code."""
    arguments = parse_stage(__doc__, words)

    def work() -> None:
        from RISCluster.run_folder import load_run_settings  # here, so that --help is fast
        from RISCluster.stages.pretrain import run_aec

        run_aec(load_run_settings(arguments.config, arguments.settings))

    return all_processes(work)


if __name__ == "__main__":
    sys.exit(main())
