"""The run folder: state of each stage, what it was made from, and its stored settings.

A run is ``<folder>/<name>`` with a folder for each stage. ``provenance.json`` of a stage has its
inputs (settings, data, the stage before it) and, once it is complete, the checksums of its results.
"""

import difflib
import hashlib
import itertools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from . import __version__
from .cli import SCRIPTS, stage_command
from .errors import CheckpointError, RunError
from .io import (
    LOCK,
    find_paths,
    locked,
    read_json,
    remove_partial_files,
    sha256,
    write_errors,
    write_json,
    write_text,
)
from .settings import (
    CONFIG,
    KEYS,
    RESULT,
    Settings,
    load_found_settings,
    load_settings,
    read_stored,
    with_present_names,
)

PROVENANCE = "provenance.json"
VERIFIED = ("inputs", "results", "fingerprint")  # keys of the provenance with a checksum
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "h5py", "matplotlib")
OWNERS = {"aec": "AEC", "gmm": "GMM", "dec": "DEC"}  # stage whose settings count, by section
NOT_STORED = ("run.name", "run.folder", "run.recipe")  # nor [build] and [records]
CLUSTER = ("run.backend", "run.scheduler")  # of one command
PATHS = ("data.file", "aec.initial_weights", "report.environment", "report.stations")


