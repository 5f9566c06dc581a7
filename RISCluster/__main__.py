"""Everything around the three stages: ``python -m RISCluster COMMAND``."""

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from .cli import COMMANDS as COMMANDS_OF_STAGES
from .cli import all_processes, guarded, package_command, stage_main
from .commands import COMMANDS


def main(words: Sequence[str] | None = None) -> int:
    """Command line of the package; the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ("-h", "--help"):
        return guarded(lambda: print(_overview(), flush=True)) or (0 if words else 2)
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        print(
            f"no command '{name}'{hint}; commands are {', '.join(COMMANDS)}; "
            f"{package_command('COMMAND')} --help says more",
            file=sys.stderr,
        )
        return 2
    module = _module(name)
    if hasattr(module, "STAGE"):
        return stage_main(module.STAGE, _of_stage(module), rest, package_command(name))
    parser = argparse.ArgumentParser(prog=package_command(name), description=_sentence(module))
    module.add_arguments(parser)
    # Not a parser with sub-parsers: those do not take options and words in any order.
    arguments = parser.parse_intermixed_args(rest)
    return all_processes(lambda: module.run(arguments))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f".commands.{name}", __package__)


def _sentence(module: ModuleType) -> str:
    return module.HELP[0].upper() + module.HELP[1:] + "."


def _of_stage(module: ModuleType) -> str:
    return f"""{_sentence(module)}

    {package_command(COMMANDS_OF_STAGES[module.STAGE])} run.name=rutford data.file=x.h5

A run that is there has its own settings for defaults. Interrupted, it goes on where it stopped
when the same command is run again."""


def _overview() -> str:
    lines = [f"  {name:10}{_module(name).HELP}" for name in COMMANDS]
    return "\n".join(
        [f"usage: {package_command('COMMAND')} ...", "", *lines, "", "COMMAND --help says more."]
    )


if __name__ == "__main__":
    sys.exit(main())
