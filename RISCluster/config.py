"""config.ini to frozen, typed, checked settings.

Every key is a field of one of the section classes below, with its default, its kind (which
parses, checks and names what is allowed), a sentence, and what it affects:

``nothing``
    how the work is done, not what comes out (device, load mode, figures, folders);
``data``
    what the network sees; stages of one run must agree on it;
``network``
    the shape of the network; stages of one run must agree on it;
``result``
    anything else that changes a result of its own stage.
"""

import configparser
import dataclasses
import difflib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import SettingsError

# ---- kinds of values ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """How one kind of value is read from text.

    Attributes
    ----------
    parse : callable
        str to value; raises ValueError for anything not allowed.
    allowed : str
        What is allowed, as an error message and config.ini put it.
    """

    parse: Callable[[str], Any]
    allowed: str


def _choice(*options: str) -> Kind:
    def parse(text: str) -> str:
        if text not in options:
            raise ValueError
        return text

    return Kind(parse, " | ".join(options))


def _integer(low: int, high: int = 2**31 - 1) -> Kind:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    top = f" to {high:,}" if high < 2**31 - 1 else " or more"
    return Kind(parse, f"a whole number, {low:,}{top}")


def _real(low: float, high: float = float("inf"), *, above: bool = False, below: bool = False):
    """Finite number from `low` to `high`; `above` and `below` leave the ends out."""

    def parse(text: str) -> float:
        value = float(text)
        inside = (value > low if above else value >= low) and (
            value < high if below else value <= high
        )
        if not inside or value in (float("inf"), float("-inf")):
            raise ValueError
        return value

    words = f"a number {'above' if above else 'from'} {low:g}"
    if high != float("inf"):
        words += f" {'to below' if below else 'to'} {high:g}"
    return Kind(parse, words)


def _auto_or(kind: Kind) -> Kind:
    return Kind(
        lambda text: "auto" if text == "auto" else kind.parse(text), f"auto, or {kind.allowed}"
    )


def _yes_no() -> Kind:
    words = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}

    def parse(text: str) -> bool:
        if text.lower() not in words:
            raise ValueError
        return words[text.lower()]

    return Kind(parse, "yes | no")


def _text(allowed: str) -> Kind:
    def parse(text: str) -> str:
        if not text:
            raise ValueError
        return text

    return Kind(parse, allowed)


def _parse_run_name(text: str) -> str:
    if not text or text in (".", "..") or any(char in '/\\:*?"<>|' for char in text):
        raise ValueError
    return text


def _parse_device(text: str) -> str:
    number = text.removeprefix("cuda:")
    if text not in ("auto", "cpu", "cuda") and not (number != text and number.isdecimal()):
        raise ValueError
    return text


def _parse_cluster_range(text: str) -> tuple[int, ...]:
    """``2-20``, ``8`` or ``4, 6, 8`` to ascending numbers of clusters."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = int(first)
        high = int(last) if dash else low
        if not 1 <= low <= high <= 1000:
            raise ValueError
        numbers.update(range(low, high + 1))
    return tuple(sorted(numbers))


def _list_of(kind: Kind) -> Kind:
    """One value, or several with commas: a sweep."""

    def parse(text: str) -> Any:
        values = tuple(dict.fromkeys(kind.parse(part.strip()) for part in text.split(",")))
        return values if len(values) > 1 else values[0]

    return Kind(parse, f"{kind.allowed}; several with commas are a sweep")


def _key(default: str, kind: Kind, sentence: str, *, affects: str = "result") -> Any:
    metadata = {"kind": kind, "sentence": sentence, "affects": affects, "default": default}
    return field(default=kind.parse(default), metadata=metadata)


