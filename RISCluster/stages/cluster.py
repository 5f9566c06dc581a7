"""The GMM stage: encode every sample, fit mixtures for every K, select one, label."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..clustering.fit import Fits
from ..clustering.mixture import Mixture
from ..clustering.selection import HEADER, as_rows, contradictions, select
from ..data.cube_file import CubeFile
from ..data.loading import Split, StreamedSet, subsample
from ..data.transforms import Preparation
from ..errors import DataError, SettingsError
from ..evaluation.metrics import agreement, clustering_summary, sampled_silhouettes
from ..evaluation.outliers import training_distribution
from ..io import open_rows, read_npz, row_blocks, write_csv, write_npz
from ..models.checkpoint import TrainedModel, load_model
from ..run_folder import StageFolder
from ..runs.labels import label_file
from ..runtime import log
from ..settings import Settings
from ..training.encode import encode_to
from .closing import log_summary
from .session import (
    LABELS,
    LATENTS,
    MAP,
    MIXTURE,
    MODEL,
    NOVELTY,
    SPLIT,
    Session,
    checksum,
    draw_figures,
    finish,
    open_session,
    report_unusable,
)

SELECTION = "selection.csv"
FITS = "fits"


def run_gmm(settings: Settings) -> None:
    """Fit mixtures in the latent space of the run's autoencoder and write ``GMM/``.

    Raises
    ------
    RISClusterError
        No AEC stage or one of other inputs, fewer usable samples than clusters, a criterion that
        is not computed, or a request to stop.
    """
    if settings.gmm.select == "stability" and settings.gmm.n_resamples is None:
        raise SettingsError(
            "[gmm] select = stability, and n_resamples = none leaves it out; set "
            "gmm.n_resamples = 4, or select by another criterion"
        )
    with open_session(settings, "GMM") as session:
        session.require_match("AEC", session.data_key | session.network_key)
        stage = session.stage("GMM")
        inputs = inputs_from_aec(session) | settings.inputs("gmm", "result")
        fits = Fits(stage.path / FITS, settings.gmm, settings.run.seed, session.stop)
        if session.is_done(stage, inputs):
            session.rank0(fits.clear)
            log_summary(session, stage)
            return
        aec = load_model(session.stage("AEC").path / MODEL, "AEC", session.file)
        aec.model.to(session.ranks.device)
        _possible_numbers(settings.gmm.n_clusters, session.file.n_samples, "in the file")
        session.begin(stage, inputs, settings)
        if not session.rank0((stage.path / LATENTS).exists):  # there after an interruption
            everything = whole_file(session, aec.preparation)
            encode_to(stage.path / LATENTS, aec.model.encoder, everything, session.ranks)
        session.rank0(lambda: _fit_and_label(session, stage, fits, aec))
    log_summary(session, stage)


def inputs_from_aec(session: Session) -> dict[str, Any]:
    """Inputs of every stage after the autoencoder, besides its own settings."""
    model = session.stage("AEC").path / MODEL
    return {
        **session.data_key,
        **session.network_key,
        "labels, times and ids": session.columns,
        "AEC/model.pt": session.rank0(lambda: checksum(model)),
    }


def whole_file(session: Session, preparation: Preparation) -> StreamedSet:
    """Every sample of the file, streamed in its order."""
    reader = session.reader(preparation)
    reader.skip_negative = True  # an error in training; here they are unusable
    return StreamedSet(reader)


def _fit_and_label(session: Session, stage: StageFolder, fits: Fits, aec: TrainedModel) -> None:
    """Fit mixtures to latents, select K, label every sample, write the stage."""
    settings, seed = session.settings, session.settings.run.seed
    latents = open_rows(stage.path / LATENTS)
    usable = report_unusable_latents(latents)
    drawn = usable[subsample(len(usable), settings.gmm.fit_samples or len(usable), seed)]
    numbers = _possible_numbers(settings.gmm.n_clusters, len(drawn), "usable")
    if len(drawn) < len(usable):
        log.info(
            f"mixtures are fitted to {len(drawn):,} of {len(usable):,} latents, "
            "drawn at random (gmm.fit_samples)"
        )
    maps = fits.basis(latents[drawn].astype(np.float64)).maps
    mixtures, rows = fits.of(numbers)
    chosen = select(rows, settings.gmm.select)
    log.info(f"{settings.gmm.select} selects K = {chosen}")
    for text in contradictions(rows, chosen, settings.gmm.select):
        log.warning(text)
    mixture = mixtures[chosen]
    labelling = label_file(latents, mixture.posterior, chosen, session.file, stage.path)
    _, silhouette = sampled_silhouettes(latents, labelling.labels, seed)
    metrics = clustering_summary(labelling, silhouette) | {
        "temperature": mixture.temperature,
        "n_maps": len(maps),
        "stability": next(row.stability for row in rows if row.n_clusters == chosen),
        **agreement(labelling.labels, session.file.labels()),
    }
    write_csv(stage.path / SELECTION, HEADER, as_rows(rows))
    write_mixtures(stage.path / MIXTURE, mixtures, chosen)
    split = Split.load(session.stage("AEC").path / SPLIT)
    training = StreamedSet(session.reader(aec.preparation), split.both)
    training_distribution(aec.model, mixture, training).save(stage.path / NOVELTY)
    shown = replace(maps[0], index=drawn[maps[0].index]) if maps else None  # index of the file
    draw_figures(session, stage, settings, metrics, shown)
    results = [MIXTURE, SELECTION, LABELS, LATENTS, NOVELTY, *cube_results(session)]
    finish(stage, results, metrics, session)
    fits.remove()


def cube_results(session: Session) -> list[str]:
    """Further results of a stage that labels a cube."""
    return [MAP] if isinstance(session.file, CubeFile) else []


def report_unusable_latents(latents: np.ndarray) -> np.ndarray:
    """Warn of missing latents; indices of the others."""
    usable = usable_latents(latents)
    report_unusable(np.setdiff1d(np.arange(len(latents)), usable), len(latents))
    return usable


def usable_latents(latents: np.ndarray) -> np.ndarray:
    """Indices of the latents that are not NaN."""
    missing = [np.isnan(block[:, 0]) for _, block in row_blocks(latents)]
    return np.flatnonzero(~np.concatenate(missing))


def _possible_numbers(wanted: tuple[int, ...], n: int, what: str) -> list[int]:
    numbers = [number for number in wanted if number <= n]
    if not numbers:
        raise DataError(
            f"[gmm] n_clusters asks for {min(wanted)} clusters and more, and only {n} "
            f"samples are {what}; ask for fewer"
        )
    if len(numbers) < len(wanted):
        log.warning(f"only {n} samples {what}: K is tried up to {numbers[-1]}")
    return numbers


# ---- the mixtures in a file ---------------------------------------------------------------------


def write_mixtures(path: Path, mixtures: dict[int, Mixture], chosen: int) -> None:
    """Write the selected mixture, and all under names that end with their K."""
    arrays = {"n_clusters": np.array(sorted(mixtures))}
    for suffix, mixture in [("", mixtures[chosen])] + [(f"_{k}", m) for k, m in mixtures.items()]:
        arrays |= mixture.arrays(suffix)
    write_npz(path, **arrays)


def read_mixture(path: Path, n_clusters: int | str) -> Mixture:
    """The selected mixture (``auto``), or that of a number of clusters.

    Raises
    ------
    DataError
        No mixture of that number of clusters was fitted.
    """
    arrays = read_npz(path)
    if n_clusters == "auto":
        return Mixture.from_arrays(arrays)
    if f"means_{n_clusters}" not in arrays:
        fitted = ", ".join(map(str, arrays["n_clusters"]))
        raise DataError(
            f"[dec] n_clusters = {n_clusters}: no such mixture was fitted; allowed: auto, "
            f"{fitted}; or add it to gmm.n_clusters and run GMM_centroids.py again"
        )
    return Mixture.from_arrays(arrays, f"_{n_clusters}")
