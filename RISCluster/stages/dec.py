"""The DEC stage: refine encoder and centroids together, label every sample."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import Settings
from ..data.loading import SampleSet
from ..data.split import Split
from ..data.transforms import Preparation
from ..errors import DataError
from ..files import save_checkpoint, write_csv, write_npy
from ..models.clustering import label_change
from ..models.networks import AEC, DEC, ClusteringLayer
from ..progress import log
from ..results.labels import assign, write_labels
from ..results.metrics import DataSpace, agreement, clustering_summary, silhouettes
from ..run import StageFolder
from ..training.dec import DecTrainer
from ..training.encode import encode
from ..training.engine import HISTORY, STATE
from ..training.gmm import Mixture
from .gmm import LATENTS, built_on_aec, read_mixture, say_clusters, whole_file
from .session import (
    LABELS,
    MIXTURE,
    MODEL,
    SPLIT,
    Session,
    checksum,
    draw,
    finish,
    load_aec,
    model_content,
    open_session,
    report_unusable,
)
from .sweep import Sweep, run_combinations

SOFT = "soft_assignments.npy"
PERFORMANCE = "cluster_performance.csv"
MUCH_MOVED = 0.3  # share of labels
RESULTS = [MODEL, STATE, HISTORY, LABELS, LATENTS, SOFT, PERFORMANCE]


def run_dec(settings: Settings) -> None:
    """Refine the run's autoencoder and centroids, label every sample, write ``DEC/``.

    Parameters
    ----------
    settings : Settings
        Lists in [dec] are a sweep; the best combination has the highest Calinski-Harabasz index in
        data space, which the network can't inflate as it can a measure in its latent space.

    Raises
    ------
    RISClusterError
        A stage to build on is missing, unfinished or out of date, or a request to stop.
    """
    with open_session(settings) as session:
        _require_earlier_stages(session)
        stage = session.stage("DEC")
        depends = _depends(session)
        if session.is_done(stage, depends):
            return
        aec = session.stage("AEC").path
        _, preparation, _ = load_aec(aec / MODEL, session.file)
        split = Split.load(aec / SPLIT)
        samples, _ = session.load(session.reader(preparation), split.both)
        for _, chosen in settings.sweep("dec"):
            _mixture(session, chosen)  # refuses a number of clusters that was not fitted
        session.begin(stage, depends, settings)
        run_combinations(
            session,
            stage,
            depends,
            lambda chosen, folder: _refine(session, chosen, folder, samples),
            Sweep("dec", "calinski_harabasz_data", RESULTS, largest=True),
        )


def _require_earlier_stages(session: Session) -> None:
    session.on_first(
        lambda: session.stage("AEC").require_match(session.data_key | session.network_key)
    )
    below = built_on_aec(session)
    session.on_first(lambda: session.stage("GMM").require_match(below))


def _depends(session: Session) -> dict[str, Any]:
    mixture = session.stage("GMM").path / MIXTURE
    return {
        **built_on_aec(session),
        **session.settings.affecting("dec", "result"),
        "run.precision": session.precision,
        "GMM/model.npz": session.on_first(lambda: checksum(mixture)),
    }


def _refine(session: Session, settings: Settings, stage: StageFolder, samples: SampleSet) -> None:
    """Refine one combination and write its folder."""
    torch.manual_seed(settings.run.seed)
    aec, preparation, variance = load_aec(session.stage("AEC").path / MODEL, session.file)
    model = _start(session, settings, aec)
    model.to(session.ranks.device)
    trainer = DecTrainer(model, samples, settings.dec, session.context(stage))
    log.info(
        f"refining {len(model.clustering.centroids)} clusters on {len(samples):,} samples; the "
        f"latents' scale is {float(model.clustering.scale):.4g}"
    )
    trainer.run()
    log.info(f"stopped after {trainer.epoch} epochs: {trainer.why}")
    everything = whole_file(session, preparation)
    latents = encode(model.encoder, everything, session.ranks)
    session.on_first(
        lambda: _label(session, settings, stage, model, preparation, variance, latents, samples)
    )


def _start(session: Session, settings: Settings, aec: AEC) -> DEC:
    """DEC model at the mixture's means, with the scale of the usable latents."""
    gmm = session.stage("GMM").path
    mixture = _mixture(session, settings)
    scale = 1.0
    if settings.dec.latent_scale == "global":
        latents = np.load(gmm / LATENTS).astype(np.float64)
        scale = float(np.sqrt(np.nanmean(np.square(latents - np.nanmean(latents, axis=0)))))
    centroids = torch.from_numpy(mixture.means).float()
    return DEC(aec, ClusteringLayer(centroids, scale or 1.0))