@dataclass(frozen=True)
class StageFolder:
    """The folder of one stage of a run, ``AEC``, ``GMM`` or ``DEC``.

    `part` is the folder inside the stage for one combination of a sweep.
    """

    run_folder: Path
    name: str
    part: str = ""

    @property
    def path(self) -> Path:
        """Folder of the stage's files."""
        return self.run_folder / self.name / self.part

    @property
    def figures(self) -> Path:
        """Folder of the run's figures."""
        return self.run_folder / "figures"

    @property
    def command(self) -> str:
        """Command that runs this stage."""
        return stage_command(self.name, self.run_folder)

    def provenance(self) -> dict[str, Any] | None:
        """Content of provenance.json; None where the stage never started."""
        path = self.path / PROVENANCE
        return _read_provenance(path) if os.path.exists(path) else None

    def lock(self) -> AbstractContextManager:
        """Keep other processes from changing this run; a RunError if one does."""
        return locked(self.run_folder / LOCK, self.run_folder)

    def is_done(self, inputs: dict[str, Any]) -> bool:
        """Whether the stage is complete, undamaged and made from `inputs`."""
        found = self.provenance()
        if found is None or found.get("status") != "complete":
            return False
        is_done = found["inputs"] == inputs and not self._damaged(found)
        if is_done:
            with suppress(RunError), self.lock():  # removes that of a killed process
                pass
        return is_done

    def _damaged(self, provenance: dict[str, Any]) -> list[str]:
        """Results that are missing or have another checksum."""
        results = provenance.get("results", {}).items()
        paths = {name: self.path / name for name, _ in results}
        return [name for name, x in results if not paths[name].exists() or sha256(paths[name]) != x]

    # ---- writing ----

    def begin(
        self, inputs: dict[str, Any], settings_ini: str, words: dict[str, str] | None = None
    ) -> str:
        """Prepare the folder; returns ``done``, ``resume``, or ``new`` with the changes.

        `inputs` are JSON values by name that determine the results; `words` describe checksums
        among them. A folder with other inputs is renamed with the date.
        """
        before, words, changes = self.provenance(), words or {}, []
        if before is not None:
            changes = _differences(before, inputs, words)
            if not changes and self.is_done(inputs):
                return "done"
            if not changes:
                remove_partial_files(self.path)
                write_text(self.path / CONFIG, settings_ini)  # paths may have changed
                return "resume"
        with write_errors(self.path):
            if before is not None or self._is_used():
                changes.append(f"the existing results are now in {self._rename()}")
            self.path.mkdir(parents=True, exist_ok=True)
        # First, because a folder without provenance counts as another program's.
        begun = {"stage": self.name, "status": "unfinished", "words": words, "inputs": inputs}
        self._write_provenance(begun | _circumstances())
        write_text(self.path / CONFIG, settings_ini)
        return f"new: {'; '.join(changes)}" if changes else "new"

    def _is_used(self) -> bool:
        """Whether the path has anything but the partial file of a process killed at the start."""
        if not self.path.is_dir():
            return self.path.exists()
        remove_partial_files(self.path)
        return any(self.path.iterdir())

    def _rename(self) -> Path:
        """Rename the folder with the date; its figures are moved into it."""
        name = f"{self.path.name}_{timestamp().replace(':', '-')}"
        names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        renamed = next(path for path in map(self.path.with_name, names) if not path.exists())
        if not self.part and self.path.is_dir():  # figures first, in case this is interrupted
            for figure in self.figures.glob(f"{self.name}_*"):
                (self.path / "figures").mkdir(exist_ok=True)
                figure.replace(self.path / "figures" / figure.name)
        self.path.rename(renamed)
        return renamed

    def complete(self, results: list[str], notes: dict[str, Any]) -> None:
        """Mark the stage as complete, with the checksums of `results` (names of files)."""
        checksums = {name: sha256(self.path / name) for name in results}
        ended = {"status": "complete", "ended": timestamp(), "results": checksums}
        self._write_provenance((self.provenance() or {}) | ended | notes)

    def _write_provenance(self, provenance: dict[str, Any]) -> None:
        write_json(self.path / PROVENANCE, provenance | {"checksum": _checksum(provenance)})

    # ---- reading by a later stage ----

    def require_begun(self) -> dict[str, Any]:
        """Provenance of a stage, finished or not; a RunError where there is no such stage."""
        provenance = self.provenance()
        if provenance is None:
            raise RunError(
                f"{self.path}: there is no {self.name} stage{self._other_runs()}; run "
                f"{self.command} first"
            )
        return provenance

    def _other_runs(self) -> str:
        """Hint for a mistyped name of a run."""
        if self.run_folder.is_dir():
            return ""
        runs = {path.parts[-3] for path in self.run_folder.parent.glob("*/*/" + PROVENANCE)}
        near = difflib.get_close_matches(self.run_folder.name, sorted(runs), n=1)
        hint = f"; did you mean run.name={near[0]}?" if near else ""
        return f", and no run '{self.run_folder.name}'{hint}"

    def require_complete(self) -> dict[str, Any]:
        """Provenance of a complete stage with undamaged results, or an error with what to run."""
        provenance = self.require_begun()
        if provenance.get("status") != "complete":
            raise RunError(
                f"{self.path}: the {self.name} stage is unfinished; run {self.command} to resume it"
            )
        for name in self._damaged(provenance):
            raise CheckpointError(
                f"{self.path / name}: has changed since it was written, or is missing; run "
                f"{self.command} to make it again"
            )
        return provenance

    def require_match(self, expected: dict[str, Any], words: dict[str, str] | None = None) -> None:
        """`require_complete` of a stage with these inputs; a RunError names those that differ."""
        found = self.require_complete()
        found["inputs"] = {key: found["inputs"].get(key) for key in expected}
        if changes := _differences(found, expected, words or {}):
            raise RunError(
                f"{self.path}: the {self.name} stage has other inputs: {'; '.join(changes)}; run "
                f"{self.command} again, or give its settings or another run.name"
            )


def _differences(before: dict[str, Any], now: dict[str, Any], words: dict[str, str]) -> list[str]:
    """Differences of inputs from those in a provenance, in words."""
    phrases, inputs = [], before["inputs"]
    for key in sorted(inputs.keys() | now.keys()):
        if inputs.get(key) == now.get(key):
            continue
        was = before.get("words", {}).get(key, _show(inputs.get(key)))
        is_now = words.get(key, _show(now.get(key)))
        same = was == is_now  # another file of the same name
        phrases.append(f"{key} ({was}) have changed" if same else f"{key} was {was}, is {is_now}")
    return phrases


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "missing" if value is None else str(value)


# ---- provenance ---------------------------------------------------------------------------------


