"""Settings: keys with types, defaults and limits; reading of config.ini and command-line words.

config.ini, which is part of the package, has the sentence about each key and what is allowed.
"""

import configparser
import dataclasses
import difflib
import math
import operator
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from .errors import SettingsError

COMMAND_LINE = "command line"
CONFIG = "config.ini"
Auto = Literal["auto"]
Ints, Floats = int | tuple[int, ...], float | tuple[float, ...]  # several are a sweep

# What a key invalidates when it changes. All stages of a run must agree on DATA (the input of the
# network) and NETWORK (its shape); RESULT: the results of one stage; NOTHING: no result.
DATA, NETWORK, RESULT, NOTHING = "data", "network", "result", "nothing"
FOLDER_NAME = r"(?!\.{1,2}$|[-~])[^/\\:*?\"<>|\x00-\x1f\x7f]+"
YES_NO = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
COMPARISONS = {
    "low": operator.ge, "high": operator.le, "above": operator.gt, "below": operator.lt
}  # fmt: skip

# Present keys by their names in earlier versions.
RENAMED = {
    "data.workers": "data.cpu_threads",
    "gmm.start": "gmm.init",
    "gmm.prior": "gmm.covariance_shrinkage",
    "gmm.stability": "gmm.n_resamples",
}

RECIPES = {
    "none": {},
    "paper": {  # Jenkins et al. 2021, where the defaults differ from it
        "data.amplitude": "linear", "data.standardize": "no", "aec.latent_activation": "relu",
        "aec.n_components": "0", "aec.n_epochs": "500", "aec.batch_size": "64",
        "aec.lr": "0.001", "aec.schedule": "constant", "gmm.init": "kmeans",
        "gmm.covariance_shrinkage": "0", "dec.latent_scale": "none", "dec.gamma": "0.001",
        "dec.labels": "student", "dec.keep": "refined",
    },
}  # fmt: skip

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
    """Range of frequencies, Hz: ``low-high``."""

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