def _mixture(session: Session, settings: Settings) -> Mixture:
    """Mixture of the number of clusters asked for.

    Raises
    ------
    DataError
        It was not fitted, or is of one cluster, which can't be refined.
    """
    path = session.stage("GMM").path / MIXTURE
    mixture = read_mixture(path, settings.dec.n_clusters)
    if len(mixture.weights) < 2:
        raise DataError(
            f"{path}: one cluster was selected, and refinement needs two or more; set "
            "dec.n_clusters to a number that was fitted, or gmm.select to another criterion"
        )
    return mixture


def _label(
    session: Session,
    settings: Settings,
    stage: StageFolder,
    model: DEC,
    preparation: Preparation,
    variance: float,
    latents: np.ndarray,
    samples: SampleSet,
) -> None:
    """Score, write and draw the result of one combination."""
    usable = ~np.isnan(latents[:, 0])
    report_unusable(np.flatnonzero(~usable), len(usable))
    n_clusters = len(model.clustering.centroids)
    soft = np.full((len(latents), n_clusters), np.nan, dtype=np.float32)
    with torch.inference_mode():
        z = torch.from_numpy(latents[usable]).to(session.ranks.device)
        parts = [model.clustering(part).cpu().numpy() for part in z.split(8192)]
    soft[usable] = np.concatenate(parts)
    labels, certainty = assign(soft)
    metrics = _metrics(session, settings, latents, labels, n_clusters)
    space = DataSpace(samples, labels, n_clusters)
    metrics["calinski_harabasz_data"] = space.calinski_harabasz
    say_clusters(metrics)
    _warn_if_moved(metrics["label_change_from_gmm"])
    content = model_content(model, preparation, variance, session.fingerprint)
    save_checkpoint(stage.path / MODEL, "DEC model", content)
    write_npy(stage.path / LATENTS, latents)
    write_npy(stage.path / SOFT, soft)
    write_labels(stage.path / LABELS, session.file, labels, certainty)
    _write_performance(stage.path / PERFORMANCE, space, latents, labels, certainty, settings)
    centroids = model.clustering.centroids.detach().cpu().numpy()
    draw(
        settings.run.figures,
        lambda: _figures(session, settings, stage, latents, labels, centroids),
    )
    finish(stage, RESULTS, metrics, session)


def _metrics(
    session: Session, settings: Settings, latents: np.ndarray, labels: np.ndarray, n_clusters: int
) -> dict[str, Any]:
    metrics = clustering_summary(latents, labels, n_clusters, settings.run.seed)
    gmm = read_mixture(session.stage("GMM").path / MIXTURE, n_clusters)
    before = np.full(len(labels), -1)
    first = np.load(session.stage("GMM").path / LATENTS)
    known = ~np.isnan(first[:, 0])
    before[known] = gmm.posterior(first[known]).argmax(1)
    both = (labels >= 0) & known
    metrics["label_change_from_gmm"] = label_change(before[both], labels[both])
    return metrics | agreement(labels, session.file.labels())


def _warn_if_moved(change: float) -> None:
    """Say if refinement has made other clusters rather than sharper ones."""
    if change > MUCH_MOVED:
        log.warning(
            f"refinement gave {change:.0%} of the samples another label than the mixture had: "
            "these are other clusters, not sharper ones, as happens where the data have no clear "
            "groups; compare the galleries of GMM and DEC before you believe either, or lower "
            "dec.gamma"
        )


def _write_performance(
    path: Path,
    space: DataSpace,
    latents: np.ndarray,
    labels: np.ndarray,
    certainty: np.ndarray,
    settings: Settings,
) -> None:
    """A row a cluster, and one of all: see the header."""
    usable = np.flatnonzero(labels >= 0)
    chosen, scores = silhouettes(latents[usable], labels[usable], settings.run.seed)
    scored = labels[usable][chosen]
    header = (
        "label",
        "size",
        "share",
        "mean_probability",
        "silhouette_latent",
        "mse_to_mean",
        "inner_product_with_mean",
    )
    rows = []
    for label in range(space.n_clusters):
        members = labels == label
        size = int(members.sum())
        row = [size / len(usable), certainty[members].mean() if size else np.nan]
        row += [scores[scored == label].mean() if (scored == label).any() else np.nan]
        row += [space.mse[label], space.inner_product[label]]
        rows.append((label, size, *(f"{value:.6g}" for value in row)))
    weights = space.counts / space.counts.sum()
    total = [1.0, certainty[usable].mean(), scores.mean()]
    total += [np.nansum(weights * space.mse), np.nansum(weights * space.inner_product)]
    rows.append(("all", len(usable), *(f"{value:.6g}" for value in total)))
    write_csv(path, header, rows)


def _figures(
    session: Session,
    settings: Settings,
    stage: StageFolder,
    latents: np.ndarray,
    labels: np.ndarray,
    centroids: np.ndarray,
) -> list[Path]:
    from ..results.stage_figures import dec_figures

    return dec_figures(session.file, stage, latents, labels, centroids, settings)
