"""Stored settings of a run, which take the place of the defaults.

Every stage has its settings in its config.ini. Which stage counts for a key follows from the key's
effect, so that a finished stage is not made again because a word is missing.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from .cli import SCRIPTS
from .run_folder import StageFolder
from .settings import (
    CONFIG,
    SECTIONS,
    Names,
    Settings,
    load_found_settings,
    load_settings,
    read_stored,
)

OWNERS = {"aec": "AEC", "gmm": "GMM", "dec": "DEC"}  # stage by section
OF_THE_CALL = (("run", "name"), ("run", "folder"), ("run", "recipe"))
OF_COMMANDS = ("build", "records")  # sections that no stage reads
PATHS = (
    ("data", "file"), ("aec", "initial_weights"), ("report", "environment"), ("report", "stations"),
)  # fmt: skip


def load_run_settings(config: str | None, overrides: Sequence[str], stage: str) -> Settings:
    """Settings of a stage that is to run, of a run that may exist already.

    Parameters
    ----------
    config : str or None
        Settings file; None takes config.ini if it exists.
    overrides : sequence of str
        ``section.key=value`` words.
    stage : {"AEC", "GMM", "DEC"}

    Raises
    ------
    SettingsError, CheckpointError, RunError
        As `load_settings`, or stored settings can't be read.
    """
    return load_found_settings(config, overrides, stored=lambda run: _stored_of_run(run, stage))


def load_stage_settings(stage: StageFolder, overrides: Sequence[str] = ()) -> Settings:
    """Settings of a finished stage, and words that replace single ones."""
    return load_settings(None, overrides, stored=lambda _: _stored_of_stage(stage))


def _stored_of_run(run_folder: Path, stage: str) -> dict[Names, str]:
    """Stored texts by section and key for a stage that is to run."""
    stages = [StageFolder(run_folder, name) for name in SCRIPTS]
    begun = sorted((folder for folder in stages if _config(folder).exists()), key=_time_of_start)
    stored = {folder.name: _stored_of_stage(folder) for folder in begun}
    chosen = {}
    for section, keys in SECTIONS.items():
        for key in dataclasses.fields(keys):
            name = (section, key.name)
            if section in OF_COMMANDS or name in OF_THE_CALL or not stored:
                continue
            deciding = _deciding(*name, key.metadata["affects"], stage)
            texts = stored.get(deciding, stored[begun[-1].name])
            if name in texts:
                chosen[name] = texts[name]
    return chosen


def _deciding(section: str, key: str, affects: str, stage: str) -> str:
    """Stage whose stored value counts; if it is missing, the latest one counts."""
    if section in OWNERS:
        return OWNERS[section]
    if (section, key) == ("run", "seed"):  # on which all stages must agree with the first
        return "AEC"
    return stage if affects == "result" else ""


def _stored_of_stage(stage: StageFolder) -> dict[Names, str]:
    """Stored texts of a stage by section and key, with paths that exist."""
    texts = read_stored(_config(stage))
    directory = (stage.provenance() or {}).get("directory")
    for name in PATHS:
        if name in texts and directory:
            texts[name] = _found(texts[name], Path(directory))
    return texts


def _found(text: str, directory: Path) -> str:
    """A path as it is, or relative to the folder in which the stage was started."""
    here, there = Path(text).expanduser(), directory / text
    return str(there) if not here.exists() and there.exists() else text


def _time_of_start(stage: StageFolder) -> tuple[str, float]:
    """Start, and for equal ones the time of the settings file."""
    started = (stage.provenance() or {}).get("started", "")
    return started, _config(stage).stat().st_mtime


def _config(stage: StageFolder) -> Path:
    return stage.path / CONFIG