# ---- sections -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunSettings:
    """[run]: where results go and on what they are computed."""

    name: str = _key(
        "demo",
        Kind(_parse_run_name, 'a folder name, without any of / \\ : * ? " < > |'),
        "Name of the run: its results are in <folder>/<name>.",
        affects="nothing",
    )
    folder: str = _key(
        "Outputs", _text("a folder"), "Folder of all runs; made if missing.", affects="nothing"
    )
    seed: int = _key(
        "2009",
        _integer(0),
        "Seed of the split, the initial weights, the order of batches, k-means and figures.",
    )
    device: str = _key(
        "auto",
        Kind(_parse_device, "auto | cpu | cuda | cuda:N"),
        "Where to compute; auto takes a GPU if there is one.",
        affects="nothing",
    )
    precision: str = _key(
        "auto",
        _choice("auto", "fp32", "bf16"),
        "Arithmetic of training; auto is fp32, bf16 is mixed precision for recent GPUs.",
    )
    tensorboard: bool = _key(
        "no",
        _yes_no(),
        "Also write TensorBoard logs to <stage>/tensorboard (needs the tensorboard package).",
        affects="nothing",
    )
    figures: bool = _key("yes", _yes_no(), "Draw figures as each stage ends.", affects="nothing")


@dataclass(frozen=True)
class DataSettings:
    """[data]: the file and what is done to a spectrogram before the network sees it."""

    file: str = _key(
        "Data/demo.h5",
        _text("path of an HDF5 file"),
        "Spectrograms. Data/demo.h5 is a synthetic set, written if it is not there.",
        affects="nothing",  # the fingerprint of its content counts, not its path
    )
    layout: str = _key(
        "auto",
        _choice("auto", "samples", "ris"),
        "Layout of the file; auto looks into it.",
        affects="nothing",
    )
    dataset: str = _key(
        "auto",
        _text("auto, or the path of a data set inside the file"),
        "Data set of the spectrograms; auto is /spectrogram (samples), /4.0/Spectrogram (ris).",
        affects="nothing",
    )
    amplitude: str = _key(
        "sqrt",
        _choice("linear", "sqrt", "log"),
        "Taken of the values first; log keeps the 4 decades below each sample's maximum.",
        affects="data",
    )
    transform: str = _key(
        "vec_norm",
        _choice("none", "sample_normalization", "sample_norm_cent", "vec_norm"),
        "Scaling of each sample: by its largest value, that after removing its mean, or to unit "
        "L2 norm.",
        affects="data",
    )
    standardize: bool = _key(
        "yes",
        _yes_no(),
        "Then remove the training set's mean spectrogram and divide by the standard deviation "
        "that is left, so that losses are relative to the data's variance; no is the paper's.",
        affects="data",
    )
    loadmode: str = _key(
        "auto",
        _choice("auto", "device", "ram", "disk"),
        "Where samples are kept while training; auto takes the first of device (GPU memory), ram, "
        "disk that has room.",
        affects="nothing",
    )
    workers: Any = _key(
        "auto",
        _auto_or(_integer(0, 256)),
        "CPU threads to compute with; auto lets PyTorch choose.",
        affects="nothing",
    )
    train_samples: int = _key(
        "50000",
        _integer(0),
        "Samples to train and validate with, drawn at random; 0 takes all. Every sample is "
        "labelled in any case.",
        affects="data",
    )
    validation_fraction: float = _key(
        "0.2",
        _real(0, 1, above=True, below=True),
        "Share of them kept for validation.",
        affects="data",
    )


@dataclass(frozen=True)
class AecSettings:
    """[aec]: the autoencoder and its training."""

    n_features: Any = _key("9", _list_of(_integer(1, 4096)), "Latent features.", affects="network")
    latent_activation: str = _key(
        "linear",
        _choice("linear", "relu"),
        "Activation of the latent layer; relu is the paper's and can leave features dead.",
        affects="network",
    )
    initial_weights: str = _key(
        "none",
        _text("none, or the path of a .pt file"),
        "Start from the weights of a model.pt, or of a state file of the reference implementation.",
    )
    n_epochs: int = _key(
        "500", _integer(0), "Epochs at most; 0 takes the initial weights as they are."
    )
    batch_size: Any = _key("64", _list_of(_integer(1)), "Samples a step, over all processes.")
    lr: Any = _key("0.001", _list_of(_real(0, above=True)), "Learning rate of Adam.")
    schedule: str = _key(
        "plateau",
        _choice("constant", "plateau"),
        "Learning rate: constant (the paper's), or halved when validation has not improved for a "
        "third of the patience.",
    )
    patience: int = _key(
        "10", _integer(1), "Epochs without a better validation loss after which to stop."
    )


