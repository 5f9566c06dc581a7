"""Commands of the package: ``python -m RISCluster COMMAND``."""

import difflib
import importlib
import sys
from collections.abc import Sequence

from .commands.arguments import COMMANDS, STAGES, parse
from .errors import all_processes, guarded
from .settings import package_command, shipped_config


def main(words: Sequence[str] | None = None) -> int:
    """Command line of the package; the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ("-h", "--help"):
        lines = [f"usage: {package_command('COMMAND')} ...", ""]
        lines += [f"  {name:10}{command.help}" for name, command in COMMANDS.items()]
        lines += ["", "COMMAND --help describes its arguments."]
        return guarded(lambda: print("\n".join(lines), flush=True)) or (0 if words else 2)
    name, rest = words[0], words[1:]
    program = package_command(name)
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        print(f"no command '{name}'{hint}; commands: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2

    def work() -> None:
        arguments = parse(name, program, rest)
        if name == "config":
            print(shipped_config(), end="", flush=True)
        elif name in STAGES:
            from .run_folder import run_stage  # here, so that --help is fast

            run_stage(STAGES[name], arguments.config, arguments.words)
        else:
            module = importlib.import_module(f".commands.{COMMANDS[name].module}", __package__)
            getattr(module, f"run_{name}")(arguments)

    return all_processes(work)


if __name__ == "__main__":
    sys.exit(main())
