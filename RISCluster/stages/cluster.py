"""The GMM stage: encode every sample, fit mixtures for every K, select one, label."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import RowsArray
from ..clustering.fit import Fits
from ..clustering.mixture import Mixture
from ..clustering.neighbours import NeighbourMap
from ..clustering.selection import HEADER, Criteria, as_rows, contradictions, select
from ..data.cube_file import CubeFile
from ..data.loading import Split, StreamedSet, WholeFile
from ..data.transforms import Preparation
from ..errors import DataError, SettingsError
from ..evaluation.metrics import agreement, clustering_summary, sampled_silhouettes
from ..evaluation.outliers import training_distribution
from ..io import read_npz, write_csv, write_npz
from ..models.autoencoder import AEC
from ..progress import log
from ..run_folder import StageFolder
from ..runs.labels import Labelling, label_file, usable_sample
from ..settings import Settings
from ..training.encode import encode_to
from .closing import say_end
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
    draw,
    finish,
    load_aec,
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
        No AEC stage to build on or one made otherwise, fewer usable samples than clusters, a
        criterion that is not computed, or a request to stop.
    """
    if settings.gmm.select == "stability" and settings.gmm.stability is None:
        raise SettingsError(
            "[gmm] select = stability, and stability = none leaves it out; set gmm.stability = 4, "
            "or select by another criterion"
        )
    with open_session(settings, "GMM") as session:
        aec = session.stage("AEC")
        session.require_match("AEC", session.data_key | session.network_key)
        stage = session.stage("GMM")
        depends = built_on_aec(session) | settings.affecting("gmm", "result")
        fits = Fits(stage.path / FITS, settings.gmm, settings.run.seed, session.stop)
        if session.is_done(stage, depends):
            session.on_first(fits.clear)
            say_end(session, stage)
            return
        model, preparation, _ = load_aec(aec.path / MODEL, session.file)
        model.to(session.ranks.device)
        _possible_numbers(settings.gmm.n_clusters, session.file.n_samples, "in the file")
        session.begin(stage, depends, settings)
        if not session.on_first((stage.path / LATENTS).exists):  # there after an interruption
            everything = whole_file(session, preparation)
            encode_to(stage.path / LATENTS, model.encoder, everything, session.ranks)
        session.on_first(lambda: _fit_and_label(session, stage, fits, model, preparation))
    say_end(session, stage)


def built_on_aec(session: Session) -> dict[str, Any]:
    """What every stage after the autoencoder is made from, besides its own settings."""
    model = session.stage("AEC").path / MODEL
    return {
        **session.data_key,
        **session.network_key,
        "labels, times and ids": session.columns,
        "AEC/model.pt": session.on_first(lambda: checksum(model)),
    }


def whole_file(session: Session, preparation: Preparation) -> WholeFile:
    """Every sample of the file, streamed in its order."""
    reader = session.reader(preparation)
    reader.skip_negative = True  # training has refused them; one beyond it costs itself alone
    return WholeFile(reader)


def _fit_and_label(
    session: Session, stage: StageFolder, fits: Fits, model: AEC, preparation: Preparation
) -> None:
    settings = session.settings
    latents = RowsArray(stage.path / LATENTS)
    usable = report_unusable_latents(latents)
    drawn = usable_sample(usable - 1, settings.gmm.fit_samples or len(latents), settings.run.seed)
    numbers = _possible_numbers(settings.gmm.n_clusters, len(drawn), "usable")
    known = latents.take(drawn).astype(np.float64)
    if len(drawn) < np.count_nonzero(usable):
        log.info(
            f"mixtures are fitted to {len(drawn):,} of {np.count_nonzero(usable):,} latents, "
            "drawn at random (gmm.fit_samples)"
        )
    mapped = fits.basis(known).maps
    mixtures, rows = fits.of(numbers)
    drawn_map = None
    if mapped:  # for the figure, by place in the file
        drawn_map = replace(mapped[0], index=drawn[mapped[0].index])
    chosen = select(rows, settings.gmm.select)
    log.info(f"{settings.gmm.select} selects K = {chosen}")
    for text in contradictions(rows, chosen, settings.gmm.select):
        log.warning(text)
    mixture = mixtures[chosen]
    labelling = label_file(latents, mixture.posterior, chosen, session.file, stage.path)
    _, silhouette = sampled_silhouettes(latents, labelling.labels, settings.run.seed)
    metrics = clustering_summary(labelling, silhouette) | {"temperature": mixture.temperature}
    metrics["n_maps"] = len(mapped)
    metrics["stability"] = next(row.stability for row in rows if row.n_clusters == chosen)
    metrics |= agreement(labelling.labels, session.file.labels())
    write_csv(stage.path / SELECTION, HEADER, as_rows(rows))
    write_mixtures(stage.path / MIXTURE, mixtures, chosen)
    training = StreamedSet(
        Split.load(session.stage("AEC").path / SPLIT).both, session.reader(preparation)
    )
    training_distribution(model, mixture, training).save(stage.path / NOVELTY)
    draw(
        settings.run.figures,
        lambda: _figures(session, stage, rows, latents, labelling, mixture, drawn_map),
    )
    finish(stage, [MIXTURE, SELECTION, LABELS, LATENTS, NOVELTY, *maps(session)], metrics, session)
    fits.remove()


def maps(session: Session) -> list[str]:
    """Further results that a stage that labels has for a cube."""
    return [MAP] if isinstance(session.file, CubeFile) else []


def report_unusable_latents(latents: RowsArray) -> np.ndarray:
    """Say which latents are missing; whether each is there, (N,), int8."""
    usable = usable_latents(latents)
    report_unusable(np.flatnonzero(usable == 0), len(usable))
    return usable


def usable_latents(latents: RowsArray) -> np.ndarray:
    """Whether each latent is there, (N,), int8."""
    there = np.concatenate([~np.isnan(block[:, 0]) for _, block in latents.blocks()])
    return there.astype(np.int8)


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


# ---- the mixtures as later stages read them -----------------------------------------------------


def write_mixtures(path: Path, mixtures: dict[int, Mixture], chosen: int) -> None:
    """Write the selected mixture, and every other one under names that end with its K."""
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


def _figures(
    session: Session,
    stage: StageFolder,
    rows: list[Criteria],
    latents: RowsArray,
    labelling: Labelling,
    mixture: Mixture,
    mapped: NeighbourMap | None,
) -> list[Path]:
    from ..plots.stage_figures import gmm_figures

    return gmm_figures(
        session.file, stage, rows, latents, labelling, mixture.means, session.settings, mapped
    )
