"""The run folder: the state of each stage, and what it was made from.

A run is ``<folder>/<name>`` with a folder for each stage. The ``provenance.json`` of a stage holds
what it depends on (settings, data, the stage before it) and, once it is complete, the checksums of
its results. That file alone decides whether a stage is new, unfinished, done or out of date.
"""

import dataclasses
import difflib
import hashlib
import itertools
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
    PARTIAL,
    clear,
    locked,
    read_json,
    remove_partial_files,
    remove_quietly,
    sha256,
    write_json,
    write_text,
)
from .settings import (
    CONFIG,
    RENAMED,
    SECTIONS,
    Names,
    Settings,
    load_found_settings,
    load_settings,
    read_stored,
)

PROVENANCE = "provenance.json"
GUARDED = ("inputs", "results", "fingerprint")  # keys of the provenance with a checksum


@dataclass(frozen=True)
class Start:
    """How a stage starts.

    Attributes
    ----------
    state : {"done", "resume", "new"}
    changes : tuple of str
        Inputs that differ from those of the older results.
    kept : Path or None
        Where older results were moved.
    """

    state: str
    changes: tuple[str, ...] = ()
    kept: Path | None = None

    def __str__(self) -> str:
        if self.kept is None:
            return self.state
        return f"new: {'; '.join([*self.changes, f'what was there is kept in {self.kept}'])}"


