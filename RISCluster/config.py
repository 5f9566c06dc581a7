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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .kinds import (
    Kind,
    any_text,
    auto_or,
    axis_slice,
    band,
    corners,
    integer,
    list_of,
    none_or,
    one_of,
    parse_cluster_range,
    parse_device,
    parse_run_name,
    real,
    yes_no,
)


def _key(default: str, kind: Kind, sentence: str, *, affects: str = "result") -> Any:
    metadata = {"kind": kind, "sentence": sentence, "affects": affects, "default": default}
    return field(default=kind.parse(default), metadata=metadata)


# ---- sections -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunSettings:
    """[run]: where results go and on what they are computed."""

    name: str = _key(
        "demo",
        Kind(parse_run_name, 'a folder name, without any of / \\ : * ? " < > |'),
        "Name of the run: its results are in <folder>/<name>.",
        affects="nothing",
    )
    folder: str = _key(
        "Outputs", any_text("a folder"), "Folder of all runs; made if missing.", affects="nothing"
    )
    seed: int = _key(
        "2009",
        integer(0),
        "Seed of the split, the initial weights, the order of batches, k-means and figures.",
    )
    device: str = _key(
        "auto",
        Kind(parse_device, "auto | cpu | cuda | cuda:N"),
        "Where to compute; auto takes a GPU if there is one.",
        affects="nothing",
    )
    precision: str = _key(
        "auto",
        one_of("auto", "fp32", "bf16"),
        "Arithmetic of training; auto is fp32, bf16 is mixed precision for recent GPUs.",
    )
    tensorboard: bool = _key(
        "no",
        yes_no(),
        "Also write TensorBoard logs to <stage>/tensorboard (needs the tensorboard package).",
        affects="nothing",
    )
    figures: bool = _key("yes", yes_no(), "Draw figures as each stage ends.", affects="nothing")


@dataclass(frozen=True)
class DataSettings:
    """[data]: the file and what is done to a spectrogram before the network sees it."""

    file: str = _key(
        "Data/demo.h5",
        any_text("path of an HDF5 file or a Zarr folder"),
        "Spectrograms. Data/demo.h5 is a synthetic set, written if it is not there.",
        affects="nothing",  # the fingerprint of its content counts, not its path
    )
    layout: str = _key(
        "auto",
        one_of("auto", "samples", "ris", "cube"),
        "Layout of the file; auto looks into it.",
        affects="nothing",
    )
    dataset: str = _key(
        "auto",
        any_text("auto, or the path of a data set inside the file"),
        "Data set of the spectrograms; auto is /spectrogram (samples), /4.0/Spectrogram (ris), "
        "/data (cube).",
        affects="nothing",
    )
    amplitude: str = _key(
        "sqrt",
        one_of("linear", "sqrt", "log"),
        "Taken of the values first; log keeps the 4 decades below each sample's maximum.",
        affects="data",
    )
    transform: str = _key(
        "vec_norm",
        one_of("none", "sample_normalization", "sample_norm_cent", "vec_norm"),
        "Scaling of each sample: by its largest value, that after removing its mean, or to unit "
        "L2 norm.",
        affects="data",
    )
    standardize: bool = _key(
        "yes",
        yes_no(),
        "Then remove the training set's mean spectrogram and divide by the standard deviation "
        "that is left, so that losses are relative to the data's variance; no is the paper's.",
        affects="data",
    )
    loadmode: str = _key(
        "auto",
        one_of("auto", "device", "ram", "disk"),
        "Where samples are kept while training; auto takes the first of device (GPU memory), ram, "
        "disk that has room.",
        affects="nothing",
    )
    workers: Any = _key(
        "auto",
        auto_or(integer(0, 256)),
        "CPU threads to compute with; auto lets PyTorch choose.",
        affects="nothing",
    )
    train_samples: int = _key(
        "50000",
        integer(0),
        "Samples to train and validate with, drawn at random; 0 takes all. Every sample is "
        "labelled in any case.",
        affects="data",
    )
    validation_fraction: float = _key(
        "0.2",
        real(0, 1, above=True, below=True),
        "Share of them kept for validation.",
        affects="data",
    )


@dataclass(frozen=True)
class CubeSettings:
    """[cube]: what a sample is, where the file is a cube of (time, channel, frequency)."""

    window: int = _key("4", integer(1), "Time steps a sample.", affects="data")
    stride: int = _key(
        "4", integer(1), "Time steps from one sample to the next of a channel.", affects="data"
    )
    channels: Any = _key(
        ":",
        axis_slice(),
        "Channels to take, counted from 0; the stop is not taken.",
        affects="data",
    )
    times: Any = _key(":", axis_slice(), "Time steps to take, likewise.", affects="data")


