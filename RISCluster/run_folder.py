"""The run folder: state of each stage, what it was made from, and stored settings.

A run is ``<folder>/<name>`` with a folder for each stage. ``provenance.json`` of a stage has its
inputs (settings, data, the stage before it) and, once it is complete, the checksums of its results.
"""

import hashlib
import importlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from . import __version__, io
from .errors import CheckpointError, RunError
from .settings import (
    COMMANDS,
    CONFIG,
    DEFAULTS,
    KEYS,
    Settings,
    as_text,
    load_found_settings,
    read_ini,
    stage_command,
)

PROVENANCE = "provenance.json"
VERIFIED = ("inputs", "results", "fingerprint")  # keys of the provenance with a checksum
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "h5py", "matplotlib")
NOT_STORED = {"build", "records", "run.name", "run.folder", "run.recipe"}  # sections and keys
CHECKSUMS = {  # inputs that are compared by checksum, in words; others are names of files
    "data": "the samples of data.file",
    "labels, times and ids": "labels, times or ids in data.file",
}
PATHS = ("data.file", "aec.initial_weights", "report.environment", "report.stations")


@dataclass(frozen=True)
class StageFolder:
    """The folder of one stage of a run, ``AEC``, ``GMM`` or ``DEC``."""

    run_folder: Path
    name: str

    @property
    def path(self) -> Path:
        """Folder of the stage's files."""
        return self.run_folder / self.name

    @property
    def command(self) -> str:
        """Command that runs this stage."""
        return stage_command(self.name, self.run_folder)

    def provenance(self) -> dict[str, Any] | None:
        """Content of provenance.json; None where the stage never started."""
        path = self.path / PROVENANCE
        if not os.path.exists(path):
            return None
        found = io.read_json(path)
        if found.get("checksum") != _checksum(found):
            raise CheckpointError(
                f"{path}: changed by another program, or of an earlier version of RISCluster; move "
                f"{path.parent} away and run the stage again"
            )
        return found

    def is_done(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the stage is complete, undamaged and made from `inputs`."""
        found = self.provenance() or {}
        if found.get("status") != "complete" or _differences(found["inputs"], inputs):
            return False
        return not self._damaged(found)

    def _damaged(self, provenance: Mapping[str, Any]) -> list[str]:
        """Results that are missing or have another checksum."""
        paths = {self.path / name: checksum for name, checksum in provenance["results"].items()}
        return [path.name for path, x in paths.items() if not path.exists() or io.sha256(path) != x]

    def begin(self, inputs: dict[str, Any], settings_ini: str) -> str:
        """Prepare the folder; returns ``resume``, or ``new`` with the changes.

        `inputs` are JSON values by name that determine the results. A folder with other inputs is
        renamed with the date, and its figures are moved into it.
        """
        before = self.provenance()
        changes = [] if before is None else _differences(before["inputs"], inputs)
        is_new = before is None or bool(changes)
        with io.write_errors(self.path):
            for pattern in (f"*{io.PARTIAL}", f".*{io.LOCK}"):  # of a killed process
                for path in self.path.rglob(pattern):
                    io.remove_quietly(path)
            if is_new and any(self.path.glob("*")):
                renamed = self.path.with_name(f"{self.name}_{timestamp().replace(':', '-')}")
                while renamed.exists():  # within a second
                    renamed = renamed.with_name(f"{renamed.name}_")
                # Figures first, in case this is interrupted
                for figure in (self.run_folder / "figures").glob(f"{self.name}_*"):
                    (self.path / "figures").mkdir(exist_ok=True)
                    figure.replace(self.path / "figures" / figure.name)
                changes.append(f"the existing results are now in {self.path.rename(renamed)}")
            self.path.mkdir(parents=True, exist_ok=True)
        if is_new:  # first, because a folder without provenance counts as another program's
            begun = {"stage": self.name, "status": "unfinished", "inputs": inputs}
            self._write_provenance(begun | _circumstances())
        io.write_text(self.path / CONFIG, settings_ini)  # paths may have changed
        if not is_new:
            return "resume"
        return f"new: {'; '.join(changes)}" if changes else "new"

    def reopen(self, inputs: dict[str, Any], settings_ini: str) -> None:
        """Count a complete stage as unfinished, because some results are written anew."""
        self._write_provenance(self.provenance() | {"status": "unfinished", "inputs": inputs})
        io.write_text(self.path / CONFIG, settings_ini)

    def complete(self, results: Sequence[str], notes: dict[str, Any]) -> None:
        """Mark the stage as complete, with the checksums of `results` (names of files)."""
        checksums = {name: io.sha256(self.path / name) for name in results}
        ended = {"status": "complete", "ended": timestamp(), "results": checksums}
        self._write_provenance((self.provenance() or {}) | ended | notes)

    def _write_provenance(self, provenance: dict[str, Any]) -> None:
        io.write_json(self.path / PROVENANCE, provenance | {"checksum": _checksum(provenance)})

    def require_begun(self) -> dict[str, Any]:
        """Provenance of a stage, finished or not; a RunError where there is no such stage."""
        provenance = self.provenance()
        if provenance is None:
            raise RunError(f"{self.path}: there is no {self.name} stage; run {self.command} first")
        return provenance

    def require_complete(self, expected: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Provenance of a complete stage, with undamaged results and the `expected` inputs."""
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
        expected = expected or {}
        inputs = {key: x for key, x in provenance["inputs"].items() if key in expected}
        if changes := _differences(inputs, expected):
            raise RunError(
                f"{self.path}: the {self.name} stage has other inputs: {'; '.join(changes)}; run "
                f"{self.command} again, or give its settings or another run.name"
            )
        return provenance


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Differences of inputs in words: values of settings; other inputs are checksums.

    A setting that the version of `before` did not have counts as its default.
    """
    defaults = {key: DEFAULTS[key] for key in now if key in DEFAULTS}
    defaults = {key: list(x) if isinstance(x, tuple) else x for key, x in defaults.items()}
    before, phrases = defaults | before, []
    for key in sorted(before.keys() | now.keys()):
        values = [before.get(key), now.get(key)]
        if values[0] != values[1] and key in KEYS:
            was, is_now = (as_text(tuple(x) if isinstance(x, list) else x) for x in values)
            phrases.append(f"{key} was {was}, is {is_now}")
        elif values[0] != values[1]:
            phrases.append(f"{CHECKSUMS.get(key, key)} changed")
    return phrases


def _checksum(provenance: Mapping[str, Any]) -> str:
    text = json.dumps([provenance.get(key) for key in VERIFIED], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def timestamp() -> str:
    """The time now, as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _circumstances() -> dict[str, Any]:
    """When, where and with what a stage is run."""
    root, commit = Path(__file__).parent.parent, ""
    if (root / ".git").exists():  # a checkout; ends with -dirty where files were edited
        words = ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        with suppress(OSError, subprocess.TimeoutExpired):
            commit = subprocess.run(words, capture_output=True, text=True, timeout=10).stdout
    versions = {package: metadata.version(package) for package in PACKAGES}
    return {
        "started": timestamp(),
        "command": sys.argv,
        "directory": os.getcwd(),
        "git": commit.strip() or "unknown",
        "machine": {"platform": platform.platform(), "python": platform.python_version()},
        "versions": {"RISCluster": __version__} | versions,
    }


# ---- stored settings ----------------------------------------------------------------------------


def load_run_settings(config: str | None, overrides: Sequence[str]) -> Settings:
    """Settings of a stage that is to run, of a run that may exist already."""
    run_folder = load_found_settings(config, overrides).run_folder
    begun = [StageFolder(run_folder, name) for name in COMMANDS]
    begun = [stage for stage in begun if (stage.path / CONFIG).exists()]
    if not begun:
        return load_found_settings(config, overrides)
    # The stage that was started last had the settings of the stages before.
    latest = max(begun, key=lambda stage: (stage.provenance() or {}).get("started", ""))
    stored = {
        name: text
        for name, text in stored_settings(latest).items()
        if NOT_STORED.isdisjoint([name, name.partition(".")[0]])
    }
    return load_found_settings(config, overrides, stored)


def stored_settings(stage: StageFolder) -> dict[str, str]:
    """Settings of a stage as texts; relative paths are looked up in its command's folder too."""

    def exist(text: str) -> bool:
        return all(map(os.path.exists, io.find_paths(text)))

    known = KEYS.keys() - {"run.backend", "run.scheduler"}  # which are of one command
    texts = {name: text for name, text in read_ini(stage.path / CONFIG).items() if name in known}
    directory = (stage.provenance() or {}).get("directory", "")
    for name in PATHS:
        text = texts.get(name, "")
        there = ", ".join(os.path.join(directory, part.strip()) for part in text.split(","))
        if text and not exist(text) and exist(there):
            texts[name] = there
    return texts


def run_stage(stage: str, config: str | None, overrides: Sequence[str]) -> Settings:
    """Run a stage with the settings of its run, of a file and of the command line; return them."""
    settings = load_run_settings(config, overrides)
    module = importlib.import_module(f".stages.{COMMANDS[stage]}", __package__)
    getattr(module, f"run_{stage.lower()}")(settings)
    return settings