@dataclass(frozen=True)
class StageFolder:
    """The folder of one stage of a run.

    Attributes
    ----------
    run_folder : Path
    name : {"AEC", "GMM", "DEC"}
    part : str
        Folder inside the stage for one combination of a sweep; empty for the stage itself.
    """

    run_folder: Path
    name: str
    part: str = ""

    @property
    def path(self) -> Path:
        """Where the stage's files are."""
        return self.run_folder / self.name / self.part if self.part else self.run_folder / self.name

    @property
    def figures(self) -> Path:
        """Where the run's figures are."""
        return self.run_folder / "figures"

    @property
    def command(self) -> str:
        """The command that makes this stage, as `stage_command`."""
        return stage_command(self.name, self.run_folder)

    def provenance(self) -> dict[str, Any] | None:
        """Content of provenance.json, or None where the stage never started.

        Raises
        ------
        RunError
            The folder can't be looked into.
        CheckpointError
            The file is damaged.
        """
        path = self.path / PROVENANCE
        try:
            there = path.exists()
        except OSError as error:
            raise self._unusable(error) from None
        return _read_provenance(path) if there else None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from changing this run.

        Raises
        ------
        RunError
            Another process works on it, or the run folder can't be made.
        """
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.run_folder / LOCK, self.run_folder))
            except OSError as error:
                raise self._unusable(error) from None
            yield

    def is_done(self, inputs: dict[str, Any]) -> bool:
        """Whether the stage is complete, undamaged and made from `inputs`."""
        before = self.provenance()
        if before is None or differences(before.get("inputs", {}), inputs):
            return False
        done = before.get("status") == "complete" and not self._damaged(before)
        if done:
            clear(self.run_folder / LOCK)  # of a process killed after its last result
        return done

    def _damaged(self, provenance: dict[str, Any]) -> list[str]:
        """Results that are missing or not as they were written."""
        return [
            name
            for name, checksum in provenance.get("results", {}).items()
            if not (self.path / name).exists() or sha256(self.path / name) != checksum
        ]

    def _unusable(self, error: OSError) -> RunError:
        return RunError(
            f"{self.path}: the run folder can't be made or read: {error.strerror or error}; set "
            "run.folder and run.name to a place that can be written"
        )

    # ---- starting and ending ----

    def begin(
        self, inputs: dict[str, Any], settings_ini: str, words: dict[str, str] | None = None
    ) -> Start:
        """Prepare the folder; one made from something else is renamed with a date.

        Parameters
        ----------
        inputs : dict
            JSON values by name that determine the results.
        settings_ini : str
            Text of the stage's config.ini.
        words : dict or None
            Descriptions of checksums in `inputs`, by name.
        """
        changes, kept = [], None
        before = self.provenance()
        if before is not None:
            changes = differences(
                before.get("inputs", {}), inputs, before.get("words", {}), words or {}
            )
            if not changes:
                return Start("done") if self.is_done(inputs) else self._resume(settings_ini)
            kept = self._set_aside()
        try:
            if before is None and self._holds_something():
                kept = self._set_aside()
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from None
        # First, because a folder without provenance counts as foreign.
        began = {"stage": self.name, "status": "unfinished", "words": words or {}}
        self._write_provenance(began | _now(inputs))
        write_text(self.path / "config.ini", settings_ini)
        return Start("new", tuple(changes), kept)

    def _resume(self, settings_ini: str) -> Start:
        """Remove what a killed process left."""
        remove_partial_files(self.path)
        write_text(self.path / "config.ini", settings_ini)  # paths may have changed
        return Start("resume")

    def _write_provenance(self, provenance: dict[str, Any]) -> None:
        write_json(self.path / PROVENANCE, provenance | {"checksum": _checksum(provenance)})

    def _holds_something(self) -> bool:
        """Whether there is anything but a partial file of a process killed as it began."""
        if not self.path.exists():
            return False
        if not self.path.is_dir():
            return True
        remove_quietly(self.path / (PROVENANCE + PARTIAL))
        return any(self.path.iterdir())

    def complete(self, results: list[str], notes: dict[str, Any]) -> None:
        """Mark the stage as complete, with the checksums of `results` (names of files)."""
        provenance = self.provenance() or {}
        provenance["status"] = "complete"
        provenance["ended"] = timestamp()
        provenance["results"] = {name: sha256(self.path / name) for name in results}
        self._write_provenance(provenance | notes)

    def _set_aside(self) -> Path:
        name = f"{self.path.name}_{timestamp().replace(':', '-')}"
        names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        kept = next(path for path in map(self.path.with_name, names) if not path.exists())
        try:
            # Figures first: after a kill the stage is still there to be renamed.
            if not self.part and self.path.is_dir():
                for figure in self.figures.glob(f"{self.name}_*"):
                    (self.path / "figures").mkdir(exist_ok=True)
                    figure.replace(self.path / "figures" / figure.name)
            self.path.rename(kept)
        except OSError as error:
            raise RunError(
                f"{self.path}: holds results of other settings and can't be renamed: "
                f"{error.strerror or error}; change permissions, or take another run.name"
            ) from None
        return kept

    # ---- being read by a later stage ----

    def require_begun(self) -> dict[str, Any]:
        """Provenance of a stage, finished or not.

        Raises
        ------
        RunError
            There is no such stage.
        """
        provenance = self.provenance()
        if provenance is None:
            raise RunError(
                f"{self.path}: there is no {self.name} stage{self._other_runs()}; run "
                f"{self.command} first"
            )
        return provenance

    def require_complete(self) -> dict[str, Any]:
        """Provenance of a complete stage with undamaged results.

        Raises
        ------
        RunError
            The stage is missing or unfinished.
        CheckpointError
            A result is missing or was changed since.
        """
        provenance = self.require_begun()
        if provenance.get("status") != "complete":
            raise RunError(
                f"{self.path}: the {self.name} stage is unfinished; run {self.command} again, it "
                "goes on where it stopped"
            )
        for name in self._damaged(provenance):
            path = self.path / name
            what = "has changed since it was written" if path.exists() else "is missing"
            raise CheckpointError(f"{path}: {what}; run {self.command} again, it is made anew")
        return provenance

    def _other_runs(self) -> str:
        """Hint for a mistyped name of a run."""
        if self.run_folder.is_dir():
            return ""
        runs = self.run_folder.parent.glob("*/*/" + PROVENANCE)
        names = sorted({path.parts[-3] for path in runs})
        near = difflib.get_close_matches(self.run_folder.name, names, n=1)
        hint = f"; did you mean run.name={near[0]}?" if near else ""
        return f", and no run '{self.run_folder.name}'{hint}"

    def require_match(
        self, expected: dict[str, Any], words: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """`require_complete` of a stage that depends on `expected`; `words` as in `begin`.

        Raises
        ------
        RunError
            Something differs; the message names both values.
        """
        provenance = self.require_complete()
        inputs = {key: provenance["inputs"].get(key) for key in expected}
        changes = differences(inputs, expected, provenance.get("words", {}), words or {})
        if changes:
            raise RunError(
                f"{self.path}: the {self.name} stage was made otherwise than now asked: "
                f"{'; '.join(changes)}; {_way_out(inputs, expected, self.command)}"
            )
        return provenance


def _way_out(inputs: dict[str, Any], expected: dict[str, Any], command: str) -> str:
    """Advice for a stage that depends on something else."""
    changed = [key for key in expected if inputs[key] != expected[key]]
    if all(key.endswith((".pt", ".npz")) for key in changed):  # a stage before it is newer
        return f"run {command} again"
    return (
        f"run {command} again with what is asked now, give the settings that it was made with, or "
        "take another run.name"
    )


def differences(
    before: dict[str, Any],
    now: dict[str, Any],
    words_before: dict[str, str] | None = None,
    words_now: dict[str, str] | None = None,
) -> list[str]:
    """Differences between two sets of dependencies, in words."""
    phrases = []
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) == now.get(key):
            continue
        was, now_is = (words_before or {}).get(key), (words_now or {}).get(key)
        if was is None and now_is is None:
            phrases.append(f"{key} was {_show(before.get(key))}, is {_show(now.get(key))}")
        elif was == now_is:
            phrases.append(f"{key} ({now_is}) have changed")
        else:
            phrases.append(f"{key} was {was or 'another'}, is {now_is or 'not there'}")
    return phrases


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "not there" if value is None else str(value)


# ---- provenance ---------------------------------------------------------------------------------


def _read_provenance(path: Path) -> dict[str, Any]:
    provenance = read_json(path)
    if "depends" in provenance:  # name of an earlier version
        provenance["inputs"] = provenance.pop("depends")
    whole = (
        isinstance(provenance.get("inputs"), dict)
        and isinstance(provenance.get("results", {}), dict)
        # Those of older versions have no checksum.
        and provenance.get("checksum", _checksum(provenance)) == _checksum(provenance)
    )
    if not whole:
        raise CheckpointError(
            f"{path}: damaged, or changed by another program; move {path.parent} away and run the "
            "stage again"
        )
    for (section, key), new in RENAMED.items():
        if f"{section}.{key}" in provenance["inputs"]:
            inputs = provenance["inputs"]
            inputs[f"{section}.{new}"] = inputs.pop(f"{section}.{key}")
    return provenance


def _checksum(provenance: dict[str, Any]) -> str:
    """Checksum of the keys that decide anything."""
    text = json.dumps([provenance.get(key) for key in GUARDED], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def timestamp(seconds: float | None = None) -> str:
    """Now, or a time in seconds since 1970, as ISO 8601."""
    time = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _now(inputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "inputs": inputs,
        "started": timestamp(),
        "command": sys.argv,
        "directory": os.getcwd(),
        "git": _git_state(),
        "machine": {"platform": platform.platform(), "python": platform.python_version()},
        "versions": {"RISCluster": __version__} | _versions(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in ("torch", "numpy", "scipy", "scikit-learn", "h5py", "matplotlib"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _git_state() -> str:
    """Commit of the checkout this package runs from, with ``+changes`` where it was edited."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return "not a checkout"
    try:
        answers = [
            subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10
            ).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        ]
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return answers[0] + ("+changes" if answers[1] else "") if answers[0] else "unknown"


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
            deciding = _deciding(*name, key.metadata["invalidates"], stage)
            texts = stored.get(deciding, stored[begun[-1].name])
            if name in texts:
                chosen[name] = texts[name]
    return chosen


def _deciding(section: str, key: str, invalidates: str, stage: str) -> str:
    """Stage whose stored value counts; if it is missing, the latest one counts."""
    if section in OWNERS:
        return OWNERS[section]
    if (section, key) == ("run", "seed"):  # on which all stages must agree with the first
        return "AEC"
    return stage if invalidates == "result" else ""


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