@dataclass(frozen=True)
class AecSettings:
    """[aec]: the autoencoder and its training."""

    n_features: Any = _key("9", list_of(integer(1, 4096)), "Latent features.", affects="network")
    latent_activation: str = _key(
        "linear",
        one_of("linear", "relu"),
        "Activation of the latent layer; relu is the paper's and can leave features dead.",
        affects="network",
    )
    initial_weights: str = _key(
        "none",
        any_text("none, or the path of a .pt file"),
        "Start from the weights of a model.pt, or of a state file of the reference implementation.",
    )
    n_epochs: int = _key(
        "500", integer(0), "Epochs at most; 0 takes the initial weights as they are."
    )
    batch_size: Any = _key("64", list_of(integer(1)), "Samples a step, over all processes.")
    lr: Any = _key("0.001", list_of(real(0, above=True)), "Learning rate of Adam.")
    schedule: str = _key(
        "plateau",
        one_of("constant", "plateau"),
        "Learning rate: constant (the paper's), or halved when validation has not improved for a "
        "third of the patience.",
    )
    patience: int = _key(
        "10", integer(1), "Epochs without a better validation loss after which to stop."
    )


@dataclass(frozen=True)
class GmmSettings:
    """[gmm]: Gaussian mixtures in the latent space."""

    n_clusters: tuple[int, ...] = _key(
        "2-20",
        Kind(parse_cluster_range, "numbers of clusters from 1 to 1000, as 2-20, 8 or 4, 6, 8"),
        "Numbers of clusters to fit.",
    )
    select: str = _key(
        "bic",
        one_of("bic", "aic", "silhouette", "gap"),
        "Criterion that selects one of them.",
    )
    start: str = _key(
        "neighbours",
        one_of("neighbours", "kmeans"),
        "Clusters that mixtures start from: of a t-SNE map of the latents, or of k-means.",
    )
    prior: float = _key(
        "2",
        real(0),
        "Samples a feature by which the covariance of each cluster is drawn to the mean one of "
        "all; steadies clusters of few samples.",
    )
    n_init: int = _key("100", integer(1), "Restarts of k-means.")
    fit_samples: int = _key(
        "100000",
        integer(0),
        "Latents to fit mixtures to and compare them by, drawn at random; 0 takes all. Every "
        "sample is labelled in any case.",
    )


@dataclass(frozen=True)
class DecSettings:
    """[dec]: deep embedded clustering."""

    n_clusters: Any = _key(
        "auto",
        list_of(auto_or(integer(2, 1000))),
        "Clusters; auto is what the GMM stage selected.",
    )
    n_epochs: int = _key("400", integer(1), "Epochs at most.")
    batch_size: Any = _key("64", list_of(integer(1)), "Samples a step, over all processes.")
    lr: Any = _key("0.001", list_of(real(0, above=True)), "Learning rate of Adam.")
    gamma: Any = _key(
        "1",
        list_of(real(0)),
        "Weight of the clustering loss (KL divergence a sample) against the reconstruction loss.",
    )
    tol: Any = _key(
        "0.003",
        list_of(real(0, 1)),
        "Stop when fewer than this share of labels change between two refreshes.",
    )
    updates_per_epoch: int = _key(
        "2", integer(1, 10000), "Refreshes of the target distribution an epoch."
    )
    latent_scale: str = _key(
        "within",
        one_of("within", "global", "none"),
        "What distances in the soft assignment are measured by: the spread of latents within the "
        "mixture's clusters in each direction, their spread in all, or 1 (the paper's).",
    )
    labels: str = _key(
        "mixture",
        one_of("mixture", "student"),
        "What labels samples in the end: a mixture of the refined latents, or the soft assignment "
        "(Student's t) that refined them.",
    )
    keep: str = _key(
        "better",
        one_of("better", "refined"),
        "Keep the mixture of the GMM stage where refinement parts neighbours, or what is refined "
        "in any case.",
    )