class Months(NamedTuple):
    """A season by its first and last month, 1 to 12; it may include the turn of the year."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def __contains__(self, month: object) -> bool:
        return (month - self.first) % 12 <= (self.last - self.first) % 12


class Listed(tuple):
    """Values of one key, with commas; not a sweep. Successive whole numbers are ``2-20``."""

    def __str__(self) -> str:
        if len(self) > 2 and type(self[0]) is int and self == (*range(self[0], self[-1] + 1),):
            return f"{self[0]}-{self[-1]}"
        return ", ".join(map(as_text, self))


def _band(text: str) -> Band:
    low, high = map(float, text.split("-"))
    _require(0 <= low < high < math.inf)
    return Band(low, high)


def _corners(text: str) -> Listed:
    f1, f2, f3, f4 = map(float, text.split(","))
    _require(0 <= f1 < f2 < f3 < f4 < math.inf)
    return Listed((f1, f2, f3, f4))


def _axes(text: str) -> Listed:
    names = Listed(part.strip() for part in text.split(","))
    _require(sorted(names) in (["frequency", "sample", "time"], ["channel", "frequency", "time"]))
    return names


def _sizes(text: str) -> Listed:
    sizes = Listed(int(part) for part in text.split(","))
    _require(len(sizes) == 3 and min(sizes) >= 1)
    return sizes


def _utc(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _period(text: str) -> str:
    first, last = (datetime.fromisoformat(part.strip()) for part in text.split("/"))
    _require(first < last)
    return text


def _moments(text: str) -> str:
    for part in text.split(","):
        datetime.fromisoformat(part.split()[0])
    return text


def _axis_slice(text: str) -> AxisSlice:
    parts = [int(part) if part.strip() else None for part in text.split(":")]
    _require(2 <= len(parts) <= 3 and (len(parts) < 3 or parts[2] is None or parts[2] >= 1))
    return AxisSlice(*parts)


def _cluster_numbers(text: str) -> Listed:
    spans = [_span(part) for part in text.split(",")]
    _require(all(1 <= low <= high <= 1000 for low, high in spans))
    return Listed(sorted({n for low, high in spans for n in range(low, high + 1)}))


def _components(text: str) -> Listed:
    names = Listed(part.strip() for part in (text.split(",") if "," in text else text))
    _require(len(names) > 1 and all(names) and len(set(names)) == len(names))
    return names


def _seasons(text: str) -> Listed:
    seasons = Listed(Months(*_span(part)) for part in text.split(","))
    _require(all(1 <= month <= 12 for season in seasons for month in tuple(season)))
    _require(all(sum(month in season for season in seasons) <= 1 for month in range(1, 13)))
    return seasons


def _span(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    return int(first), int(last if dash else first)


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError


# ---- sections -----------------------------------------------------------------------------------


def _key(default: Any, invalidates: str = RESULT, **limits: Any) -> Any:
    """A key; limits: low, high, above, below of a number, pattern of a text, or a parser."""
    return field(default=default, metadata={"invalidates": invalidates, "limits": limits})


@dataclass(frozen=True)
class RunSettings:
    """[run]: output folder and device."""

    name: str = _key("demo", NOTHING, pattern=FOLDER_NAME)
    folder: str = _key("Outputs", NOTHING)
    seed: int = _key(2009, low=0)
    device: str = _key("auto", NOTHING, pattern=r"auto|cpu|cuda(:\d+)?")
    precision: Literal["auto", "fp32", "bf16"] = _key("auto")
    deterministic: bool = _key(False, NOTHING)
    recipe: Literal["none", "paper"] = _key("none", NOTHING)
    tensorboard: bool = _key(False, NOTHING)
    backend: Literal["processes", "dask", "ray"] = _key("processes", NOTHING)
    scheduler: str | None = _key(None, NOTHING, pattern=r"[a-z]+://\S+|auto")
    figures: bool = _key(True, NOTHING)
    figure_format: Literal["png", "pdf", "svg"] = _key("png", NOTHING)


@dataclass(frozen=True)
class DataSettings:
    """[data]: the data set and the preparation of spectrograms."""

    file: str = _key("Data/demo.h5", NOTHING)
    layout: Literal["auto", "samples", "ris", "cube"] = _key("auto", NOTHING)
    dataset: str = _key("auto", NOTHING)
    axes: Listed = _key(Listed(("sample", "frequency", "time")), NOTHING, parse=_axes)
    frequencies: Band | None = _key(None, NOTHING, parse=_band)
    time_step: float | None = _key(None, NOTHING, above=0)
    stations: str = _key("*", NOTHING)
    after: str | None = _key(None, NOTHING, parse=_utc)
    before: str | None = _key(None, NOTHING, parse=_utc)
    min_amplitude: float | None = _key(None, NOTHING, low=0)
    amplitude: Literal["linear", "sqrt", "log"] = _key("sqrt", DATA)
    transform: Literal["none", "sample_normalization", "sample_norm_cent", "vec_norm"] = _key(
        "vec_norm", DATA
    )
    standardize: bool = _key(True, DATA)
    loadmode: Literal["auto", "device", "ram", "disk"] = _key("auto", NOTHING)
    cpu_threads: Auto | int = _key("auto", NOTHING, low=0, high=256)
    train_samples: int = _key(50000, DATA, low=0)
    validation_fraction: float = _key(0.2, DATA, above=0, below=1)


@dataclass(frozen=True)
class CubeSettings:
    """[cube]: samples of a cube of (time, channel, frequency)."""

    window: int = _key(4, DATA, low=1)
    stride: int = _key(4, DATA, low=1)
    window_channels: int = _key(1, DATA, low=1)
    stride_channels: int = _key(1, DATA, low=1)
    channels: AxisSlice = _key(AxisSlice(), DATA, parse=_axis_slice)
    times: AxisSlice = _key(AxisSlice(), DATA, parse=_axis_slice)


@dataclass(frozen=True)
class AecSettings:
    """[aec]: the autoencoder and its training."""

    n_features: Ints = _key(9, NETWORK, low=1, high=4096)
    latent_activation: Literal["linear", "relu"] = _key("linear", NETWORK)
    n_components: Auto | int = _key("auto", NETWORK, low=0, high=4096)
    initial_weights: str = _key("none")
    n_epochs: Auto | int = _key("auto", low=0)
    batch_size: Auto | int | tuple[Auto | int, ...] = _key("auto", low=1)
    lr: Auto | float | tuple[Auto | float, ...] = _key("auto", above=0)
    schedule: Literal["onecycle", "plateau", "constant"] = _key("plateau")
    patience: int = _key(10, low=1)


@dataclass(frozen=True)
class GmmSettings:
    """[gmm]: Gaussian mixtures in the latent space."""

    n_clusters: Listed = _key(Listed(range(2, 21)), parse=_cluster_numbers)
    select: Literal["bic", "aic", "silhouette", "gap", "stability", "agreement"] = _key("bic")
    n_resamples: int | None = _key(4, low=2, high=100)
    init: Literal["consensus", "kmeans"] = _key("consensus")
    covariance_shrinkage: float = _key(2.0, low=0)
    n_init: int = _key(100, low=1)
    fit_samples: int = _key(100000, low=0)


@dataclass(frozen=True)
class DecSettings:
    """[dec]: deep embedded clustering."""

    n_clusters: Auto | int | tuple[Auto | int, ...] = _key("auto", low=2, high=1000)
    n_epochs: int = _key(400, low=1)
    batch_size: Ints = _key(64, low=1)
    lr: Floats = _key(0.001, above=0)
    gamma: Floats = _key(1.0, low=0)
    tol: Floats = _key(0.003, low=0, high=1)
    updates_per_epoch: int = _key(2, low=1, high=10000)
    latent_scale: Literal["within", "global", "none"] = _key("within")
    labels: Literal["mixture", "student"] = _key("mixture")
    keep: Literal["better", "refined"] = _key("better")


@dataclass(frozen=True)
class BuildSettings:
    """[build]: python -m RISCluster build, a data set from waveforms."""

    preset: Literal["ris", "icequakes", "local", "regional", "volcano"] = _key("ris")
    method: Literal["detect", "slide"] = _key("detect")
    catalogue: str | None = _key(None)
    before: Auto | float = _key("auto", low=0)
    velocity: float | None = _key(None, above=0)
    phases: str = _key("*")
    archive: str = _key("Data/archive", NOTHING)
    trace_ids: str = _key("*")
    components: Listed | None = _key(None, parse=_components)
    missing_components: Literal["leave_out", "zeros"] = _key("leave_out")
    sampling_rate: Auto | float = _key(50.0, above=0)
    constant_gap: float | None = _key(1.0, above=0)
    detrend: Literal["none", "demean", "linear"] | int = _key("linear", low=2, high=10)
    taper: float = _key(5.0, low=0)
    inventory: str | None = _key(None)
    output: Literal["acceleration", "velocity", "displacement"] = _key("velocity")
    pre_filter: Listed | None = _key(None, parse=_corners)
    water_level: float | None = _key(60.0, low=0)
    bandpass: Band | None = _key(Band(3.0, 20.0), parse=_band)
    filter_order: int = _key(4, low=1, high=10)
    trigger: Literal["recursive", "classic", "z"] = _key("recursive")
    sta: float = _key(0.5, above=0)
    lta: float = _key(30.0, above=0)
    on: float = _key(15.0, above=0)
    off: float = _key(10.0, low=0)
    dead_time: float = _key(4.0, low=0)
    length: float = _key(4.0, above=0)
    step: float = _key(1.0, above=0)
    segment: float = _key(0.4, above=0)
    kaiser_beta: float = _key(5.7, low=0)
    overlap: float = _key(0.9, low=0, below=1)
    nfft: int = _key(256, low=8, high=2**20)
    frequencies: Band | None = _key(Band(3.0, 20.0), parse=_band)
    traces: Auto | bool = _key("auto")
    save_waveforms: str | None = _key(None)


@dataclass(frozen=True)
class EventsSettings:
    """[events]: python -m RISCluster associate, detections at several stations as one event."""

    associate: bool = _key(True)
    window: Auto | float = _key("auto", above=0)
    slowness: float = _key(0.5, low=0)
    tolerance: float = _key(0.1, low=0)
    stations: str | None = _key(None)
    min_stations: int = _key(4, low=2)
    neighbours: int | None = _key(None, low=1)
    clock_offset: float = _key(10.0, low=0)
    cube_ratio: float = _key(4.0, above=1)


@dataclass(frozen=True)
class RecordsSettings:
    """[records]: python -m RISCluster cube, a cube from DAS records or an array's waveforms."""

    dataset: str = _key("auto")
    order: Literal["auto", "time,channel", "channel,time"] = _key("auto")
    sampling_rate: Auto | float = _key("auto", above=0)
    starttime: Auto | str = _key("auto", parse=_utc)
    channel_spacing: Auto | float = _key("auto", above=0)
    window: float = _key(1.0, above=0)
    step: float = _key(0.5, above=0)
    taper: Literal["hann", "kaiser", "tukey", "none"] = _key("hann")
    band: Band | None = _key(None, parse=_band)
    power: Literal["linear", "log"] = _key("linear")
    name_times: str | None = _key(None)
    after: str | None = _key(None, parse=_utc)
    before: str | None = _key(None, parse=_utc)
    section: Band | None = _key(None, parse=_band)
    chunks: Auto | Listed = _key("auto", parse=_sizes)


