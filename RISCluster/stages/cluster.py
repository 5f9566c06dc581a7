"""The GMM stage: encode every sample, fit mixtures for every K, select one, label."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..clustering.fit import Fits
from ..clustering.mixture import Mixture
from ..clustering.selection import HEADER, as_rows, contradictions, select
from ..data.loading import StreamedSet
from ..data.split import Split, subsample
from ..errors import DataError, SettingsError
from ..evaluation.metrics import agreement, clustering_summary, event_metrics, sampled_silhouettes
from ..evaluation.outliers import training_distribution
from ..io import open_rows, read_npz, row_blocks, write_csv, write_npz
from ..models.checkpoint import TrainedModel, load_model
from ..runs.labels import label_file
from ..runtime import log
from ..settings import Settings
from .session import Session, open_session, report_unusable

RESULTS = ["model.npz", "selection.csv", "labels.csv", "latent.npy", "novelty.npz"]


def run_gmm(settings: Settings) -> None:
    """Fit mixtures in the latent space of the run's autoencoder and write ``GMM/``."""
    if settings.gmm.select == "stability" and settings.gmm.n_resamples is None:
        raise SettingsError(
            "[gmm] select = stability, and n_resamples = none leaves it out; set "
            "gmm.n_resamples = 4, or select by another criterion"
        )
    with open_session(settings, "GMM") as session:
        fits = Fits(session.path / "fits", settings, session.stop)
        if session.is_done():
            session.rank0(fits.remove)
        else:
            aec = load_model(session.run / "AEC/model.pt", "AEC", session.file)
            aec.model.to(session.ranks.device)
            _possible_numbers(settings, session.file.n_samples, "in the file")
            session.begin()
            if not session.rank0((session.path / "latent.npy").exists):  # after an interruption
                session.encode(aec.model.encoder, aec.preparation)
            session.rank0(lambda: _fit_and_label(session, fits, aec))
        session.log_summary()


def _fit_and_label(session: Session, fits: Fits, aec: TrainedModel) -> None:
    """Fit mixtures to latents, select K, label every sample, write the stage."""
    settings, seed = session.settings, session.settings.run.seed
    latents = open_rows(session.path / "latent.npy")
    usable = usable_latents(latents)
    drawn = usable[subsample(len(usable), settings.gmm.fit_samples or len(usable), seed)]
    numbers = _possible_numbers(settings, len(drawn), "usable")
    if len(drawn) < len(usable):
        log.info(f"fitting to {len(drawn):,} of {len(usable):,} latents (gmm.fit_samples)")
    blocks = aec.model.shape.blocks
    trees = fits.basis(latents[drawn].astype(np.float64), blocks).trees
    mixtures, rows = fits.of(numbers)
    chosen = select(rows, settings.gmm.select)
    log.info(f"{settings.gmm.select} selects K = {chosen}")
    for text in contradictions(rows, chosen, settings.gmm.select):
        log.warning(text)
    mixture = mixtures[chosen]
    labelling = label_file(latents, mixture.posterior, chosen, session.file, session.path)
    _, silhouette = sampled_silhouettes(latents, labelling.labels, seed)
    metrics = clustering_summary(labelling, silhouette) | {
        "temperature": mixture.temperature,
        "n_views": 0 if trees is None else len(trees.links),
        "stability": next(row.stability for row in rows if row.n_clusters == chosen),
        **event_metrics(session.file, labelling.labels, seed),
        **agreement(labelling.labels, session.file.labels()),
    }
    write_csv(session.path / "selection.csv", HEADER, as_rows(rows))
    arrays = {"n_clusters": np.array(sorted(mixtures))} | mixture.arrays()
    for k, each in mixtures.items():
        arrays |= each.arrays(f"_{k}")
    write_npz(session.path / "model.npz", **arrays)
    split = Split.load(session.run / "AEC/split.npz")
    training = StreamedSet(session.reader(aec.preparation), split.both)
    training_distribution(aec.model, mixture, training).save(session.path / "novelty.npz")
    shown = replace(trees, index=drawn[trees.index]) if trees else None  # index of the file
    session.draw(metrics, shown)
    session.finish(RESULTS, metrics)
    fits.remove()


def usable_latents(latents: np.ndarray) -> np.ndarray:
    """Indices of the latents that are not NaN; warns of the others."""
    missing = np.concatenate([np.isnan(block[:, 0]) for _, block in row_blocks(latents)])
    report_unusable(np.flatnonzero(missing), len(missing))
    return np.flatnonzero(~missing)


def _possible_numbers(settings: Settings, n: int, what: str) -> list[int]:
    wanted = settings.gmm.n_clusters
    numbers = [number for number in wanted if number <= n]
    if not numbers:
        raise DataError(
            f"[gmm] n_clusters asks for {min(wanted)} clusters and more, and only {n} samples are "
            f"{what}; ask for fewer"
        )
    if len(numbers) < len(wanted):
        log.warning(f"only {n} samples {what}: K is tried up to {numbers[-1]}")
    return numbers


def read_mixture(path: Path, n_clusters: int | str) -> Mixture:
    """The selected mixture (``auto``), or that of a number of clusters that was fitted."""
    arrays = read_npz(path)
    if n_clusters == "auto":
        return Mixture.from_arrays(arrays)
    if n_clusters not in arrays["n_clusters"]:
        fitted = ", ".join(map(str, arrays["n_clusters"]))
        raise DataError(
            f"[dec] n_clusters = {n_clusters}: no such mixture was fitted; allowed: auto, "
            f"{fitted}; or add it to gmm.n_clusters and run GMM_centroids.py again"
        )
    return Mixture.from_arrays(arrays, f"_{n_clusters}")