@dataclass(frozen=True)
class GmmSettings:
    """[gmm]: Gaussian mixtures in the latent space."""

    n_clusters: tuple[int, ...] = _key(
        "2-20",
        Kind(_parse_cluster_range, "numbers of clusters from 1 to 1000, as 2-20, 8 or 4, 6, 8"),
        "Numbers of clusters to fit.",
    )
    select: str = _key(
        "bic",
        _choice("bic", "aic", "silhouette", "gap"),
        "Criterion that selects one of them.",
    )
    n_init: int = _key("100", _integer(1), "Restarts of k-means, which starts each mixture.")


@dataclass(frozen=True)
class DecSettings:
    """[dec]: deep embedded clustering."""

    n_clusters: Any = _key(
        "auto",
        _list_of(_auto_or(_integer(2, 1000))),
        "Clusters; auto is what the GMM stage selected.",
    )
    n_epochs: int = _key("400", _integer(1), "Epochs at most.")
    batch_size: Any = _key("64", _list_of(_integer(1)), "Samples a step, over all processes.")
    lr: Any = _key("0.001", _list_of(_real(0, above=True)), "Learning rate of Adam.")
    gamma: Any = _key(
        "1",
        _list_of(_real(0)),
        "Weight of the clustering loss (KL divergence a sample) against the reconstruction loss.",
    )
    tol: Any = _key(
        "0.003",
        _list_of(_real(0, 1)),
        "Stop when fewer than this share of labels change between two refreshes.",
    )
    updates_per_epoch: int = _key(
        "2", _integer(1, 10000), "Refreshes of the target distribution an epoch."
    )
    latent_scale: str = _key(
        "global",
        _choice("global", "none"),
        "Scale of the latents inside the soft assignment: their spread at the start, or 1 (the "
        "paper's).",
    )


@dataclass(frozen=True)
class Settings:
    """All settings of a run, as resolved from file and overrides.

    Attributes
    ----------
    run, data, aec, gmm, dec
        One object a section.
    """

    run: RunSettings = RunSettings()
    data: DataSettings = DataSettings()
    aec: AecSettings = AecSettings()
    gmm: GmmSettings = GmmSettings()
    dec: DecSettings = DecSettings()

    @property
    def run_folder(self) -> Path:
        """Folder of this run, ``<run.folder>/<run.name>``."""
        return Path(self.run.folder).expanduser() / self.run.name

    def affecting(self, section: str, *affects: str) -> dict[str, Any]:
        """Keys of a section whose effect is among `affects`, as ``section.key: value``."""
        values = getattr(self, section)
        return {
            f"{section}.{key.name}": _plain(getattr(values, key.name))
            for key in dataclasses.fields(values)
            if key.metadata["affects"] in affects
        }

    def sweep(self, section: str) -> list[tuple[str, "Settings"]]:
        """Every combination of a section's lists.

        Parameters
        ----------
        section : {"aec", "dec"}

        Returns
        -------
        list of (str, Settings)
            A folder name such as ``batch_size=64,lr=0.001``, and settings without lists in that
            section. One pair with an empty name where there is no list.
        """
        values = getattr(self, section)
        lists = {
            key.name: getattr(values, key.name)
            for key in dataclasses.fields(values)
            if isinstance(getattr(values, key.name), tuple)
        }
        combinations = []
        for choice in itertools.product(*lists.values()):
            chosen = dict(zip(lists, choice, strict=True))
            name = ",".join(f"{key}={_as_text(value)}" for key, value in chosen.items())
            section_settings = dataclasses.replace(values, **chosen)
            combinations.append((name, dataclasses.replace(self, **{section: section_settings})))
        return combinations

    def as_ini(self) -> str:
        """The settings as the text of a config.ini that gives the same settings."""
        lines = []
        for section in dataclasses.fields(self):
            lines.append(f"[{section.name}]")
            values = getattr(self, section.name)
            for key in dataclasses.fields(values):
                lines.append(f"{key.name} = {_as_text(getattr(values, key.name))}")
            lines.append("")
        return "\n".join(lines)


