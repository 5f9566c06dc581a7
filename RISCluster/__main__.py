"""Commands of the package: ``python -m RISCluster COMMAND``."""

import importlib
import sys
from collections.abc import Sequence

from .commands.arguments import make_parsers
from .errors import all_processes
from .settings import COMMANDS, shipped_config


def main(words: Sequence[str] | None = None) -> int:
    """Command line of the package; the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    return all_processes(lambda: _run(words))


def _run(words: list[str]) -> None:
    parser, parsers = make_parsers()
    if not words or words[0] not in parsers:
        parser.parse_args(words)  # prints help, or is an error
    name = words[0]
    arguments = parsers[name].parse_intermixed_args(words[1:])
    stages = {command: stage for stage, command in COMMANDS.items()}
    if name in stages:
        from .run_folder import run_stage  # here, so that --help is fast

        run_stage(stages[name], arguments.config, arguments.words)
    elif name == "config":
        print(shipped_config(), end="", flush=True)
    else:
        module = importlib.import_module(f".commands.{arguments.module}", __package__)
        getattr(module, f"run_{name}")(arguments)


if __name__ == "__main__":
    sys.exit(main())
