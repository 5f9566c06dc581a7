"""``python -m RISCluster demo``: a synthetic data set."""

import argparse
import sys

from ..cli import first_command
from .arguments import option_number

HELP = "write a synthetic data set of eight known classes of seismic spectrograms"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("-o", "--output", default="Data/demo.h5", metavar="FILE")
    parser.add_argument("--samples", default="4000", metavar="N")
    parser.add_argument("--snr", default="6", metavar="DB", help="signal to noise, dB")
    parser.add_argument("--seed", default="2009")
    parser.add_argument(
        "--imbalance",
        default="1",
        metavar="RATIO",
        help="most frequent class over the least frequent (1: balanced)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the set."""
    from ..data.synthetic import write_demo

    most = sys.float_info.max
    n = option_number("--samples", arguments.samples, 1, most, "1 or more", int)
    snr = option_number("--snr", arguments.snr, -100, 100, "-100 to 100 dB")
    seed = option_number("--seed", arguments.seed, 1, most, "1 or more", int)
    imbalance = option_number("--imbalance", arguments.imbalance, 1, most, "1 or more")
    path = write_demo(arguments.output, n, snr, seed, imbalance)
    print(f"{path}: {n:,} spectrograms of eight classes, {snr:g} dB")
    print(f"next: {first_command(path)}")
