"""Names of the stages' scripts and commands, and the command lines that messages tell."""

import shlex
import sys
from pathlib import Path

SCRIPTS = {"AEC": "AEC_train.py", "GMM": "GMM_centroids.py", "DEC": "DEC_train.py"}
COMMANDS = {"AEC": "pretrain", "GMM": "cluster", "DEC": "refine"}  # riscluster COMMAND
DEFAULT_FOLDER = "Outputs"


def stage_command(name: str, run_folder: Path, config: str | None = None) -> str:
    """Command line that runs a stage of a run, in the form in which this process was started.

    Parameters
    ----------
    name : {"AEC", "GMM", "DEC"}
    run_folder : Path
        ``<run.folder>/<run.name>``.
    config : str or None
        Settings file to name.

    Returns
    -------
    str
        As ``python GMM_centroids.py run.name=x`` or ``riscluster cluster run.name=x``.
    """
    words = [package_command(COMMANDS[name])]
    program = Path(sys.argv[0] if sys.argv else "")
    if program.name in SCRIPTS.values():
        words = [f"python {shlex.quote(str(program.with_name(SCRIPTS[name])))}"]
    elif not _is_of_package(program):  # called from Python
        words = [f"python {SCRIPTS[name]}"]
    words += [f"--config {shlex.quote(config)}"] if config else []
    words += [f"run.name={shlex.quote(run_folder.name)}"]
    if str(run_folder.parent) != DEFAULT_FOLDER:
        words.append(f"run.folder={shlex.quote(str(run_folder.parent))}")
    return " ".join(words)


def package_command(name: str) -> str:
    """``riscluster NAME`` or ``python -m RISCluster NAME``, as this process was started."""
    installed = Path(sys.argv[0] if sys.argv else "").stem == "riscluster"
    return f"riscluster {name}" if installed else f"python -m RISCluster {name}"


def _is_of_package(program: Path) -> bool:
    return program.stem == "riscluster" or program.parts[-2:] == ("RISCluster", "__main__.py")
