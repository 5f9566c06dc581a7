"""Settings: keys with their types, defaults and effects; read from config.ini and words.

What each key is stands in config.ini, which comes with the package.
"""

import configparser
import dataclasses
import difflib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from .errors import SettingsError

YES = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


class Band(NamedTuple):
    """A range of frequencies, Hz."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g}-{self.high:g}"

    @classmethod
    def parse(cls, text: str) -> "Band":
        """``low-high``."""
        low, _, high = text.partition("-")
        value = cls(float(low), float(high))
        _require(0 <= value.low < value.high < math.inf)
        return value


class Corners(NamedTuple):
    """Four frequencies of a cosine taper, Hz: no pass, pass, pass, no pass."""

    f1: float
    f2: float
    f3: float
    f4: float

    def __str__(self) -> str:
        return ", ".join(f"{value:g}" for value in self)

    @classmethod
    def parse(cls, text: str) -> "Corners":
        """Four ascending numbers."""
        parts = [float(part) for part in text.split(",")]
        _require(len(parts) == 4 and parts[0] >= 0 and parts[3] < math.inf)
        _require(parts[0] < parts[1] < parts[2] < parts[3])
        return cls(*parts)


class AxisSlice(NamedTuple):
    """Part of an axis, as Python's slices: from `start` to before `stop`, every `step`-th."""

    start: int | None
    stop: int | None
    step: int | None

    def __str__(self) -> str:
        parts = ["" if value is None else str(value) for value in self]
        return ":".join(parts if self.step is not None else parts[:2])

    @classmethod
    def parse(cls, text: str) -> "AxisSlice":
        """``start:stop:step``, each of which may be left out."""
        parts = text.split(":")
        _require(2 <= len(parts) <= 3)
        numbers = [int(part) if part.strip() else None for part in parts] + [None]
        _require(numbers[2] is None or numbers[2] >= 1)
        return cls(*numbers[:3])


class Months(NamedTuple):
    """A season: from one month to another, both within it, 1 to 12; may go over the new year."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def __contains__(self, month: object) -> bool:
        if self.first <= self.last:
            return self.first <= month <= self.last
        return month >= self.first or month <= self.last


class ClusterNumbers(tuple[int, ...]):
    """Ascending numbers of clusters."""

    def __str__(self) -> str:
        whole = len(self) > 2 and self == tuple(range(self[0], self[-1] + 1))
        return f"{self[0]}-{self[-1]}" if whole else ", ".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> "ClusterNumbers":
        """``2-20``, ``8`` or ``4, 6, 8``."""
        numbers: set[int] = set()
        for part in text.split(","):
            first, dash, last = part.partition("-")
            low, high = int(first), int(last if dash else first)
            _require(1 <= low <= high <= 1000)
            numbers.update(range(low, high + 1))
        return cls(sorted(numbers))


class Seasons(tuple[Months, ...]):
    """Seasons that share no month."""

    def __str__(self) -> str:
        return ", ".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> "Seasons":
        """Each ``first-last``, with commas."""
        seasons = []
        for part in text.split(","):
            first, dash, last = part.partition("-")
            seasons.append(Months(int(first), int(last if dash else first)))
        _require(all(1 <= month <= 12 for season in seasons for month in tuple(season)))
        _require(all(sum(month in season for season in seasons) <= 1 for month in range(1, 13)))
        return cls(seasons)


class RunName(str):
    """Name of a folder; none that a command would take for an option or a home folder."""

    @classmethod
    def parse(cls, text: str) -> "RunName":
        """A name."""
        _require(text not in (".", "..") and not any(char in '/\\:*?"<>|' for char in text))
        _require(text.isprintable() and not text.startswith(("-", "~")))
        return cls(text)


class Device(str):
    """A device as PyTorch names it."""

    @classmethod
    def parse(cls, text: str) -> "Device":
        """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
        number = text.removeprefix("cuda:")
        _require(text in ("auto", "cpu", "cuda") or (number != text and number.isdecimal()))
        return cls(text)


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError


