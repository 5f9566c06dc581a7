"""``python -m RISCluster info``."""

import argparse

HELP = "not there yet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""


def run(arguments: argparse.Namespace) -> None:
    """Do the work."""
    raise NotImplementedError
