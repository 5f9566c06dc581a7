"""How to cite the method and this package, and a paragraph of methods to start from."""

from typing import Any

from .. import __version__
from ..data.transforms import LOG_DECADES
from ..runs.run import FinishedRun
from ..setting_sections import AecSettings
from .asides import Listing
from .blocks import Section, Text

REFERENCES = (
    "Jenkins, W. F., Gerstoft, P., Bianco, M. J., & Bromirski, P. D. (2021). Unsupervised deep "
    "clustering of seismic data: Monitoring the Ross Ice Shelf, Antarctica. Journal of Geophysical "
    "Research: Solid Earth, 126(9), e2021JB021716. doi 10.1029/2021JB021716",
    "Snover, D., Johnson, C. W., Bianco, M. J., & Gerstoft, P. (2021). Deep clustering to identify "
    "sources of urban seismic noise in Long Beach, California. Seismological Research Letters, "
    "92(2A), 1011-1022 (online 2020). doi 10.1785/0220200164",
    "Xie, J., Girshick, R., & Farhadi, A. (2016). Unsupervised deep embedding for clustering "
    "analysis. Proceedings of the 33rd International Conference on Machine Learning, PMLR 48, "
    "478-487.",
)

BIBTEX = """\
@article{jenkins2021,
  author  = {Jenkins, William F. and Gerstoft, Peter and Bianco, Michael J. and
             Bromirski, Peter D.},
  title   = {Unsupervised Deep Clustering of Seismic Data: Monitoring the {Ross Ice Shelf},
             {Antarctica}},
  journal = {Journal of Geophysical Research: Solid Earth},
  volume  = {126},
  number  = {9},
  pages   = {e2021JB021716},
  year    = {2021},
  doi     = {10.1029/2021JB021716}
}

@article{snover2021,
  author  = {Snover, Dylan and Johnson, Christopher W. and Bianco, Michael J. and
             Gerstoft, Peter},
  title   = {Deep Clustering to Identify Sources of Urban Seismic Noise in {Long Beach},
             {California}},
  journal = {Seismological Research Letters},
  volume  = {92},
  number  = {2A},
  pages   = {1011--1022},
  year    = {2021},
  doi     = {10.1785/0220200164}
}

@inproceedings{xie2016,
  author    = {Xie, Junyuan and Girshick, Ross and Farhadi, Ali},
  title     = {Unsupervised Deep Embedding for Clustering Analysis},
  booktitle = {Proceedings of the 33rd International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {48},
  pages     = {478--487},
  year      = {2016}
}"""

AMPLITUDE = {
    "linear": "Amplitudes were taken as stored",
    "sqrt": "Square roots of the amplitudes were taken",
    "log": f"Logarithms of the amplitudes were taken, over {LOG_DECADES:g} decades below each "
    "maximum",
}
TRANSFORM = {
    "none": "",
    "sample_normalization": ", and each spectrogram was divided by its largest value",
    "sample_norm_cent": ", and each spectrogram was divided by its largest value and freed of its "
    "mean",
    "vec_norm": ", and each spectrogram was scaled to unit L2 norm",
}
CRITERION = {
    "bic": "the Bayesian information criterion",
    "aic": "Akaike's information criterion",
    "silhouette": "the silhouette",
    "gap": "the gap statistic",
}


def section(run: FinishedRun) -> Section:
    """References, BibTeX, methods."""
    return Section(
        "Citing",
        "citing",
        [
            Text("\n\n".join(REFERENCES)),
            Text(f"Software: RISCluster {_version(run)}, with {_libraries(run)}."),
            Listing("BibTeX", BIBTEX),
            Text(
                "A paragraph of methods to start from, as this run was made; check it against "
                "what you did before you use it:"
            ),
            Text(methods(run)),
        ],
    )


def _version(run: FinishedRun) -> str:
    """Version that made the run, with its commit where it is known."""
    made = list(run.stages.values())[-1].provenance
    version, commit = made.get("versions", {}).get("RISCluster", __version__), made.get("git", "")
    if len(commit.removesuffix("+changes")) != 40:
        return version
    return f"{version} (commit {commit[:12]}{', with changes' * commit.endswith('+changes')})"


def _libraries(run: FinishedRun) -> str:
    versions = list(run.stages.values())[-1].provenance.get("versions", {})
    named = {"torch": "PyTorch", "scikit-learn": "scikit-learn", "numpy": "NumPy"}
    return ", ".join(f"{name} {versions.get(key, '(unknown)')}" for key, name in named.items())


def methods(run: FinishedRun) -> str:
    """What was done, as a paper would say it.

    Parameters
    ----------
    run : FinishedRun

    Returns
    -------
    str
        A paragraph that claims no more than the run holds.
    """
    parts = [_data(run)]
    parts += [_autoencoder(run)] if "AEC" in run.stages else []
    parts += [_mixture(run)] if "GMM" in run.stages else []
    parts += [_refinement(run)] if "DEC" in run.stages else []
    return " ".join(filter(None, parts))