@dataclass(frozen=True)
class ReportSettings:
    """[report]: additions to the report of a run."""

    environment: str | None = _key(None, NOTHING)
    stations: str | None = _key(None, NOTHING)
    interval: Literal["auto", "hour", "day", "week", "month"] = _key("auto", NOTHING)
    seasons: Listed = _key(_seasons("12-2, 3-5, 6-8, 9-11"), NOTHING, parse=_seasons)
    largest_lag: float = _key(30.0, NOTHING, low=0)
    span: str | None = _key(None, NOTHING, parse=_period)
    moments: str | None = _key(None, NOTHING, parse=_moments)
    log_axis: bool = _key(False, NOTHING)
    embedding: Literal["tsne", "opentsne", "umap"] = _key("tsne", NOTHING)


@dataclass(frozen=True)
class Settings:
    """All settings of a run, an object for each section."""

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
    # settings file named on the command line; ``section.key = value`` of the run's stored settings
    config: str | None = field(default=None, compare=False)
    from_run: tuple[str, ...] = field(default=(), compare=False)

    @property
    def run_folder(self) -> Path:
        """Folder of this run, ``<run.folder>/<run.name>``."""
        return Path(self.run.folder).expanduser() / self.run.name

    def inputs(self, section: str, *invalidates: str) -> dict[str, Any]:
        """Keys of a section that invalidate one of these, as ``section.key: JSON value``."""
        return {
            f"{section}.{key}": list(value) if isinstance(value, tuple) else value
            for key, value in vars(getattr(self, section)).items()
            if KEYS[f"{section}.{key}"].metadata["invalidates"] in invalidates
        }

    def changed(self, section: str) -> list[str]:
        """``section.key=value`` words for what differs from the defaults."""
        return [
            f"{section}.{key}={as_text(value)}"
            for key, value in vars(getattr(self, section)).items()
            if value != KEYS[f"{section}.{key}"].default
        ]

    def as_ini(self) -> str:
        """Text of a config.ini with these settings."""
        lines = []
        for section in SECTIONS:
            values = vars(getattr(self, section)).items()
            lines += [f"[{section}]", *(f"{key} = {as_text(x)}" for key, x in values), ""]
        return "\n".join(lines)