class Limits(NamedTuple):
    """Ends of the range of a number; `above` and `below` are not within it."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: object) -> bool:
        return (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def describe(self, kind: type) -> str:
        """As an error message has it."""
        if kind is int:
            end = " or more" if self.high is None else f" to {self.high:,}"
            return f"a whole number, {self.low:,}{end}"
        text = (
            f"a number from {self.low:g}"
            if self.above is None
            else f"a number above {self.above:g}"
        )
        if self.high is not None:
            text += f" to {self.high:g}"
        return text if self.below is None else f"{text} to below {self.below:g}"


def alternatives(kind: Any) -> tuple[Any, ...]:
    """Types in a union, or the type itself."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def takes_sweep(kind: Any) -> bool:
    """Whether several values with commas are a sweep."""
    return any(get_origin(one) is tuple for one in alternatives(kind))


def parse_value(text: str, kind: Any, limits: Limits) -> Any:
    """Text to a value of a type.

    Parameters
    ----------
    text : str
    kind : type
        ``bool``, ``int``, ``float``, ``str``, a ``Literal``, a class with a method ``parse``, or a
        union of these, in which None is ``none`` and a tuple is a sweep.
    limits : Limits
        Of a number.

    Raises
    ------
    ValueError
        The text is not allowed.
    """
    if takes_sweep(kind) and "," in text:
        values = dict.fromkeys(parse_value(part.strip(), kind, limits) for part in text.split(","))
        return tuple(values) if len(values) > 1 else next(iter(values))
    others = []
    for one in alternatives(kind):
        if (get_origin(one) is Literal and text in get_args(one)) or (
            one is NoneType and text == "none"
        ):
            return None if one is NoneType else text
        others += [one] if isinstance(one, type) and one is not NoneType else []
    _require(bool(others) and bool(text))
    return _read(text, others[0], limits)


def _read(text: str, kind: type, limits: Limits) -> Any:
    if kind is bool:
        _require(text.lower() in YES)
        return YES[text.lower()]
    if kind in (int, float):
        value = kind(text)
        _require(value in limits)
        return value
    return text if kind is str else kind.parse(text)


def describe(kind: Any, limits: Limits, allowed: str) -> str:
    """What `parse_value` takes, for people; `allowed` describes texts and classes."""
    words, rest = [], []
    for one in alternatives(kind):
        if get_origin(one) is Literal:
            words += get_args(one)
        elif one is NoneType:
            words.append("none")
        elif isinstance(one, type):
            number = one in (int, float)
            rest.append("yes | no" if one is bool else limits.describe(one) if number else allowed)
    return ", or ".join([" | ".join(words)] * bool(words) + rest)


