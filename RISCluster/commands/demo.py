"""``python -m RISCluster demo``: a synthetic data set."""

import argparse

from ..cli import first_command

HELP = "write a synthetic data set of eight known classes of seismic spectrograms"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("-o", "--output", default="Data/demo.h5", metavar="FILE")
    parser.add_argument("--samples", type=_count, default=4000, metavar="N")
    parser.add_argument(
        "--snr", type=_decibels, default=6.0, metavar="DB", help="signal to noise, dB"
    )
    parser.add_argument("--seed", type=_count, default=2009)
    parser.add_argument(
        "--imbalance",
        type=_ratio,
        default=1.0,
        metavar="RATIO",
        help="most frequent class over the least frequent (1: balanced)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the set."""
    from ..data.writing import write_demo

    path = write_demo(
        arguments.output, arguments.samples, arguments.snr, arguments.seed, arguments.imbalance
    )
    print(f"{path}: {arguments.samples:,} spectrograms of eight classes, {arguments.snr:g} dB")
    print(f"next: {first_command(path)}")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not allowed; allowed: 1 or more")
    return value


def _decibels(text: str) -> float:
    value = float(text)
    if not -100 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not allowed; allowed: -100 to 100 dB")
    return value


def _ratio(text: str) -> float:
    value = float(text)
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not allowed; allowed: 1 or more")
    return value
