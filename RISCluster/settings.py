"""Settings: keys with types, defaults and limits; reading of config.ini and command-line words.

config.ini, which is part of the package, has the sentence about each key and what is allowed.
"""

import configparser
import dataclasses
import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from .errors import SettingsError

COMMAND_LINE = "command line"
CONFIG = "config.ini"
Names = tuple[str, str]  # section and key
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

# Keys of earlier versions, by section and key, and their present names.
RENAMED = {
    ("data", "workers"): "cpu_threads",
    ("gmm", "start"): "init",
    ("gmm", "prior"): "covariance_shrinkage",
    ("gmm", "stability"): "n_resamples",
}

RECIPES = {
    "none": (),
    "paper": (  # Jenkins et al. 2021, where the defaults differ from it
        "data.amplitude=linear", "data.standardize=no", "aec.latent_activation=relu",
        "aec.n_components=0", "aec.n_epochs=500", "aec.batch_size=64", "aec.lr=0.001",
        "aec.schedule=constant", "gmm.init=kmeans",
        "gmm.covariance_shrinkage=0", "dec.latent_scale=none", "dec.gamma=0.001",
        "dec.labels=student", "dec.keep=refined",
    ),
}  # fmt: skip


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
    """Values of one key, with commas; not a sweep."""

    def __str__(self) -> str:
        return ", ".join(map(as_text, self))


class ClusterNumbers(Listed):
    """Ascending numbers of clusters: ``2-20``, ``8`` or ``4, 6, 8``."""

    def __str__(self) -> str:
        whole = len(self) > 2 and self == tuple(range(self[0], self[-1] + 1))
        return f"{self[0]}-{self[-1]}" if whole else super().__str__()


def _band(text: str) -> Band:
    low, high = map(float, text.split("-"))
    _require(0 <= low < high < math.inf)
    return Band(low, high)


def _corners(text: str) -> Listed:
    f1, f2, f3, f4 = map(float, text.split(","))
    _require(0 <= f1 < f2 < f3 < f4 < math.inf)
    return Listed((f1, f2, f3, f4))


def _axis_slice(text: str) -> AxisSlice:
    parts = [int(part) if part.strip() else None for part in text.split(":")]
    _require(2 <= len(parts) <= 3 and (len(parts) < 3 or parts[2] is None or parts[2] >= 1))
    return AxisSlice(*parts)


def _cluster_numbers(text: str) -> ClusterNumbers:
    spans = [_span(part) for part in text.split(",")]
    _require(all(1 <= low <= high <= 1000 for low, high in spans))
    return ClusterNumbers(sorted({n for low, high in spans for n in range(low, high + 1)}))


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
    figures: bool = _key(True, NOTHING)
    figure_format: Literal["png", "pdf", "svg"] = _key("png", NOTHING)


@dataclass(frozen=True)
class DataSettings:
    """[data]: the data set and the preparation of spectrograms."""

    file: str = _key("Data/demo.h5", NOTHING)
    layout: Literal["auto", "samples", "ris", "cube"] = _key("auto", NOTHING)
    dataset: str = _key("auto", NOTHING)
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
    schedule: Literal["onecycle", "plateau", "constant"] = _key("onecycle")
    patience: int = _key(10, low=1)


@dataclass(frozen=True)
class GmmSettings:
    """[gmm]: Gaussian mixtures in the latent space."""

    n_clusters: ClusterNumbers = _key(ClusterNumbers(range(2, 21)), parse=_cluster_numbers)
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

    method: Literal["detect", "slide"] = _key("detect")
    trace_ids: str = _key("*")
    sampling_rate: Auto | float = _key(50.0, above=0)
    constant_gap: float | None = _key(1.0, above=0)
    detrend: Literal["none", "demean", "linear"] = _key("linear")
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
    traces: bool = _key(False)


@dataclass(frozen=True)
class RecordsSettings:
    """[records]: python -m RISCluster cube, a cube from DAS records or an array's waveforms."""

    dataset: str = _key("auto")
    order: Literal["auto", "time,channel", "channel,time"] = _key("auto")
    sampling_rate: Auto | float = _key("auto", above=0)
    starttime: str = _key("auto")
    channel_spacing: Auto | float = _key("auto", above=0)
    window: float = _key(1.0, above=0)
    step: float = _key(0.5, above=0)
    taper: Literal["hann", "kaiser", "tukey", "none"] = _key("hann")
    band: Band | None = _key(None, parse=_band)
    power: Literal["linear", "log"] = _key("linear")