def as_text(value: Any) -> str:
    """A value as config.ini has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if type(value) is tuple:
        return ", ".join(map(as_text, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


COMMAND_LINE = "command line"
CONFIG = "config.ini"
Names = tuple[str, str]  # section and key
Auto = Literal["auto"]

# Effects of a key. Stages of one run must agree on DATA, what the network sees, and on NETWORK,
# its shape; RESULT is anything else that changes a result of its own stage; NOTHING is how the
# work is done.
DATA, NETWORK, RESULT, NOTHING = "data", "network", "result", "nothing"
FREQUENCIES = "low-high in Hz, as 3-20"
SLICE = "start:stop:step with a step of 1 or more, or : for all"

# Keys of earlier versions, by section and key, and their present names.
RENAMED = {
    ("data", "workers"): "cpu_threads",
    ("gmm", "start"): "init",
    ("gmm", "prior"): "covariance_shrinkage",
    ("gmm", "stability"): "n_resamples",
}

# Jenkins et al. 2021, where the defaults differ from it.
PAPER = {
    ("data", "amplitude"): "linear",
    ("data", "standardize"): "no",
    ("aec", "latent_activation"): "relu",
    ("aec", "n_components"): "0",
    ("aec", "schedule"): "constant",
    ("gmm", "init"): "kmeans",
    ("gmm", "covariance_shrinkage"): "0",
    ("dec", "latent_scale"): "none",
    ("dec", "gamma"): "0.001",
    ("dec", "labels"): "student",
    ("dec", "keep"): "refined",
}
RECIPES = {"none": {}, "paper": PAPER}


def _key(default: Any, invalidates: str = RESULT, allowed: str = "", **limits: float) -> Any:
    """A key; `allowed` describes its values where the type does not."""
    metadata = {"invalidates": invalidates, "allowed": allowed, "limits": Limits(**limits)}
    return field(default=default, metadata=metadata)


# ---- sections -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunSettings:
    """[run]: where results are written and on what they are computed."""

    name: RunName = _key(
        "demo", NOTHING, allowed='a folder name, without any of / \\ : * ? " < > |'
    )
    folder: str = _key("Outputs", NOTHING, allowed="a folder")
    seed: int = _key(2009, low=0)
    device: Device = _key("auto", NOTHING, allowed="auto | cpu | cuda | cuda:N")
    precision: Literal["auto", "fp32", "bf16"] = _key("auto")
    deterministic: bool = _key(False, NOTHING)
    recipe: Literal["none", "paper"] = _key("none", NOTHING)
    tensorboard: bool = _key(False, NOTHING)
    figures: bool = _key(True, NOTHING)
    figure_format: Literal["png", "pdf", "svg"] = _key("png", NOTHING)


@dataclass(frozen=True)
class DataSettings:
    """[data]: the data set and the preparation of spectrograms for the network."""

    file: str = _key("Data/demo.h5", NOTHING, allowed="path of an HDF5 file or a Zarr folder")
    layout: Literal["auto", "samples", "ris", "cube"] = _key("auto", NOTHING)
    dataset: str = _key("auto", NOTHING, allowed="auto, or the path of a data set inside the file")
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
    channels: AxisSlice = _key(AxisSlice(None, None, None), DATA, allowed=SLICE)
    times: AxisSlice = _key(AxisSlice(None, None, None), DATA, allowed=SLICE)


@dataclass(frozen=True)
class AecSettings:
    """[aec]: the autoencoder and its training."""

    n_features: int | tuple[int, ...] = _key(9, NETWORK, low=1, high=4096)
    latent_activation: Literal["linear", "relu"] = _key("linear", NETWORK)
    n_components: Auto | int = _key("auto", NETWORK, low=0, high=4096)
    initial_weights: str = _key("none", allowed="none, or the path of a .pt file")
    n_epochs: int = _key(500, low=0)
    batch_size: int | tuple[int, ...] = _key(64, low=1)
    lr: float | tuple[float, ...] = _key(0.001, above=0)
    schedule: Literal["constant", "plateau"] = _key("plateau")
    patience: int = _key(10, low=1)


@dataclass(frozen=True)
class GmmSettings:
    """[gmm]: Gaussian mixtures in the latent space."""

    n_clusters: ClusterNumbers = _key(
        ClusterNumbers(range(2, 21)),
        allowed="numbers of clusters from 1 to 1000, as 2-20, 8 or 4, 6, 8",
    )
    select: Literal["bic", "aic", "silhouette", "gap", "stability"] = _key("bic")
    n_resamples: int | None = _key(4, low=2, high=100)
    init: Literal["neighbours", "kmeans"] = _key("neighbours")
    covariance_shrinkage: float = _key(2.0, low=0)
    n_init: int = _key(100, low=1)
    fit_samples: int = _key(100000, low=0)


@dataclass(frozen=True)
class DecSettings:
    """[dec]: deep embedded clustering."""

    n_clusters: Auto | int | tuple[Auto | int, ...] = _key("auto", low=2, high=1000)
    n_epochs: int = _key(400, low=1)
    batch_size: int | tuple[int, ...] = _key(64, low=1)
    lr: float | tuple[float, ...] = _key(0.001, above=0)
    gamma: float | tuple[float, ...] = _key(1.0, low=0)
    tol: float | tuple[float, ...] = _key(0.003, low=0, high=1)
    updates_per_epoch: int = _key(2, low=1, high=10000)
    latent_scale: Literal["within", "global", "none"] = _key("within")
    labels: Literal["mixture", "student"] = _key("mixture")
    keep: Literal["better", "refined"] = _key("better")


@dataclass(frozen=True)
class BuildSettings:
    """[build]: python -m RISCluster build, which makes a data set from waveforms."""

    method: Literal["detect", "slide"] = _key("detect")
    trace_ids: str = _key(
        "*", allowed="NET.STA.LOC.CHA with the wildcards * and ?; several with commas"
    )
    sampling_rate: Auto | float = _key(50.0, above=0)
    constant_gap: float | None = _key(1.0, above=0)
    detrend: Literal["none", "demean", "linear"] = _key("linear")
    taper: float = _key(5.0, low=0)
    inventory: str | None = _key(None, allowed="path of a StationXML file, or of a folder of them")
    output: Literal["acceleration", "velocity", "displacement"] = _key("velocity")
    pre_filter: Corners | None = _key(None, allowed="four ascending frequencies in Hz")
    water_level: float | None = _key(60.0, low=0)
    bandpass: Band | None = _key(Band(3.0, 20.0), allowed=FREQUENCIES)
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
    frequencies: Band | None = _key(Band(3.0, 20.0), allowed=FREQUENCIES)
    traces: bool = _key(False)


@dataclass(frozen=True)
class RecordsSettings:
    """[records]: python -m RISCluster cube, which makes a cube from DAS records.

    Waveforms of an array, in any format that obspy reads, use the processing settings only.
    """

    dataset: str = _key("auto", allowed="auto, or the path of a data set inside the files")
    order: Literal["auto", "time,channel", "channel,time"] = _key("auto")
    sampling_rate: Auto | float = _key("auto", above=0)
    starttime: str = _key("auto", allowed="auto, or a time as 2020-07-24T00:00:00")
    channel_spacing: Auto | float = _key("auto", above=0)
    window: float = _key(1.0, above=0)
    step: float = _key(0.5, above=0)
    taper: Literal["hann", "kaiser", "tukey", "none"] = _key("hann")
    band: Band | None = _key(None, allowed=FREQUENCIES)
    power: Literal["linear", "log"] = _key("linear")


@dataclass(frozen=True)
class ReportSettings:
    """[report]: additions to the report of a run."""

    environment: str | None = _key(None, NOTHING, allowed="path of a CSV file")
    stations: str | None = _key(
        None, NOTHING, allowed="path of StationXML, a folder of it, or a CSV file"
    )
    interval: Literal["auto", "hour", "day", "week", "month"] = _key("auto", NOTHING)
    seasons: Seasons = _key(
        Seasons((Months(12, 2), Months(3, 5), Months(6, 8), Months(9, 11))),
        NOTHING,
        allowed="seasons without a month in common, as 12-2, 3-5, 6-8, 9-11",
    )
    largest_lag: float = _key(30.0, NOTHING, low=0)
    embedding: Literal["tsne", "opentsne", "umap"] = _key("tsne", NOTHING)


@dataclass(frozen=True)
class Settings:
    """All settings of a run, an object for each section.

    Attributes
    ----------
    config : str or None
        Settings file that was named on the command line.
    from_run : tuple of str
        ``section.key = value`` of keys set by the run's stored settings.
    """

    run: RunSettings = RunSettings()
    data: DataSettings = DataSettings()
    cube: CubeSettings = CubeSettings()
    aec: AecSettings = AecSettings()
    gmm: GmmSettings = GmmSettings()
    dec: DecSettings = DecSettings()
    build: BuildSettings = BuildSettings()
    records: RecordsSettings = RecordsSettings()
    report: ReportSettings = ReportSettings()
    config: str | None = field(default=None, compare=False)
    from_run: tuple[str, ...] = field(default=(), compare=False)

    @property
    def run_folder(self) -> Path:
        """Folder of this run, ``<run.folder>/<run.name>``."""
        return Path(self.run.folder).expanduser() / self.run.name

    def inputs(self, section: str, *invalidates: str) -> dict[str, Any]:
        """Keys of a section with one of these effects, as ``section.key: JSON value``."""
        values = getattr(self, section)
        found = {
            f"{section}.{key.name}": getattr(values, key.name)
            for key in dataclasses.fields(values)
            if key.metadata["invalidates"] in invalidates
        }
        return {name: list(x) if isinstance(x, tuple) else x for name, x in found.items()}

    def changed(self, section: str) -> list[str]:
        """``section.key=value`` words for what differs from the defaults."""
        defaults = vars(SECTIONS[section]())
        return [
            f"{section}.{name}={as_text(value)}"
            for name, value in vars(getattr(self, section)).items()
            if value != defaults[name]
        ]

    def sweep(self, section: str) -> list[tuple[str, "Settings"]]:
        """Combinations of the lists in [aec] or [dec].

        Each has a folder name such as ``batch_size=64,lr=0.001``, and settings without lists in
        that section; without lists there is one with an empty name.
        """
        values = getattr(self, section)
        lists = {name: value for name, value in vars(values).items() if isinstance(value, tuple)}
        combinations = []
        for choice in itertools.product(*lists.values()):
            chosen = dict(zip(lists, choice, strict=True))
            name = ",".join(f"{key}={as_text(value)}" for key, value in chosen.items())
            one = dataclasses.replace(values, **chosen)
            combinations.append((name, dataclasses.replace(self, **{section: one})))
        return combinations

    def as_ini(self) -> str:
        """The settings as the text of a config.ini that gives the same settings."""
        lines = []
        for section in SECTIONS:
            values = vars(getattr(self, section)).items()
            lines += [f"[{section}]", *(f"{name} = {as_text(x)}" for name, x in values), ""]
        return "\n".join(lines)


SECTIONS: dict[str, type] = {
    key.name: key.type for key in dataclasses.fields(Settings) if dataclasses.is_dataclass(key.type)
}


def shipped_config() -> str:
    """Text of the config.ini that comes with the package."""
    return resources.files(__package__).joinpath(CONFIG).read_text("utf-8")


def sentences() -> dict[Names, str]:
    """What each key is, by section and key, from the comments of the package's config.ini."""
    found, section, comment = {}, "", []
    for line in shipped_config().splitlines():
        if line.startswith("["):
            section = line[1:-1]
        elif line.startswith("#"):
            comment.append(line[2:])
        else:
            if " = " in line:
                found[section, line.partition(" = ")[0]] = " ".join(comment).rpartition(" [")[0]
            comment = []
    return found