SECTIONS: dict[str, type] = {
    key.name: key.type for key in dataclasses.fields(Settings) if dataclasses.is_dataclass(key.type)
}
KEYS: dict[str, dataclasses.Field] = {
    f"{section}.{key.name}": key
    for section, kind in SECTIONS.items()
    for key in dataclasses.fields(kind)
}


def shipped_config() -> str:
    """Text of the config.ini of the package."""
    return resources.files(__package__).joinpath(CONFIG).read_text("utf-8")


def descriptions() -> dict[str, tuple[str, str]]:
    """Of each ``section.key`` in the package's config.ini, its sentence and what is allowed."""
    found = {}
    for text in re.split(r"^\[", shipped_config(), flags=re.MULTILINE)[1:]:
        section = text.partition("]")[0]
        for comment, key in re.findall(r"((?:^# .+\n)+)(\w+) = ", text, flags=re.MULTILINE):
            sentence, _, allowed = comment[2:].strip().replace("\n# ", " ").rpartition(" [")
            found[f"{section}.{key}"] = sentence, allowed[:-1]
    return found


# ---- text of values -----------------------------------------------------------------------------


def _alternatives(key: dataclasses.Field) -> tuple[Any, ...]:
    return get_args(key.type) if get_origin(key.type) in (Union, UnionType) else (key.type,)


