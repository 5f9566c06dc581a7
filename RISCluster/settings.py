"""Settings: a dataclass for each section, read from config.ini and the command line.

A key is added to its dataclass, with type and default, and to config.ini, where its comment ends
with what is allowed, which `Key.value` follows: words (``auto | cpu``), a form (``a number from 0
to 1``), or both (``none, or a number above 0``); with ``list of`` before it, several values with
commas are a sweep. Only light modules are imported here, so that ``--help`` is fast.
"""

import argparse
import configparser
import dataclasses
import difflib
import math
import operator
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatch
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .errors import SettingsError

CONFIG = "config.ini"

# What keys invalidate when they change, the first that matches. All stages of a run must agree on
# the input of the network (data) and its shape (network); others change the result of their stage.
INVALIDATED = {
    "data.amplitude data.transform data.standardize data.train_samples": "data",
    "data.validation_fraction cube.*": "data",
    "aec.n_features aec.latent_activation aec.n_components aec.align_times": "network",
    "run.seed run.precision": "result",
    "run.* data.* report.* build.archive": "nothing",
    "*": "result",
}
RENAMED = {  # keys of earlier versions
    "data.workers": "data.cpu_threads",
    "gmm.start": "gmm.init",
    "gmm.prior": "gmm.covariance_shrinkage",
    "gmm.stability": "gmm.n_resamples",
}
RECIPES = {  # of run.recipe; paper is Jenkins et al. 2021, where the defaults differ from it
    "none": "",
    "paper": "data.amplitude=linear data.standardize=no aec.latent_activation=relu "
    "aec.n_components=0 aec.n_epochs=500 aec.batch_size=64 aec.lr=0.001 aec.schedule=constant "
    "gmm.init=kmeans gmm.covariance_shrinkage=0 dec.latent_scale=none dec.gamma=0.001 "
    "dec.labels=student dec.keep=refined",
}
PRESETS = {  # of [build], where the defaults, which are "ris", differ; sources in docs/commands.md
    "ris": "",
    "icequakes": "sampling_rate=auto bandpass=20-200 frequencies=20-200 sta=0.05 lta=2 on=6 off=3 "
    "dead_time=1.6 length=1.6 segment=0.064 overlap=0.75",
    "local": "bandpass=2-16 frequencies=2-16 lta=30 on=4 off=2 dead_time=30 length=30 "
    "segment=1.2 overlap=0.75",
    "regional": "sampling_rate=20 taper=10 bandpass=0.7-8 frequencies=0.7-8 sta=2 lta=80 on=3 "
    "off=1.5 dead_time=120 length=120 segment=4 overlap=0.7 nfft=128",
    "volcano": "bandpass=1-10 frequencies=1-10 trigger=classic sta=0.7 lta=8 on=3 off=2 "
    "dead_time=10 length=10 segment=0.8 overlap=0.875",
}

# ---- values with a text form of their own -------------------------------------------------------


class Band(NamedTuple):
    """A range, for example of frequencies in Hz or distances in m: ``low-high``."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g}-{self.high:g}"


class AxisSlice(NamedTuple):
    """Part of an axis, as a slice of Python: ``start:stop:step``, each optional."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    def __str__(self) -> str:
        parts = ["" if value is None else str(value) for value in self]
        return ":".join(parts if self.step is not None else parts[:2])


class Months(Band):
    """A season by its first and last month, 1 to 12; it may include the turn of the year."""

    def __contains__(self, month: object) -> bool:
        return (month - self.low) % 12 <= (self.high - self.low) % 12


class Numbers(tuple):
    """Whole numbers; successive ones are ``2-20``."""

    def __str__(self) -> str:
        is_range = len(self) > 2 and self == (*range(self[0], self[-1] + 1),)
        return f"{self[0]}-{self[-1]}" if is_range else ", ".join(map(str, self))


def _require(condition: bool) -> None:
    """Raise a ValueError where a text is not allowed."""
    if not condition:
        raise ValueError


