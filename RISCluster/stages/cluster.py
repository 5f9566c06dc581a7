"""The GMM stage: encode every sample, fit mixtures for every K, select one, label."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..clustering.fit import fit_mixtures, remove_fits
from ..clustering.mixture import Mixture
from ..clustering.selection import contradictions, select, write_rows
from ..data.loading import Reader, SampleSet
from ..data.sets import Split, draw_usable
from ..errors import DataError, SettingsError
from ..evaluation.metrics import label_metrics
from ..evaluation.samples import training_distribution
from ..io import open_rows, read_npz, write_npz
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
            "[gmm] select = stability needs half-samples; set gmm.n_resamples = 6, or select by "
            "another criterion"
        )
    with open_session(settings, "GMM") as session:
        if not session.is_done():
            aec = load_model(session.run / "AEC/model.pt", "AEC", session.file)
            aec.model.to(session.ranks.device)
            _possible_numbers(settings, session.file.n_samples)
            session.begin()
            if not session.ranks.rank0((session.path / "latent.npy").exists):  # after a stop
                session.encode(aec.model.encoder, aec.preparation)
            session.ranks.rank0(lambda: _fit_and_label(session, aec))
        session.log_summary()


def _fit_and_label(session: Session, aec: TrainedModel) -> None:
    """Fit mixtures to latents, select K, label every sample, write the stage."""
    settings, seed, path = session.settings, session.seed, session.path
    latents, criterion = open_rows(path / "latent.npy"), settings.gmm.select
    is_usable = ~np.isnan(latents[:, 0])
    report_unusable(np.flatnonzero(~is_usable), len(is_usable))
    drawn = draw_usable(is_usable, settings.gmm.fit_samples or len(is_usable), seed)
    numbers, blocks = _possible_numbers(settings, len(drawn)), aec.model.shape.blocks
    if len(drawn) < (n_usable := is_usable.sum()):
        log.info(f"fitting to {len(drawn):,} of {n_usable:,} latents (gmm.fit_samples)")
    fitted = latents[drawn].astype(np.float64)
    fits = fit_mixtures(path, fitted, blocks, numbers, settings, session.stop)
    rows, k = fits.rows, select(fits.rows, criterion)
    log.info(f"{criterion} selects K = {k}")
    for text in contradictions(rows, k, criterion):
        log.warning(text)
    mixture = fits.mixtures[k]
    labelling = label_file(latents, mixture.posterior, k, session.file, path)
    _, metrics = label_metrics(session.file, latents, labelling, seed)
    metrics |= {"temperature": mixture.temperature, "smoothing": mixture.smoothing}
    metrics["stability"] = rows[numbers.index(k)].stability
    write_rows(path / "selection.csv", rows)
    arrays = {"n_clusters": np.array(numbers), "voted": drawn[fits.voted]} | mixture.arrays()
    arrays |= {f"votes_{number}": each for number, each in fits.votes.items()}
    extra = []
    for number, each in fits.mixtures.items():
        arrays |= each.arrays(f"_{number}")
        if settings.gmm.all_labels:
            extra.append(f"labels_{number}.csv")
            label_file(latents, each.posterior, number, session.file, path, name=extra[-1])
    write_npz(path / "model.npz", **arrays)
    split = Split.load(session.run / "AEC/split.npz")
    reader = Reader(session.file, aec.preparation, session.ranks.device)
    training = SampleSet(split.both, reader=reader)
    training_distribution(aec.model, mixture, training).save(path / "novelty.npz")
    shown = replace(fits.trees, index=drawn[fits.trees.index]) if fits.trees else None
    remove_fits(path)
    session.finish([*RESULTS, *extra], metrics, shown)


def _possible_numbers(settings: Settings, n: int) -> list[int]:
    wanted = settings.gmm.n_clusters
    numbers = [number for number in wanted if number <= n]
    if not numbers:
        raise DataError(
            f"[gmm] n_clusters asks for {min(wanted)} clusters and more, and only {n} samples can "
            "be used; ask for fewer"
        )
    return numbers


def read_mixture(path: Path, n_clusters: int | str) -> Mixture:
    """The selected mixture (``auto``), or that of a number of clusters; of two or more."""
    arrays, suffix = read_npz(path), "" if n_clusters == "auto" else f"_{n_clusters}"
    if len(arrays.get(f"weights{suffix}", ())) < 2:
        fitted = ", ".join(str(k) for k in arrays["n_clusters"] if k > 1)
        raise DataError(
            f"[dec] n_clusters = {n_clusters}: refinement needs one of the mixtures of two or more "
            f"clusters; allowed: {fitted or 'none'}; fit others with gmm.n_clusters"
        )
    return Mixture.from_arrays(arrays, suffix)


def read_votes(path: Path, n_clusters: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Samples (m,) and their `labellings` (H, m) by half-samples, if the file has them."""
    arrays = read_npz(path)
    votes = arrays.get(f"votes_{n_clusters}")  # earlier versions wrote none
    return None if votes is None else (arrays["voted"], votes.astype(int))