@dataclass(frozen=True)
class BuildSettings:
    """[build]: how ``python -m RISCluster build`` makes a data set out of waveforms."""

    method: str = _key(
        "detect",
        one_of("detect", "slide"),
        "Windows about detections, or windows that slide over everything.",
    )
    trace_ids: str = _key(
        "*",
        any_text("NET.STA.LOC.CHA with the wildcards * and ?; several with commas"),
        "Traces to take, as *.HHZ or XH.DR*..HHZ.",
    )
    sampling_rate: Any = _key(
        "50",
        auto_or(real(0, above=True)),
        "Hz, to which waveforms are resampled; auto leaves them as recorded.",
    )
    detrend: str = _key(
        "linear", one_of("none", "demean", "linear"), "Removed from every unbroken stretch of data."
    )
    taper: float = _key(
        "5", real(0), "Seconds of cosine taper at both ends of a stretch; no window is cut there."
    )
    inventory: Any = _key(
        "none",
        none_or(any_text("path of a StationXML file, or of a folder of them")),
        "Responses of the instruments; none leaves counts.",
    )
    output: str = _key(
        "velocity",
        one_of("acceleration", "velocity", "displacement"),
        "Ground motion that is made of counts where there is an inventory.",
    )
    pre_filter: Any = _key(
        "none", none_or(corners()), "Cosine taper in frequency before a response is removed, Hz."
    )
    water_level: Any = _key(
        "60", none_or(real(0)), "dB below its maximum at which the response is held when inverted."
    )
    bandpass: Any = _key(
        "3-20", none_or(band()), "Zero-phase Butterworth filter of the waveforms, Hz."
    )
    filter_order: int = _key("4", integer(1, 10), "Its order, in each of two directions.")
    trigger: str = _key(
        "recursive",
        one_of("recursive", "classic", "z"),
        "Detector: recursive or classic STA/LTA, or z-detect (which takes no lta).",
    )
    sta: float = _key("0.5", real(0, above=True), "Seconds of the short average.")
    lta: float = _key("30", real(0, above=True), "Seconds of the long average.")
    on: float = _key("15", real(0, above=True), "Value of the detector at which an event begins.")
    off: float = _key("10", real(0), "Value below which it ends.")
    dead_time: float = _key(
        "4", real(0), "Seconds after a detection's end in which no other begins, for each trace."
    )
    length: float = _key(
        "4", real(0, above=True), "Seconds of a window; a detection's has its peak in the middle."
    )
    step: float = _key(
        "1", real(0, above=True), "Seconds from one sliding window to the next, from midnight on."
    )
    segment: float = _key(
        "0.4", real(0, above=True), "Seconds of a segment of the spectrogram, with a Kaiser window."
    )
    kaiser_beta: float = _key("5.7", real(0), "Shape of the Kaiser window.")
    overlap: float = _key("0.9", real(0, 1, below=True), "Share by which segments overlap.")
    nfft: int = _key("256", integer(8, 2**20), "Points of the Fourier transform of a segment.")
    frequencies: Any = _key("3-20", none_or(band()), "Rows of the spectrogram to keep, Hz.")
    traces: bool = _key("no", yes_no(), "Also write the waveform of every window.")


@dataclass(frozen=True)
class RecordsSettings:
    """[records]: how ``python -m RISCluster cube`` makes a cube out of fibre records.

    Waveforms of an array, of any format that obspy reads, have all but the processing from their
    files.
    """

    dataset: str = _key(
        "auto",
        any_text("auto, or the path of a data set inside the files"),
        "Data set of (time, channel) in HDF5 files; auto takes the largest with two dimensions.",
    )
    order: str = _key(
        "auto",
        one_of("auto", "time,channel", "channel,time"),
        "Its dimensions; auto believes an attribute of the file, or else the longer is time.",
    )
    sampling_rate: Any = _key(
        "auto", auto_or(real(0, above=True)), "Hz; auto looks for an attribute of the file."
    )
    starttime: str = _key(
        "auto",
        any_text("auto, or a time as 2020-07-24T00:00:00"),
        "UTC start of the first file; auto looks for an attribute in each.",
    )
    channel_spacing: Any = _key(
        "auto", auto_or(real(0, above=True)), "Metres; auto looks for an attribute of the file."
    )
    window: float = _key("1", real(0, above=True), "Seconds of a time step's spectrum.")
    step: float = _key("0.5", real(0, above=True), "Seconds from one time step to the next.")
    taper: str = _key(
        "hann", one_of("hann", "kaiser", "tukey", "none"), "Window function of each spectrum."
    )
    band: Any = _key("none", none_or(band()), "Frequencies to keep, Hz; none keeps all.")
    power: str = _key("linear", one_of("linear", "log"), "Power, or its decimal logarithm.")


@dataclass(frozen=True)
class Settings:
    """All settings of a run, as resolved from file and overrides.

    Attributes
    ----------
    run, data, cube, aec, gmm, dec, build, records
        One object a section.
    """

    run: RunSettings = RunSettings()
    data: DataSettings = DataSettings()
    cube: CubeSettings = CubeSettings()
    aec: AecSettings = AecSettings()
    gmm: GmmSettings = GmmSettings()
    dec: DecSettings = DecSettings()
    build: BuildSettings = BuildSettings()
    records: RecordsSettings = RecordsSettings()

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
    "cube": CubeSettings,
    "aec": AecSettings,
    "gmm": GmmSettings,
    "dec": DecSettings,
    "build": BuildSettings,
    "records": RecordsSettings,
}


# ---- reading ------------------------------------------------------------------------------------


def load_settings(path: str | Path | None, overrides: Sequence[str] = ()) -> Settings:
    """Read a config.ini and apply overrides.

    Parameters
    ----------
    path : path or None
        File with sections and keys as in the `Settings` classes; what it leaves out has its
        default, as has everything where there is no file.
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
    values = {} if path is None else _read_ini(Path(path))
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
    if value is None:
        return "none"
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return ", ".join(_as_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _plain(value: Any) -> Any:
    """As JSON would give it back, so that stored and current values compare equal."""
    return list(value) if isinstance(value, tuple) else value
