"""The sections of config.ini: every key with its default, its kind, a sentence, what it affects.

Every key is a field of one of the classes below; its kind parses, checks and names what is
allowed. What it affects:

``nothing``
    how the work is done, not what comes out (device, load mode, figures, folders);
``data``
    what the network sees; stages of one run must agree on it;
``network``
    the shape of the network; stages of one run must agree on it;
``result``
    anything else that changes a result of its own stage.
"""

from dataclasses import dataclass, field
from typing import Any

from .recipes import RECIPES
from .setting_kinds import (
    Kind,
    any_text,
    auto_or,
    axis_slice,
    band,
    corners,
    integer,
    list_of,
    months,
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
    deterministic: bool = _key(
        "no",
        yes_no(),
        "On a GPU, only algorithms that give the same bytes every time, which may be slower; on a "
        "CPU they do in any case.",
        affects="nothing",
    )
    recipe: str = _key(
        "none",
        one_of(*RECIPES),
        "Other values for keys that are left at their defaults: paper is the recipe of Jenkins et "
        "al. (2021).",
        affects="nothing",  # the keys themselves count
    )
    tensorboard: bool = _key(
        "no",
        yes_no(),
        "Also write TensorBoard logs to <stage>/tensorboard (needs the tensorboard package).",
        affects="nothing",
    )
    figures: bool = _key(
        "yes", yes_no(), "Draw figures, and in the end the report.", affects="nothing"
    )
    figure_format: str = _key(
        "png", one_of("png", "pdf", "svg"), "Format of figures.", affects="nothing"
    )


@dataclass(frozen=True)
class DataSettings:
    """[data]: the file and what is done to a spectrogram before the network sees it."""

    file: str = _key(
        "Data/demo.h5",
        any_text("path of an HDF5 file or a Zarr folder"),
        "Spectrograms. Data/demo.h5 is a synthetic set, which the first stage writes if it is not "
        "there.",
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
    cpu_threads: Any = _key(
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
    n_components: Any = _key(
        "auto",
        auto_or(integer(0, 4096)),
        "Principal components of the smoothed spectrogram, and as many of its modulation spectrum, "
        "that stand beside the latent features; auto is 10, or 0 where the file has no time axis; "
        "0 is the paper's.",
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
        one_of("bic", "aic", "silhouette", "gap", "stability"),
        "Criterion that selects one of them.",
    )
    n_resamples: Any = _key(
        "4",
        none_or(integer(2, 100)),
        "Half-samples on which fits of each K are compared with one another, and by which "
        "probabilities are calibrated; none leaves both out.",
    )
    init: str = _key(
        "neighbours",
        one_of("neighbours", "kmeans"),
        "Clusters that mixtures start from: those on which t-SNE maps of the latents agree, or of "
        "k-means.",
    )
    covariance_shrinkage: float = _key(
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
    constant_gap: Any = _key(
        "1",
        none_or(real(0, above=True)),
        "Seconds of one value, between data that vary, that are taken for a gap; none takes none.",
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
        "Responses of the instruments, each for the time of the data; none leaves counts.",
    )
    output: str = _key(
        "velocity",
        one_of("acceleration", "velocity", "displacement"),
        "Ground motion that is made of counts where there is an inventory; what records none, as "
        "pressure, keeps its unit.",
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
        "Its dimensions; auto finds them by names, lengths and time stamps in the file.",
    )
    sampling_rate: Any = _key(
        "auto",
        auto_or(real(0, above=True)),
        "Hz; auto takes what the file says nearest to the samples, or its time stamps.",
    )
    starttime: str = _key(
        "auto",
        any_text("auto, or a time as 2020-07-24T00:00:00"),
        "UTC start of the first file; auto looks for time stamps or a start in each.",
    )
    channel_spacing: Any = _key(
        "auto",
        auto_or(real(0, above=True)),
        "Metres; auto looks for positions, or for their spacing and start, in the file.",
    )
    window: float = _key("1", real(0, above=True), "Seconds of a time step's spectrum.")
    step: float = _key("0.5", real(0, above=True), "Seconds from one time step to the next.")
    taper: str = _key(
        "hann", one_of("hann", "kaiser", "tukey", "none"), "Window function of each spectrum."
    )
    band: Any = _key("none", none_or(band()), "Frequencies to keep, Hz; none keeps all.")
    power: str = _key("linear", one_of("linear", "log"), "Power, or its decimal logarithm.")


@dataclass(frozen=True)
class ReportSettings:
    """[report]: what the report of a run shows beside its results."""

    environment: Any = _key(
        "none",
        none_or(any_text("path of a CSV file")),
        "Series to put beside the occurrence of clusters, as temperature, wind, tide, sea ice: a "
        "column of times and columns of values, with a header.",
        affects="nothing",
    )
    stations: Any = _key(
        "none",
        none_or(any_text("path of StationXML, a folder of it, or a CSV file")),
        "Coordinates of stations for the map; a CSV file has network, station, latitude and "
        "longitude in columns with these names.",
        affects="nothing",
    )
    interval: str = _key(
        "auto",
        one_of("auto", "hour", "day", "week", "month"),
        "Bins in which occurrences are counted; auto takes what suits the time span.",
        affects="nothing",
    )
    seasons: Any = _key(
        "12-2, 3-5, 6-8, 9-11",
        months(),
        "Seasons, each by its first and last month.",
        affects="nothing",
    )
    largest_lag: float = _key(
        "30",
        real(0),
        "Days by which occurrences are moved against the environment to find the best correlation.",
        affects="nothing",
    )
    embedding: str = _key(
        "tsne",
        one_of("tsne", "opentsne", "umap"),
        "Method of the two-dimensional map of latents; the last two need openTSNE or umap-learn.",
        affects="nothing",
    )


# Keys of earlier versions by section and key, and what each is called now.
RENAMED = {
    ("data", "workers"): "cpu_threads",
    ("gmm", "start"): "init",
    ("gmm", "prior"): "covariance_shrinkage",
    ("gmm", "stability"): "n_resamples",
}

SECTIONS: dict[str, type] = {
    "run": RunSettings,
    "data": DataSettings,
    "cube": CubeSettings,
    "aec": AecSettings,
    "gmm": GmmSettings,
    "dec": DecSettings,
    "build": BuildSettings,
    "records": RecordsSettings,
    "report": ReportSettings,
}