@dataclass(frozen=True)
class ReportSettings:
    """[report]: additions to the report of a run."""

    environment: str | None = _key(None, NOTHING)
    stations: str | None = _key(None, NOTHING)
    interval: Literal["auto", "hour", "day", "week", "month"] = _key("auto", NOTHING)
    seasons: Listed = _key(_seasons("12-2, 3-5, 6-8, 9-11"), NOTHING, parse=_seasons)
    largest_lag: float = _key(30.0, NOTHING, low=0)
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
        values = vars(getattr(self, section))
        return {
            f"{section}.{name}": list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if KEYS[section, name].metadata["invalidates"] in invalidates
        }

    def changed(self, section: str) -> list[str]:
        """``section.key=value`` words for what differs from the defaults."""
        return [
            f"{section}.{name}={as_text(value)}"
            for name, value in vars(getattr(self, section)).items()
            if value != KEYS[section, name].default
        ]

    def as_ini(self) -> str:
        """Text of a config.ini with these settings."""
        lines = []
        for section in SECTIONS:
            values = vars(getattr(self, section)).items()
            lines += [f"[{section}]", *(f"{name} = {as_text(x)}" for name, x in values), ""]
        return "\n".join(lines)


SECTIONS: dict[str, type] = {
    key.name: key.type for key in dataclasses.fields(Settings) if dataclasses.is_dataclass(key.type)
}
KEYS: dict[Names, dataclasses.Field] = {
    (section, key.name): key
    for section in SECTIONS
    for key in dataclasses.fields(SECTIONS[section])
}


def shipped_config() -> str:
    """Text of the config.ini of the package."""
    return resources.files(__package__).joinpath(CONFIG).read_text("utf-8")


def sentences() -> dict[Names, str]:
    """Sentence of each key, by section and key."""
    return {names: comment.rpartition(" [")[0] for names, comment in _comments().items()}


def _comments() -> dict[Names, str]:
    """Comments of the package's config.ini: a sentence, and what is allowed in brackets."""
    found = {}
    for text in re.split(r"^\[", shipped_config(), flags=re.MULTILINE)[1:]:
        section = text.partition("]")[0]
        for comment, key in re.findall(r"((?:^# .+\n)+)(\w+) = ", text, flags=re.MULTILINE):
            found[section, key] = comment[2:].strip().replace("\n# ", " ")
    return found


# ---- text of values -----------------------------------------------------------------------------


def _alternatives(key: dataclasses.Field) -> tuple[Any, ...]:
    return get_args(key.type) if get_origin(key.type) in (Union, UnionType) else (key.type,)


def takes_sweep(key: dataclasses.Field) -> bool:
    """Whether several values with commas are a sweep."""
    return any(get_origin(kind) is tuple for kind in _alternatives(key))


def parse_value(text: str, key: dataclasses.Field) -> Any:
    """Value of a key from its text; a ValueError where that is not allowed."""
    if takes_sweep(key) and "," in text:
        values = dict.fromkeys(parse_value(part.strip(), key) for part in text.split(","))
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
    stored: Callable[[Path], Mapping[Names, str]] | None = None,
) -> Settings:
    """Settings from a config.ini and ``section.key=value`` words; faults are a SettingsError.

    Order of precedence: words, the file where it differs from the default, stored settings (a
    function of the run folder that returns texts by section and key), `run.recipe`, the default.
    """
    values = {} if path is None else _read_ini(Path(path))
    for word in overrides:
        section, key, value = _split_override(word)
        values[section, key] = (value, COMMAND_LINE)
    from_run = []
    if stored is not None:
        for names, text in stored(_resolve(values).run_folder).items():
            if _is_left(values, names) and not _is_default(names, text):
                values[names] = (text, "settings stored with the run")
                from_run.append(f"{'.'.join(names)} = {text}")
    recipe, place = values.pop(("run", "recipe"), ("none", ""))
    for word in RECIPES[_parse(("run", "recipe"), recipe, place)]:
        section, key, text = _split_override(word)
        if _is_left(values, (section, key)):
            values[section, key] = (text, f"recipe {recipe}")
    return dataclasses.replace(_resolve(values), from_run=tuple(from_run))


