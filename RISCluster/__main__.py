"""Everything around the three stages: ``python -m RISCluster COMMAND``."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from .cli import guarded
from .commands import COMMANDS


def main(words: Sequence[str] | None = None) -> int:
    """Command line of the package; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m RISCluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f".commands.{name}", __package__)
        sentence = module.HELP[0].upper() + module.HELP[1:] + "."
        command = commands.add_parser(name, help=module.HELP, description=sentence)
        module.add_arguments(command)
        command.set_defaults(work=module.run)
    arguments = parser.parse_args(words)
    return guarded(lambda: arguments.work(arguments))


if __name__ == "__main__":
    sys.exit(main())