def _ends(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    return int(first), int(last if dash else first)


def _parts(text: str, mark: str, count: int, kind: Callable, ascend: bool = True) -> tuple:
    values = tuple(kind(part) for part in text.split(mark))
    is_ascending = all(low < high for low, high in pairwise(values))
    _require(len(values) == count and (is_ascending or not ascend))
    return values


def _whole_numbers(text: str, most: int) -> list[int]:
    numbers: dict[int, None] = {}
    for low, high in map(_ends, text.split(",")):
        _require(low <= high < low + most)
        numbers |= dict.fromkeys(range(low, high + 1))
    _require(len(numbers) <= most)
    return list(numbers)


def _match(pattern: str, text: str) -> str:
    _require(re.fullmatch(pattern, text) is not None)
    return text


def _axes(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    _require(sorted(names) in (["frequency", "sample", "time"], ["channel", "frequency", "time"]))
    return names


def _times(text: str, count: int) -> str:
    _parts(text, "/", count, datetime.fromisoformat)
    return text


def _moments(text: str) -> str:
    for part in text.split(","):
        _times(part.split()[0], 1)
    return text


def _axis_slice(text: str) -> AxisSlice:
    parts = [int(part) if part.strip() else None for part in text.split(":")]
    _require(2 <= len(parts) <= 3 and (len(parts) < 3 or parts[2] is None or parts[2] >= 1))
    return AxisSlice(*parts)


def _components(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in (text.split(",") if "," in text else text))
    _require(len(names) > 1 and all(names) and len(set(names)) == len(names))
    return names


def _seasons(text: str) -> tuple[Months, ...]:
    seasons = tuple(Months(*_ends(part)) for part in text.split(","))
    _require(all(1 <= month <= 12 for season in seasons for month in tuple(season)))
    _require(all(sum(month in season for season in seasons) <= 1 for month in range(1, 13)))
    return seasons


# By how the description of what is allowed begins, the first that fits
FORMS: dict[str, Callable[[str], Any]] = {
    "a whole number": int,
    "a number": float,
    "a folder name": partial(_match, r"(?!\.{1,2}$|[-~])[^/\\:*?\"<>|\x00-\x1f\x7f]+"),
    "cuda:N": partial(_match, r"cuda:\d+"),
    "an address": partial(_match, r"[a-z]+://\S+|auto"),
    "low-high": lambda text: Band(*_parts(text, "-", 2, float)),
    "four ascending frequencies": lambda text: _parts(text, ",", 4, float),
    "sample, frequency, time": _axes,
    "three whole numbers": lambda text: _parts(text, ",", 3, int, ascend=False),
    "a time": partial(_times, count=1),
    "two times": partial(_times, count=2),
    "times and names": _moments,
    "start:stop:step": _axis_slice,
    "numbers of clusters": lambda text: Numbers(sorted(_whole_numbers(text, 1000))),
    "indices": lambda text: Numbers(_whole_numbers(text, 200)),
    "letters, or station codes": _components,
    "seasons": _seasons,
    **dict.fromkeys(("a folder", "path of", "the path of", "codes", "names", "NET.STA"), str),
    "a pattern": str,
}
LIMITS = {"from": operator.ge, "above": operator.gt, "to": operator.le, "below": operator.lt}
YES_NO = configparser.ConfigParser.BOOLEAN_STATES

# ---- keys ---------------------------------------------------------------------------------------


class Key(NamedTuple):
    """A key as config.ini describes it: what it is, and what is allowed: words, a form, or both."""

    sentence: str
    allowed: str
    words: Sequence[str]
    form: str | None  # begins as one of `FORMS`
    takes_sweep: bool  # several values with commas are a sweep

    def value(self, text: str) -> Any:
        """Value of a text; a ValueError, TypeError or IndexError where it is not allowed."""
        if self.takes_sweep and "," in text:
            values = dict.fromkeys(self.value(part.strip()) for part in text.split(","))
            return tuple(values) if len(values) > 1 else next(iter(values))
        if "yes" in self.words and text.lower() in YES_NO:
            return YES_NO[text.lower()]
        if text in self.words:
            return None if self.form and self.words == ["none"] else text
        _require(bool(self.form and text))
        value = next(FORMS[start] for start in FORMS if self.form.startswith(start))(text)
        for number in value if isinstance(value, tuple) else [value]:
            if isinstance(number, int | float):
                _require(math.isfinite(number))
                for word, end in re.findall(r"(from|above|to|below) ([\d,]*\.?\d+)", self.form):
                    _require(LIMITS[word](number, float(end.replace(",", ""))))
        return value


def shipped_config() -> str:
    """Text of the config.ini of the package."""
    return (Path(__file__).parent / CONFIG).read_text("utf-8")


def _read_keys() -> dict[str, Key]:
    """Keys by ``section.key``, from the comments of config.ini."""
    keys = {}
    for part in re.split(r"^\[", shipped_config(), flags=re.MULTILINE)[1:]:
        section = part.partition("]")[0]
        for comment, name in re.findall(r"((?:^# .+\n)+)(\w+) =", part, re.MULTILINE):
            sentence, _, allowed = comment[2:].strip().replace("\n# ", " ").rpartition(" [")
            allowed, takes_sweep = allowed.removesuffix("]"), allowed.startswith("list of ")
            allowed = allowed.removeprefix("list of ")
            found = re.fullmatch(r"(\S+(?: \| \S+)*)(?:, or (.+))?", allowed)
            words, form = (found[1].split(" | "), found[2]) if found else ([], allowed)
            if form and not form.startswith((*FORMS,)):
                raise ValueError(f"config.ini: [{section}] {name}: '{form}' is none of FORMS")
            keys[f"{section}.{name}"] = Key(sentence, allowed, words, form, takes_sweep)
    return keys


KEYS = _read_keys()  # by section.key

# ---- sections: types and defaults of the keys, which config.ini describes ------------------------

Auto = Literal["auto"]


@dataclass(frozen=True)
class RunSettings:
    name: str = "demo"
    folder: str = "Outputs"
    seed: int = 2009
    device: str = "auto"
    precision: str = "auto"
    deterministic: bool = False
    recipe: str = "none"
    tensorboard: bool = False
    backend: str = "processes"
    scheduler: str | None = None
    figures: bool = True
    figure_format: str = "png"


@dataclass(frozen=True)
class DataSettings:
    file: str = "Data/demo.h5"
    layout: str = "auto"
    dataset: str = "auto"
    axes: tuple[str, ...] = ("sample", "frequency", "time")
    frequencies: Band | None = None
    time_step: float | None = None
    stations: str = "*"
    after: str | None = None
    before: str | None = None
    min_amplitude: float | None = None
    amplitude: str = "sqrt"
    transform: str = "vec_norm"
    standardize: bool = True
    loadmode: str = "auto"
    cpu_threads: Auto | int = "auto"
    train_samples: int = 50000
    validation_fraction: float = 0.2


@dataclass(frozen=True)
class CubeSettings:
    window: int = 4
    stride: int = 4
    window_channels: int = 1
    stride_channels: int = 1
    channels: AxisSlice = AxisSlice()
    times: AxisSlice = AxisSlice()


@dataclass(frozen=True)
class AecSettings:
    n_features: int = 9
    latent_activation: str = "linear"
    n_components: Auto | int = "auto"
    align_times: Auto | bool = "auto"
    initial_weights: str = "none"
    n_epochs: Auto | int = "auto"
    batch_size: Auto | int = "auto"
    lr: Auto | float = "auto"
    schedule: str = "auto"
    patience: int = 10


@dataclass(frozen=True)
class GmmSettings:
    n_clusters: Numbers = Numbers(range(2, 21))
    select: str = "bic"
    gap_reference: str = "uniform"
    n_resamples: int | None = 6
    init: str = "consensus"
    covariance_shrinkage: float = 2.0
    n_init: int = 100
    all_labels: bool = False
    fit_samples: int = 100000


@dataclass(frozen=True)
class DecSettings:
    n_clusters: Auto | int = "auto"
    n_epochs: int = 400
    batch_size: int = 64
    lr: float = 0.001
    gamma: float = 1.0
    tol: float = 0.003
    updates_per_epoch: int = 2
    latent_scale: str = "within"
    labels: str = "mixture"
    keep: str = "better"


@dataclass(frozen=True)
class BuildSettings:
    preset: str = "ris"
    method: str = "detect"
    catalogue: str | None = None
    before: Auto | float = "auto"
    velocity: float | None = None
    phases: str = "*"
    archive: str = "Data/archive"
    trace_ids: str = "*"
    components: tuple[str, ...] | None = None
    sampling_rate: Auto | float = 50.0
    constant_gap: float | None = 1.0
    detrend: str | int = "linear"
    taper: float = 5.0
    inventory: str | None = None
    output: str = "velocity"
    pre_filter: tuple[float, ...] | None = None
    water_level: float | None = 60.0
    bandpass: Band | None = Band(3.0, 20.0)
    filter_order: int = 4
    trigger: str = "recursive"
    sta: float = 0.5
    lta: float = 30.0
    on: float = 15.0
    off: float = 10.0
    dead_time: float = 4.0
    length: float = 4.0
    step: float = 1.0
    segment: float = 0.4
    kaiser_beta: float = 5.7
    overlap: float = 0.9
    nfft: int = 256
    frequencies: Band | None = Band(3.0, 20.0)
    traces: Auto | bool = "auto"
    save_waveforms: str | None = None


@dataclass(frozen=True)
class EventsSettings:
    associate: bool = True
    window: Auto | float = "auto"
    slowness: float = 0.5
    tolerance: float = 0.1
    stations: str | None = None
    min_stations: int = 4
    neighbours: int | None = None
    clock_offset: float = 10.0
    cube_ratio: float = 4.0


@dataclass(frozen=True)
class RecordsSettings:
    dataset: str = "auto"
    order: str = "auto"
    sampling_rate: Auto | float = "auto"
    starttime: str = "auto"
    channel_spacing: Auto | float = "auto"
    window: float = 1.0
    step: float = 0.5
    taper: str = "hann"
    band: Band | None = None
    power: str = "linear"
    name_times: str | None = None
    after: str | None = None
    before: str | None = None
    section: Band | None = None
    chunks: Auto | tuple[int, ...] = "auto"


@dataclass(frozen=True)
class ReportSettings:
    environment: str | None = None
    stations: str | None = None
    interval: str = "auto"
    seasons: tuple[Months, ...] = (Months(12, 2), Months(3, 5), Months(6, 8), Months(9, 11))
    span: str | None = None
    moments: str | None = None
    log_axis: bool = False
    samples: Numbers | None = None
    embedding: str = "tsne"


@dataclass(frozen=True)
class Settings:
    """All settings of a run, an object for each section of config.ini."""

    run: RunSettings = RunSettings()
    data: DataSettings = DataSettings()
    cube: CubeSettings = CubeSettings()
    aec: AecSettings = AecSettings()
    gmm: GmmSettings = GmmSettings()
    dec: DecSettings = DecSettings()
    build: BuildSettings = BuildSettings()
    events: EventsSettings = EventsSettings()
    records: RecordsSettings = RecordsSettings()
    report: ReportSettings = ReportSettings()
    # lists of values by ``section.key``, of which the section has the first (a sweep); settings
    # file named on the command line; ``section.key = value`` of the run's stored settings
    sweep: Mapping[str, tuple] = field(default_factory=dict)
    config: str | None = field(default=None, compare=False)
    from_run: tuple[str, ...] = field(default=(), compare=False)

    @property
    def run_folder(self) -> Path:
        """Folder of this run, ``<run.folder>/<run.name>``."""
        return Path(self.run.folder).expanduser() / self.run.name

    def values(self, section: str) -> dict[str, Any]:
        """Values of a section by ``section.key``, and the lists of a sweep."""
        own = {f"{section}.{key}": value for key, value in vars(getattr(self, section)).items()}
        return {name: self.sweep.get(name, value) for name, value in own.items()}

    def inputs(self, section: str, kind: str) -> dict[str, Any]:
        """JSON values of a section that invalidate a kind of results, by ``section.key``."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.values(section).items()
            if invalidates(name) == kind
        }

    def changed(self, section: str) -> list[str]:
        """``section.key=value`` words for what differs from the defaults."""
        values = _changed(self.values(section))
        return [f"{name}={as_text(value)}" for name, value in values.items()]

    def with_words(self, words: Sequence[str]) -> "Settings":
        """These settings, but for ``section.key=value`` words."""
        own = [word for section in SECTIONS for word in self.changed(section)]
        return dataclasses.replace(load_settings(None, [*own, *words]), config=self.config)

    def as_ini(self) -> str:
        """Text of a config.ini with these settings."""
        lines = []
        for section in SECTIONS:
            values = ((name.split(".")[1], x) for name, x in self.values(section).items())
            lines += [f"[{section}]", *(f"{key} = {as_text(x)}" for key, x in values), ""]
        return "\n".join(lines)


SECTIONS = {
    part.name: type(part.default)
    for part in dataclasses.fields(Settings)
    if dataclasses.is_dataclass(part.default)
}
DEFAULTS = {
    name: value for section in SECTIONS for name, value in Settings().values(section).items()
}


def invalidates(name: str) -> str:
    """What a key invalidates when it changes: ``data``, ``network``, ``result`` or ``nothing``."""
    kinds = INVALIDATED.items()
    return next(kind for keys, kind in kinds if any(fnmatch(name, key) for key in keys.split()))


def as_text(value: Any) -> str:
    """A value as config.ini has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if type(value) is tuple:
        return ", ".join(map(as_text, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


# ---- reading ------------------------------------------------------------------------------------


def load_settings(
    path: str | Path | None, overrides: Sequence[str] = (), stored: Mapping[str, str] | None = None
) -> Settings:
    """Settings from a config.ini and ``section.key=value`` words; faults are a SettingsError.

    Order of precedence: words, the file where it differs from the default, stored settings (texts
    by ``section.key``) where they differ from the default, `run.recipe` and `build.preset`, the
    default.
    """
    given = {} if path is None else _changed(_values(read_ini(Path(path)), str(path)))
    given |= _values(_split(overrides), "command line")
    recipe = RECIPES[given.pop("run.recipe", "none")].split()  # its values are stored, not its name
    preset = [f"build.{word}" for word in PRESETS[given.get("build.preset", "ris")].split()]
    texts = {name: text for name, text in (stored or {}).items() if name not in given}
    of_run = _changed(_values(texts, "settings stored with the run"))
    values = DEFAULTS | _values(_split(recipe + preset), "recipe or preset") | of_run | given
    sweep = {
        name: value
        for name, value in values.items()
        if KEYS[name].takes_sweep and isinstance(value, tuple)
    }
    values |= {name: several[0] for name, several in sweep.items()}
    sections = {
        section: kind(**{key: values[f"{section}.{key}"] for key in vars(kind())})
        for section, kind in SECTIONS.items()
    }
    from_run = tuple(f"{name} = {as_text(value)}" for name, value in of_run.items())
    return Settings(**sections, sweep=sweep, from_run=from_run)


def load_found_settings(
    config: str | None, overrides: Sequence[str], stored: Mapping[str, str] | None = None
) -> Settings:
    """`load_settings` of the named file, or of config.ini if it exists."""
    found = CONFIG if config is None and Path(CONFIG).exists() else config
    return dataclasses.replace(load_settings(found, overrides, stored), config=config)


def _changed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != DEFAULTS[name]}


def _split(words: Sequence[str]) -> dict[str, str]:
    """Texts of ``section.key=value`` words."""
    parts = (word.partition("=") for word in words)
    return {name.strip().lower(): text.strip() for name, _, text in parts}


def _values(texts: Mapping[str, str], place: str) -> dict[str, Any]:
    """Values from their texts, by ``section.key``; `place` is for messages."""
    values = {}
    for name, text in texts.items():
        if name not in KEYS:
            near = [RENAMED[name]] if name in RENAMED else difflib.get_close_matches(name, KEYS, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise SettingsError(
                f"{place}: no setting '{name}'{hint}; write section.key=value as in config.ini"
            )
        try:
            values[name] = KEYS[name].value(text)
        except (ValueError, IndexError, TypeError):
            section, key = name.split(".")
            sweep = "; several with commas are a sweep" if KEYS[name].takes_sweep else ""
            raise SettingsError(
                f"{place}: [{section}] {key} = {text or '(empty)'} is not allowed; "
                f"allowed: {KEYS[name].allowed}{sweep}"
            ) from None
    return values


def read_ini(path: Path) -> dict[str, str]:
    """Texts of a settings file by ``section.key``; a SettingsError if it can't be read."""
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"))
    try:
        with path.open(encoding="utf-8-sig") as file:  # some editors begin files with a mark
            parser.read_file(file)
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise SettingsError(
            f"{path}: can't be read as settings: {reason}; give a file of lines such as "
            "'[section]' or 'key = value' with --config, or start in the folder of config.ini"
        ) from None
    texts = ((section, *item) for section in parser.sections() for item in parser.items(section))
    return {f"{section}.{key}": text.strip() for section, key, text in texts}


# ---- command lines ------------------------------------------------------------------------------

SCRIPTS = {"AEC": "AEC_train.py", "GMM": "GMM_centroids.py", "DEC": "DEC_train.py"}
COMMANDS = {"AEC": "pretrain", "GMM": "cluster", "DEC": "refine"}  # commands and modules of stages


def package_command(name: str) -> str:
    """``riscluster NAME`` or ``python -m RISCluster NAME``, as this process was started."""
    is_installed = Path(sys.argv[0] if sys.argv else "").stem == "riscluster"
    return f"riscluster {name}" if is_installed else f"python -m RISCluster {name}"


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``."""
    text = f"settings file (default: {CONFIG} if it exists, or else the default settings)"
    parser.add_argument("--config", metavar="FILE", help=text)


def parse_stage(description: str, words: Sequence[str] | None) -> argparse.Namespace:
    """Arguments of the script of a stage, `config` and `settings`."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=kind)
    add_config(parser)
    text = "settings that replace those of the file, such as run.name=rutford aec.lr=1e-4"
    parser.add_argument("settings", nargs="*", metavar="section.key=value", help=text)
    return parser.parse_intermixed_args(words)


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
    run_folder = Path(RunSettings.folder, run_name(file))
    return stage_command("AEC", run_folder, config, f"data.file={file}")


def run_name(file: str | Path) -> str:
    """Name of a run on a file: the file's, with characters that suit a folder's name."""
    return re.sub(r"[^\w.+-]+", "_", Path(file).stem).strip("._") or "run"