SECTIONS: dict[str, type] = {
    "run": RunSettings,
    "data": DataSettings,
    "aec": AecSettings,
    "gmm": GmmSettings,
    "dec": DecSettings,
}


# ---- reading ------------------------------------------------------------------------------------


def load_settings(path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a config.ini and apply overrides.

    Parameters
    ----------
    path : path
        File with sections and keys as in the `Settings` classes; what it leaves out has its
        default.
    overrides : sequence of str
        ``section.key=value`` words, taken in order.

    Returns
    -------
    Settings

    Raises
    ------
    SettingsError
        For a missing or unreadable file, an unknown section or key, or a value that is not
        allowed; the message names file, section, key, value, what is allowed and, for a name
        that is not known, the nearest that is.
    """
    values = _read_ini(Path(path))
    for word in overrides:
        section, key, value = _split_override(word)
        values[section, key] = (value, "command line")
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for (section, key), (text, place) in values.items():
        sections[section][key] = _parse_value(section, key, text, place)
    return Settings(**{name: SECTIONS[name](**sections[name]) for name in SECTIONS})


def _read_ini(path: Path) -> dict[tuple[str, str], tuple[str, str]]:
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
        raise SettingsError(f"{path}: can't be read as a settings file: {error}") from None
    except configparser.Error as error:
        reason = " ".join(str(error).split())
        raise SettingsError(
            f"{path}: not a settings file: {reason}; lines are '[section]' or 'key = value'"
        ) from None
    values = {}
    for section in parser.sections():
        for key, text in parser.items(section):
            _check_known(section, key, str(path))
            values[section, key] = (text.strip(), str(path))
    return values


def _split_override(word: str) -> tuple[str, str, str]:
    name, equals, value = word.partition("=")
    section, dot, key = name.strip().partition(".")
    if not equals or not dot:
        raise SettingsError(
            f"command line: '{word}' is not a setting; write section.key=value, as aec.lr=1e-4"
        )
    _check_known(section, key.lower(), "command line")
    return section, key.lower(), value.strip()


def _check_known(section: str, key: str, place: str) -> None:
    if section not in SECTIONS:
        near = _nearest(section, SECTIONS)
        raise SettingsError(
            f"{place}: unknown section [{section}]{near}; sections are {', '.join(SECTIONS)}"
        )
    known = [key.name for key in dataclasses.fields(SECTIONS[section])]
    if key not in known:
        elsewhere = [name for name, keys in SECTIONS.items() if key in keys.__dataclass_fields__]
        near = f"; did you mean [{elsewhere[0]}] {key}?" if elsewhere else _nearest(key, known)
        raise SettingsError(
            f"{place}: [{section}] has no key '{key}'{near}; its keys are {', '.join(known)}"
        )


def _nearest(word: str, known: Sequence[str] | dict[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def _parse_value(section: str, key: str, text: str, place: str) -> Any:
    kind = SECTIONS[section].__dataclass_fields__[key].metadata["kind"]
    try:
        return kind.parse(text)
    except ValueError:
        raise SettingsError(
            f"{place}: [{section}] {key} = {text or '(empty)'} is not allowed; "
            f"allowed: {kind.allowed}"
        ) from None


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(_as_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _plain(value: Any) -> Any:
    """As JSON would give it back, so that stored and current values compare equal."""
    return list(value) if isinstance(value, tuple) else value
