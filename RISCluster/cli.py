"""What the scripts have in common: arguments, errors as one line, exit codes.

Exit codes: 0 done; 2 bad input or settings; 130 and 143 stopped by SIGINT and SIGTERM with the
state saved; 141 the reader of a pipe has gone; 1 anything else, with a traceback. Only light
modules are imported here, so that ``--help`` is quick.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import RISClusterError
from .settings import CONFIG, Settings

STAGES = {"AEC": "pretrain", "GMM": "cluster", "DEC": "refine"}  # module by stage


def stage_main(
    stage: str, description: str, words: Sequence[str] | None, program: str | None = None
) -> int:
    """Run one stage from the command line.

    Parameters
    ----------
    stage : {"AEC", "GMM", "DEC"}
    description : str
        What ``--help`` says.
    words : sequence of str or None
        Arguments; None takes those of the process.
    program : str or None
        What ``--help`` calls this command, if not by the script's name.

    Returns
    -------
    int
        Exit code.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(parser)
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="section.key=value",
        help="settings that replace those of the file, as run.name=rutford aec.lr=1e-4",
    )
    arguments = parser.parse_intermixed_args(words)
    return all_processes(lambda: run_stage(stage, arguments.config, arguments.settings))


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"settings file; without it {CONFIG} if it is there, or else the defaults",
    )


def run_stage(stage: str, config: str | None, overrides: Sequence[str]) -> Settings:
    """Run a stage with the settings of its run, of a file and of the command line; gives them."""
    from .stored import load_run_settings

    settings = load_run_settings(config, overrides, stage)
    module = importlib.import_module(f".stages.{STAGES[stage]}", __package__)
    getattr(module, f"run_{stage.lower()}")(settings)
    return settings


def all_processes(work: Callable[[], object]) -> int:
    """`guarded`, of one process or of one of several."""
    code = guarded(work)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        _leave(code)
    return code


def _leave(code: int) -> None:
    """End one of several processes at once, after its work is done and its files are closed.

    Threads of PyTorch's communication can be alive when the interpreter is taken down, and then
    abort the process: on a busy machine, one run in eight ended so, with all its results written.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def guarded(work: Callable[[], object]) -> int:
    """Do the work; an error made for users becomes one line on stderr and an exit code."""
    try:
        work()
    except RISClusterError as error:
        if error.to_be_told if error.to_be_told is not None else _is_first_process():
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            f"Stopped: {_called()}: what was saved before is intact; run the same command to go on",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        print(f"MemoryError: {_out_of_memory(error)}", file=sys.stderr)
        return 2
    return 0


def _called() -> str:
    """Script or command that was called, as a user types it."""
    name = Path(sys.argv[0]).name
    return next(iter(sys.argv[1:]), name) if name in ("__main__.py", "riscluster") else name


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"  # of torchrun


def _out_of_memory(error: Exception) -> str:
    """What ran out, what took it as far as PyTorch says, and which settings to change."""
    place, mode = ("GPU memory", "ram") if "cuda" in str(error).lower() else ("memory", "disk")
    said = " ".join(str(error).split()).split(". ")
    what = f" ({'. '.join(said[:3])})" if str(error) else ""
    return (
        f"not enough {place}{what}; set data.loadmode={mode}, or smaller aec.batch_size and "
        "dec.batch_size, and run the same command again: what was saved before is intact"
    )


def _is_out_of_memory(error: Exception) -> bool:
    """PyTorch reports exhausted memory as a RuntimeError, on CPU and GPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in text for words in ("allocate memory", "out of memory")
    )
