"""Everything around the three stages: ``python -m RISCluster COMMAND``."""

import argparse
import sys
from collections.abc import Sequence

from .cli import guarded


def main(words: Sequence[str] | None = None) -> int:
    """Command line of the package; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m RISCluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    arguments = parser.parse_args(words)
    return guarded(lambda: arguments.work(arguments))


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = commands.add_parser(
        "demo",
        help="write a synthetic data set of eight known classes",
        description="Write a synthetic data set of eight known classes of seismic spectrograms.",
    )
    demo.add_argument("-o", "--output", default="Data/demo.h5", metavar="FILE")
    demo.add_argument("--samples", type=_count, default=4000, metavar="N")
    demo.add_argument(
        "--snr", type=_decibels, default=6.0, metavar="DB", help="signal to noise, dB"
    )
    demo.add_argument("--seed", type=_count, default=2009)
    demo.add_argument(
        "--imbalance",
        type=_ratio,
        default=1.0,
        metavar="RATIO",
        help="most frequent class over the least frequent (1: balanced)",
    )
    demo.set_defaults(work=_demo)


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


def _demo(arguments: argparse.Namespace) -> None:
    from .data.writing import write_demo

    path = write_demo(
        arguments.output, arguments.samples, arguments.snr, arguments.seed, arguments.imbalance
    )
    print(f"{path}: {arguments.samples:,} spectrograms of eight classes, {arguments.snr:g} dB")


if __name__ == "__main__":
    sys.exit(main())