def _allowed(key: dataclasses.Field) -> str:
    return describe(key.type, key.metadata["limits"], key.metadata["allowed"])


# ---- reading ------------------------------------------------------------------------------------


def load_settings(
    path: str | Path | None,
    overrides: Sequence[str] = (),
    stored: Callable[[Path], Mapping[Names, str]] | None = None,
) -> Settings:
    """Settings from a config.ini and ``section.key=value`` words.

    Order of precedence: words, the file where it differs from the default, stored settings, the
    recipe, the default.

    Parameters
    ----------
    path : path or None
        Settings file; keys may be missing.
    overrides : sequence of str
        Words; the last one of a key counts.
    stored : callable or None
        Run folder to texts by section and key.

    Raises
    ------
    SettingsError
        A missing or unreadable file, an unknown section or key, or a value that is not allowed.
    """
    values = {} if path is None else _read_ini(Path(path))
    for word in overrides:
        section, key, value = _split_override(word)
        values[section, key] = (value, COMMAND_LINE)
    from_run = []
    if stored is not None:
        from_run = _apply_stored(values, stored(_resolve(values).run_folder))
    _apply_recipe(values)
    return dataclasses.replace(_resolve(values), from_run=tuple(from_run))


def load_found_settings(config: str | None, overrides: Sequence[str], **others: Any) -> Settings:
    """`load_settings` of the named file, or of config.ini if it exists."""
    found = CONFIG if config is None and Path(CONFIG).exists() else config
    return dataclasses.replace(load_settings(found, overrides, **others), config=config)


