"""Everything around the three stages: ``python -m RISCluster COMMAND``."""

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence

from .cli import all_processes, guarded, package_command, parse_stage, run_stage
from .commands import COMMANDS, CONFIG_HELP, STAGES
from .settings import shipped_config

STAGE_HELP = """{title}

    {program} run.name=rutford data.file=x.h5

An existing run has its own settings as defaults. Interrupted, it resumes when the same command is
run again."""


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
    program, title = package_command(name), _help(name)
    title = f"{title[0].upper()}{title[1:]}."
    if name in STAGES:
        description = STAGE_HELP.format(title=title, program=program)
        arguments = parse_stage(description, rest, program)
        stage = STAGES[name][0]
        return all_processes(lambda: run_stage(stage, arguments.config, arguments.settings))
    parser = argparse.ArgumentParser(prog=program, description=title)
    if name == "config":
        parser.parse_args(rest)
        return guarded(lambda: print(shipped_config(), end="", flush=True))
    module = importlib.import_module(f".commands.{name}", __package__)
    module.add_arguments(parser)
    # Not a parser with sub-parsers: those do not take options and words in any order.
    arguments = parser.parse_intermixed_args(rest)
    return all_processes(lambda: module.run(arguments))


def _help(name: str) -> str:
    if name in STAGES:
        return STAGES[name][1]
    if name == "config":
        return CONFIG_HELP
    return importlib.import_module(f".commands.{name}", __package__).HELP


def _overview() -> str:
    lines = [f"  {name:10}{_help(name)}" for name in COMMANDS]
    return "\n".join(
        [f"usage: {package_command('COMMAND')} ...", "", *lines, "", "COMMAND --help says more."]
    )


if __name__ == "__main__":
    sys.exit(main())