def _data(run: FinishedRun) -> str:
    stage = list(run.stages.values())[-1]
    unusable = int(stage.metrics.get("n_unusable", 0))
    n = int(stage.metrics["n_samples"]) - unusable
    size = f" of {run.file.n_frequencies} x {run.file.n_times} bins" if run.file else ""
    were = "was" if unusable == 1 else "were"
    left_out = f" ({unusable:,} more {were} unusable and left out)" if unusable else ""
    return f"We clustered {n:,} spectrograms{size}{left_out} without labels. {_preparation(run)}."


def _preparation(run: FinishedRun) -> str:
    data = run.settings.data
    standard = (
        "; the mean spectrogram of the training set was then removed, and all was divided by the "
        "standard deviation about it"
        if data.standardize
        else ""
    )
    return f"{AMPLITUDE[data.amplitude]}{TRANSFORM[data.transform]}{standard}"


def _autoencoder(run: FinishedRun) -> str:
    stage = run.stages["AEC"]
    metrics, aec = stage.metrics, stage.settings.aec
    text = (
        f"A convolutional autoencoder with {_features(run)} latent features (Jenkins et al., "
        f"2021) was trained on {metrics['n_train']:,} spectrograms and validated on "
        f"{metrics['n_validation']:,}; training ended after {_epochs(metrics.get('epochs'))}"
    )
    ending = f"{_batches(aec)}, at a validation loss of {metrics['validation_mse']:.3g}."
    return f"{text}{ending}{_views(run.views)}"


def _views(sizes: dict[str, int]) -> str:
    if not any(sizes.values()):
        return ""
    return (
        f" Beside these features stand {sizes['smoothed']} principal components of the smoothed "
        "spectrograms, taken once as they are and once relative to the background (the median "
        f"amplitude at each frequency), and {sizes['modulation']} of their modulation spectra, the "
        "root of the magnitude of the Fourier transform along time; in what follows, latents are "
        "all of them."
    )


def _features(run: FinishedRun) -> Any:
    """Learnt ones: of the latents that are there, or else of the settings."""
    if run.final is not None:
        return run.final.latents.shape[1] - sum(run.views.values())
    return _one(run.stages["AEC"].settings.aec.n_features) or "several numbers of"


def _batches(aec: AecSettings) -> str:
    size, rate = _one(aec.batch_size), _one(aec.lr)
    return f" (Adam, batches of {size}, initial learning rate {rate:g})" if size and rate else ""


def _epochs(n: int | None) -> str:
    return "some epochs" if n is None else f"{n} epoch{'s' if n != 1 else ''}"


def _one(value: Any) -> Any:
    """A setting's only value; None where it is a list."""
    values = value if isinstance(value, tuple) else (value,)
    return values[0] if len(values) == 1 else None


def _mixture(run: FinishedRun) -> str:
    stage = run.stages["GMM"]
    gmm = stage.settings.gmm
    chosen, tried = stage.n_clusters, sorted(gmm.n_clusters)
    start = "k-means"
    if gmm.init == "neighbours":
        n_maps = stage.metrics.get("n_maps") or 1
        start = "a t-SNE map of them"
        if n_maps > 1:
            start = f"the clusters on which {n_maps} t-SNE maps of them agree"
    text = (
        "Gaussian mixtures with full covariances were fitted to the latents of the autoencoder, "
        f"started from {start}"
    )
    if len(tried) == 1:
        return f"{text}, with {chosen} clusters, a number that we set."
    return (
        f"{text}, with {tried[0]} to {tried[-1]} clusters; "
        f"{CRITERION.get(gmm.select, gmm.select)} selected {chosen}."
    )


def _refinement(run: FinishedRun) -> str:
    stage = run.stages["DEC"]
    dec, metrics = stage.settings.dec, stage.metrics
    gamma = _one(dec.gamma)
    weight = "" if gamma is None else f", with a weight gamma = {gamma:g} of the clustering loss"
    text = (
        f"Encoder and {stage.n_clusters} clusters were then refined together by deep embedded "
        f"clustering (Xie et al., 2016; Snover et al., 2021){weight}."
    )
    if not metrics.get("refined", True):
        return (
            f"{text} Refinement parted neighbours in the latent space of the autoencoder and was "
            "not kept: the labels are those of the Gaussian mixture."
        )
    change = metrics.get("label_change_from_gmm")
    moved = "" if change is None else f" It changed {change:.1%} of the mixture's labels."
    labels = "a mixture of the refined latents" if dec.labels == "mixture" else "soft assignment"
    return f"{text}{moved} Labels are by {labels}."
