"""``python -m RISCluster config``: the commented settings file."""

import argparse
from importlib import resources

HELP = "print config.ini with every setting, its default and what is allowed (config > config.ini)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command: none."""


def run(arguments: argparse.Namespace) -> None:
    """Print the file that comes with the package."""
    print(resources.files("RISCluster").joinpath("config.ini").read_text(encoding="utf-8"), end="")