def _read_provenance(path: Path) -> dict[str, Any]:
    provenance = read_json(path)
    if "depends" in provenance:  # name in an earlier version, which wrote no checksum either
        provenance["inputs"] = provenance.pop("depends")
    is_intact = (
        isinstance(provenance.get("inputs"), dict)
        and isinstance(provenance.get("results", {}), dict)
        and provenance.get("checksum", _checksum(provenance)) == _checksum(provenance)
    )
    if not is_intact:
        raise CheckpointError(
            f"{path}: damaged, or changed by another program; move {path.parent} away and run the "
            "stage again"
        )
    return provenance | {"inputs": with_present_names(provenance["inputs"])}


def _checksum(provenance: dict[str, Any]) -> str:
    text = json.dumps([provenance.get(key) for key in VERIFIED], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def timestamp(seconds: float | None = None) -> str:
    """Now, or a time in seconds since 1970, as ISO 8601."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _circumstances() -> dict[str, Any]:
    """When, where and with what a stage is run."""
    versions = {"RISCluster": __version__}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "started": timestamp(),
        "command": sys.argv,
        "directory": os.getcwd(),
        "git": _git_state(),
        "machine": {"platform": platform.platform(), "python": platform.python_version()},
        "versions": versions,
    }


def _git_state() -> str:
    """Commit of the checkout of this package, with ``-dirty`` where files were edited."""
    root = Path(__file__).parent.parent
    words = ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    if (root / ".git").exists():
        with suppress(OSError, subprocess.TimeoutExpired):
            answer = subprocess.run(words, capture_output=True, text=True, timeout=10)
            return answer.stdout.strip() or "unknown"
    return "unknown"


# ---- stored settings ----------------------------------------------------------------------------


def load_run_settings(config: str | None, overrides: Sequence[str], stage: str) -> Settings:
    """Settings of a stage that is to run, of a run that may exist already.

    `config` is a settings file; None takes config.ini if it exists.
    """
    return load_found_settings(config, overrides, stored=lambda run: _stored_of_run(run, stage))


def load_stage_settings(stage: StageFolder, overrides: Sequence[str] = ()) -> Settings:
    """Settings of a finished stage, and words that replace single ones."""
    return load_settings(None, overrides, stored=lambda _: _stored_of_stage(stage))


def _stored_of_run(run_folder: Path, stage: str) -> dict[str, str]:
    """Stored texts for a stage that is to run, each from the stage whose value counts."""
    stages = [StageFolder(run_folder, name) for name in SCRIPTS]
    begun = sorted((one for one in stages if (one.path / CONFIG).exists()), key=_time_of_start)
    stored = {one.name: _stored_of_stage(one) for one in begun}
    chosen = {}
    for name, key in KEYS.items():
        section = name.partition(".")[0]
        if not stored or section in ("build", "records") or name in NOT_STORED:
            continue
        owner = OWNERS.get(section, "AEC" if name == "run.seed" else None)
        if owner is None and key.metadata["invalidates"] == RESULT:
            owner = stage
        texts = stored.get(owner, stored[begun[-1].name])  # or else of the latest stage
        if name in texts:
            chosen[name] = texts[name]
    return chosen


def _stored_of_stage(stage: StageFolder) -> dict[str, str]:
    """Stored texts of a stage; relative paths of the folder in which it was started."""
    texts = read_stored(stage.path / CONFIG)
    texts = {name: text for name, text in texts.items() if name not in CLUSTER}
    directory = (stage.provenance() or {}).get("directory", "")
    for name in PATHS:
        text = texts.get(name, "")
        joined = ", ".join(os.path.join(directory, part.strip()) for part in text.split(","))
        for there in (text, os.path.join(directory, text), joined):
            if text and all(map(os.path.exists, find_paths(there))):
                texts[name] = there
                break
    return texts


def _time_of_start(stage: StageFolder) -> tuple[str, float]:
    """Start, and for equal ones the time of the settings file."""
    started = (stage.provenance() or {}).get("started", "")
    return started, (stage.path / CONFIG).stat().st_mtime