def takes_sweep(key: dataclasses.Field) -> bool:
    """Whether several values with commas are a sweep."""
    return any(get_origin(kind) is tuple for kind in _alternatives(key))


def _parse(text: str, key: dataclasses.Field) -> Any:
    """Value of a key from its text; a ValueError where that is not allowed."""
    if takes_sweep(key) and "," in text:
        values = dict.fromkeys(_parse(part.strip(), key) for part in text.split(","))
        return tuple(values) if len(values) > 1 else next(iter(values))
    kinds, limits = _alternatives(key), key.metadata["limits"]
    if NoneType in kinds and text == "none":
        return None
    if any(get_origin(kind) is Literal and text in get_args(kind) for kind in kinds):
        return text
    kind = next((kind for kind in kinds if isinstance(kind, type) and kind is not NoneType), None)
    _require(kind is not None and bool(text))
    if "parse" in limits:
        return limits["parse"](text)
    if kind is bool:
        _require(text.lower() in YES_NO)
        return YES_NO[text.lower()]
    if kind is str:
        _require(re.fullmatch(limits.get("pattern", ".*"), text) is not None)
        return text
    value = kind(text)
    _require(math.isfinite(value))
    _require(all(COMPARISONS[name](value, end) for name, end in limits.items()))
    return value


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
    path: str | Path | None,
    overrides: Sequence[str] = (),
    stored: Callable[[Path], Mapping[str, str]] | None = None,
) -> Settings:
    """Settings from a config.ini and ``section.key=value`` words; faults are a SettingsError.

    Order of precedence: words, the file where it differs from the default, stored settings (a
    function of the run folder that returns texts by ``section.key``) where they differ from the
    default, `run.recipe` and `build.preset`, the default.
    """
    given = {} if path is None else _changed(_parsed(_read_ini(Path(path)), str(path)))
    given |= _parsed(dict(map(_split_word, overrides)), COMMAND_LINE)
    recipe, of_run = dict(RECIPES[given.pop("run.recipe", "none")]), {}
    for word in PRESETS[given.get("build.preset", "ris")].split():
        recipe |= [_split_word(f"build.{word}")]
    if stored is not None:
        texts = stored(_settings(given).run_folder)
        texts = {name: text for name, text in texts.items() if name not in given}
        of_run = _changed(_parsed(texts, "settings stored with the run"))
    lines = tuple(f"{name} = {as_text(value)}" for name, value in of_run.items())
    return _settings(_parsed(recipe, COMMAND_LINE) | of_run | given, from_run=lines)