def _resolve(values: Mapping[Names, tuple[str, str]]) -> Settings:
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for (section, key), (text, place) in values.items():
        sections[section][key] = _parse(section, key, text, place)
    return Settings(**{name: SECTIONS[name](**sections[name]) for name in SECTIONS})


def _apply_stored(values: dict[Names, tuple[str, str]], stored: Mapping[Names, str]) -> list[str]:
    """Replace keys at their defaults by stored values, in place; the keys that changed."""
    changed = []
    for (section, key), text in stored.items():
        if _is_left(values, section, key) and not _is_default(section, key, text):
            values[section, key] = (text, "settings stored with the run")
            changed.append(f"{section}.{key} = {text}")
    return changed


def _apply_recipe(values: dict[Names, tuple[str, str]]) -> None:
    """Replace keys at their defaults by those of ``run.recipe``, which itself is not stored."""
    text, place = values.pop(("run", "recipe"), ("none", ""))
    for (section, key), value in RECIPES[_parse("run", "recipe", text, place)].items():
        if _is_left(values, section, key):
            values[section, key] = (value, f"recipe {text}")


def _is_left(values: Mapping[Names, tuple[str, str]], section: str, key: str) -> bool:
    """Whether a key has its default, which no word of the command line set."""
    if (section, key) not in values:
        return True
    text, place = values[section, key]
    return place != COMMAND_LINE and _is_default(section, key, text)