def load_found_settings(config: str | None, overrides: Sequence[str], **others: Any) -> Settings:
    """`load_settings` of the named file, or of config.ini if it exists."""
    found = CONFIG if config is None and Path(CONFIG).exists() else config
    return dataclasses.replace(load_settings(found, overrides, **others), config=config)


def read_stored(path: Path) -> dict[Names, str]:
    """Texts of known keys, by section and present name, of a settings file of a stage."""
    texts = {names: text for names, (text, _) in _read_ini(path, check=False).items()}
    present = {(s, RENAMED.get((s, key), key)): text for (s, key), text in texts.items()}
    if present.get(("gmm", "init")) == "neighbours":  # of earlier versions
        present["gmm", "init"] = "consensus"
    return {names: text for names, text in present.items() if names in KEYS}


def _resolve(values: Mapping[Names, tuple[str, str]]) -> Settings:
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for (section, key), (text, place) in values.items():
        sections[section][key] = _parse((section, key), text, place)
    return Settings(**{name: SECTIONS[name](**sections[name]) for name in SECTIONS})


def _is_left(values: Mapping[Names, tuple[str, str]], names: Names) -> bool:
    """Whether a key has its default, not set by a word of the command line."""
    text, place = values.get(names, ("", ""))
    return names not in values or (place != COMMAND_LINE and _is_default(names, text))


def _is_default(names: Names, text: str) -> bool:
    try:
        return parse_value(text, KEYS[names]) == KEYS[names].default
    except ValueError:  # raised where the value is used
        return False


def _read_ini(path: Path, check: bool = True) -> dict[Names, tuple[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"))
    try:
        with path.open(encoding="utf-8-sig") as file:  # Windows editors write a byte-order mark
            parser.read_file(file)
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: no such settings file; give one with --config FILE, or start in the folder "
            "that holds config.ini"
        ) from None
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(
            f"{path}: not a settings file: {reason}; allowed: lines as '[section]' or 'key = value'"
        ) from None
    values = {}
    for section in parser.sections():
        for key, text in parser.items(section):
            if check:
                _check_known(section, key, str(path))
            values[section, key] = (text.strip(), str(path))
    return values


def _split_override(word: str) -> tuple[str, str, str]:
    name, equals, value = word.partition("=")
    section, dot, key = name.strip().partition(".")
    if not equals or not dot:
        sections = [s for s, key in KEYS if key == name.strip().lower()]
        hint = ""
        if equals and sections:
            hint = f"; did you mean {sections[0]}.{word}?"
        elif not equals and (Path(word).suffix or Path(word).exists()):
            hint = f"; did you mean data.file={word}?"
        raise SettingsError(
            f"command line: '{word}' is not a setting{hint}; write section.key=value, as "
            "aec.lr=1e-4"
        )
    _check_known(section, key.lower(), COMMAND_LINE)
    return section, key.lower(), value.strip()


def _check_known(section: str, key: str, place: str) -> None:
    if section not in SECTIONS:
        raise SettingsError(
            f"{place}: unknown section [{section}]{_nearest(section, SECTIONS)}; allowed: "
            f"{', '.join(SECTIONS)}"
        )
    if (section, key) in RENAMED:
        raise SettingsError(
            f"{place}: [{section}] {key} is now called {RENAMED[section, key]}; use that name"
        )
    if (section, key) not in KEYS:
        known = [name for where, name in KEYS if where == section]
        elsewhere = [where for where, name in KEYS if name == key]
        near = f"; did you mean [{elsewhere[0]}] {key}?" if elsewhere else _nearest(key, known)
        raise SettingsError(
            f"{place}: [{section}] has no key '{key}'{near}; allowed: {', '.join(known)}"
        )


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def _parse(names: Names, text: str, place: str) -> Any:
    key = KEYS[names]
    try:
        return parse_value(text, key)
    except ValueError:
        allowed = _comments()[names].rpartition(" [")[2][:-1].removeprefix("list of ")
        sweep = "; several with commas are a sweep" if takes_sweep(key) else ""
        raise SettingsError(
            f"{place}: [{names[0]}] {names[1]} = {text or '(empty)'} is not allowed; "
            f"allowed: {allowed}{sweep}"
        ) from None