def load_found_settings(config: str | None, overrides: Sequence[str], **others: Any) -> Settings:
    """`load_settings` of the named file, or of config.ini if it exists."""
    found = CONFIG if config is None and Path(CONFIG).exists() else config
    return dataclasses.replace(load_settings(found, overrides, **others), config=config)


def read_stored(path: Path) -> dict[str, str]:
    """Texts of known keys, by ``section.key``, of a settings file of a stage."""
    return {name: x for name, x in with_present_names(_read_ini(path)).items() if name in KEYS}


def with_present_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by ``section.key`` of any version, with the present names of keys and values."""
    renamed = {RENAMED.get(name, name): value for name, value in values.items()}
    if renamed.get("gmm.init") == "neighbours":
        renamed["gmm.init"] = "consensus"
    return renamed


def _settings(values: Mapping[str, Any], **others: Any) -> Settings:
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for name, value in values.items():
        section, key = name.split(".")
        sections[section][key] = value
    return Settings(**{name: SECTIONS[name](**sections[name]) for name in SECTIONS}, **others)


def _changed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != KEYS[name].default}


def _parsed(texts: Mapping[str, str], place: str) -> dict[str, Any]:
    """Values from their texts, by ``section.key``; `place` is for messages."""
    values = {}
    for name, text in texts.items():
        _require_known(name, place)
        try:
            values[name] = _parse(text, KEYS[name])
        except ValueError:
            section, key = name.split(".")
            allowed = descriptions()[name][1].removeprefix("list of ")
            sweep = "; several with commas are a sweep" if takes_sweep(KEYS[name]) else ""
            raise SettingsError(
                f"{place}: [{section}] {key} = {text or '(empty)'} is not allowed; "
                f"allowed: {allowed}{sweep}"
            ) from None
    return values


def _read_ini(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"))
    try:
        with path.open(encoding="utf-8-sig") as file:  # some editors begin files with a mark
            parser.read_file(file)
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise SettingsError(
            f"{path}: can't be read as settings: {reason}; give a file of lines as '[section]' or "
            "'key = value' with --config, or start in the folder that holds config.ini"
        ) from None
    return {
        f"{section}.{key}": text.strip()
        for section in parser.sections()
        for key, text in parser.items(section)
    }


def _split_word(word: str) -> tuple[str, str]:
    """Name and text of ``section.key=value``."""
    name, equals, value = word.partition("=")
    name = name.strip().lower()
    if equals and "." in name:
        return name, value.strip()
    known = next((key for key in KEYS if key.endswith(f".{name}")), None)
    hint = f"; did you mean {known}={value}?" if equals and known else ""
    if not equals and (Path(word).suffix or os.path.exists(word)):
        hint = f"; did you mean data.file={word}?"
    raise SettingsError(
        f"command line: '{word}' is not a setting{hint}; write section.key=value, as aec.lr=1e-4"
    )


def _require_known(name: str, place: str) -> None:
    if name in KEYS:
        return
    section, _, key = name.partition(".")
    if name in RENAMED:
        new = RENAMED[name].partition(".")[2]
        raise SettingsError(f"{place}: [{section}] {key} is now called {new}; use that name")
    allowed = [known.partition(".")[2] for known in KEYS if known.startswith(f"{section}.")]
    same_key = [known for known in KEYS if known.endswith(f".{key}")]
    near = difflib.get_close_matches(name.lower(), same_key or KEYS, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise SettingsError(
        f"{place}: [{section}] has no key '{key}'{hint}; allowed: {', '.join(allowed or SECTIONS)}"
    )
