"""Names of the stages' scripts and commands, and the command lines that messages tell."""

import re
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
    words = ["--config", config] if config else []
    words.append(f"run.name={run_folder.name}")
    if str(run_folder.parent) != DEFAULT_FOLDER:
        words.append(f"run.folder={run_folder.parent}")
    return f"{_program(name)} {shlex.join(words)}"


def first_command(file: str | Path, config: str | None = None) -> str:
    """Command line that runs the first stage on a file, with a run's name made from it."""
    words = ["--config", config] if config else []
    words += [f"run.name={run_name(file)}", f"data.file={file}"]
    script = SCRIPTS["AEC"]
    program = f"python {script}" if Path(script).exists() else _program("AEC")  # in a checkout
    return f"{program} {shlex.join(words)}"


def run_name(file: str | Path) -> str:
    """Name of a run on a file: the file's, without what does not suit a folder's name."""
    return re.sub(r"[^\w.+-]+", "_", Path(file).stem).strip("._") or "run"


def _program(name: str) -> str:
    """What runs a stage: a script, or a command of the package."""
    program = Path(sys.argv[0] if sys.argv else "")
    if program.name in SCRIPTS.values():
        return f"python {shlex.quote(str(program.with_name(SCRIPTS[name])))}"
    if program.stem == "riscluster" or program.parts[-2:] == ("RISCluster", "__main__.py"):
        return package_command(COMMANDS[name])
    return f"python {SCRIPTS[name]}"  # called from Python


def package_command(name: str) -> str:
    """``riscluster NAME`` or ``python -m RISCluster NAME``, as this process was started."""
    installed = Path(sys.argv[0] if sys.argv else "").stem == "riscluster"
    return f"riscluster {name}" if installed else f"python -m RISCluster {name}"