def _is_default(section: str, key: str, text: str) -> bool:
    try:
        value = _parse(section, key, text, "")
    except SettingsError:  # raised where the value is used
        return False
    return value == SECTIONS[section].__dataclass_fields__[key].default


def read_stored(path: Path) -> dict[Names, str]:
    """Texts by section and key of a file that a stage has written.

    Keys of earlier versions have their new names; those that this version does not have are left
    out.

    Raises
    ------
    SettingsError
        The file can't be read.
    """
    found = {}
    for (section, key), (text, _) in _read_ini(path, check=False).items():
        key = RENAMED.get((section, key), key)
        if section in SECTIONS and key in SECTIONS[section].__dataclass_fields__:
            found[section, key] = text
    return found


def _read_ini(path: Path, check: bool = True) -> dict[Names, tuple[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"))
    try:
        with path.open(encoding="utf-8-sig") as file:  # Windows editors put a mark first
            parser.read_file(file)
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: no such settings file; give one with --config FILE, or start in the folder "
            "that holds config.ini"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path}: can't be read as a settings file: {error}; give another with --config FILE"
        ) from None
    except configparser.Error as error:
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
        raise SettingsError(
            f"command line: '{word}' is not a setting{_meant(word, name.strip().lower())}; write "
            "section.key=value, as aec.lr=1e-4"
        )
    _check_known(section, key.lower(), COMMAND_LINE)
    return section, key.lower(), value.strip()


def _meant(word: str, name: str) -> str:
    """Hint for a key without its section, and for a file without its key."""
    sections = [section for section, keys in SECTIONS.items() if name in keys.__dataclass_fields__]
    if "=" in word and sections:
        return f"; did you mean {sections[0]}.{word}?"
    if "=" not in word and (Path(word).suffix or Path(word).exists()):
        return f"; did you mean data.file={word}?"
    return ""


def _check_known(section: str, key: str, place: str) -> None:
    if section not in SECTIONS:
        near = _nearest(section, SECTIONS)
        raise SettingsError(
            f"{place}: unknown section [{section}]{near}; allowed: {', '.join(SECTIONS)}"
        )
    if (section, key) in RENAMED:
        raise SettingsError(
            f"{place}: [{section}] {key} is now called {RENAMED[section, key]}; use that name"
        )
    known = [key.name for key in dataclasses.fields(SECTIONS[section])]
    if key not in known:
        elsewhere = [name for name, keys in SECTIONS.items() if key in keys.__dataclass_fields__]
        near = f"; did you mean [{elsewhere[0]}] {key}?" if elsewhere else _nearest(key, known)
        raise SettingsError(
            f"{place}: [{section}] has no key '{key}'{near}; allowed: {', '.join(known)}"
        )


def _nearest(word: str, known: Sequence[str] | dict[str, Any]) -> str:
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def _parse(section: str, key: str, text: str, place: str) -> Any:
    item = SECTIONS[section].__dataclass_fields__[key]
    try:
        return parse_value(text, item.type, item.metadata["limits"])
    except ValueError:
        sweep = "; several with commas are a sweep" if takes_sweep(item.type) else ""
        raise SettingsError(
            f"{place}: [{section}] {key} = {text or '(empty)'} is not allowed; "
            f"allowed: {_allowed(item)}{sweep}"
        ) from None
