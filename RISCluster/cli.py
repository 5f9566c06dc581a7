"""Command lines: arguments of the stages, errors as one line, exit codes, commands in messages.

Exit codes: 0 done; 2 bad input or settings; 130 and 143 stopped by SIGINT and SIGTERM with the
state saved; 141 standard output was closed; 1 anything else, with a traceback. Only light
modules are imported here, so that ``--help`` is fast.
"""

import argparse
import importlib
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import RISClusterError
from .settings import CONFIG, RunSettings, Settings

SCRIPTS = {"AEC": "AEC_train.py", "GMM": "GMM_centroids.py", "DEC": "DEC_train.py"}
COMMANDS = {"AEC": "pretrain", "GMM": "cluster", "DEC": "refine"}  # commands and modules of stages


def parse_stage(
    description: str, words: Sequence[str] | None, program: str | None = None
) -> argparse.Namespace:
    """Arguments of a stage, `config` and `settings`; `program` is its name in ``--help``."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(program, description=description, formatter_class=kind)
    add_config(parser)
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="section.key=value",
        help="settings that replace those of the file, as run.name=rutford aec.lr=1e-4",
    )
    return parser.parse_intermixed_args(words)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``."""
    text = f"settings file (default: {CONFIG} if it exists, or else the default settings)"
    parser.add_argument("--config", metavar="FILE", help=text)


def run_stage(stage: str, config: str | None, overrides: Sequence[str]) -> Settings:
    """Run a stage with the settings of its run, of a file and of the command line; return them."""
    from .run_folder import load_run_settings

    settings = load_run_settings(config, overrides)
    module = importlib.import_module(f".stages.{COMMANDS[stage]}", __package__)
    getattr(module, f"run_{stage.lower()}")(settings)
    return settings


# ---- exit codes ---------------------------------------------------------------------------------


def all_processes(work: Callable[[], object]) -> int:
    """`guarded`; one of several processes exits here with the code."""
    code = guarded(work)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # PyTorch's threads can abort a shut-down
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def guarded(work: Callable[[], object]) -> int:
    """Do the work, print an error as one line and return the exit code."""
    try:
        work()
    except RISClusterError as error:
        is_rank0 = os.environ.get("RANK", "0") == "0"  # of torchrun
        if is_rank0 if error.is_cause is None else error.is_cause:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Stopped: run the same command to resume", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as `head` closes its pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (MemoryError, RuntimeError) as error:  # PyTorch raises RuntimeError, on CPU and GPU
        reason = " ".join(str(error).split())
        is_memory = re.search("allocate memory|out of memory", reason, re.IGNORECASE)
        if not (isinstance(error, MemoryError) or is_memory):
            raise
        print(
            f"MemoryError: {reason[:200] or 'not enough memory'}; set data.loadmode=disk or "
            "smaller batch sizes, and run the same command again: files saved before are intact",
            file=sys.stderr,
        )
        return 2
    return 0


# ---- command lines in messages ------------------------------------------------------------------


def stage_command(name: str, run_folder: Path, config: str | None = None, *words: str) -> str:
    """Command that runs a stage, in the form in which this process was started."""
    settings = ["--config", config] if config else []
    settings.append(f"run.name={run_folder.name}")
    if str(run_folder.parent) != RunSettings.folder:
        settings.append(f"run.folder={run_folder.parent}")
    started = Path(sys.argv[0] if sys.argv else "")
    if started.stem == "riscluster" or started.parts[-2:] == ("RISCluster", "__main__.py"):
        program = package_command(COMMANDS[name])
    else:  # a script, or called from Python
        is_script = started.name in SCRIPTS.values()
        script = started.with_name(SCRIPTS[name]) if is_script else SCRIPTS[name]
        program = f"python {shlex.quote(str(script))}"
    return f"{program} {shlex.join([*settings, *words])}"


def first_command(file: str | Path, config: str | None = None) -> str:
    """Command that runs the first stage on a file, with the run named after it."""
    run = Path(RunSettings.folder, run_name(file))
    return stage_command("AEC", run, config, f"data.file={file}")


def run_name(file: str | Path) -> str:
    """Name of a run on a file: the file's, with characters that suit a folder's name."""
    return re.sub(r"[^\w.+-]+", "_", Path(file).stem).strip("._") or "run"


def package_command(name: str) -> str:
    """``riscluster NAME`` or ``python -m RISCluster NAME``, as this process was started."""
    is_installed = Path(sys.argv[0] if sys.argv else "").stem == "riscluster"
    return f"riscluster {name}" if is_installed else f"python -m RISCluster {name}"
