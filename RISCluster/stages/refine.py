"""The DEC stage: refine encoder and centroids together, label every sample."""

import shutil
from pathlib import Path

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from ..clustering.mixture import Mixture
from ..data.layouts import SpectrogramFile
from ..data.loading import SampleSet, Split
from ..data.transforms import Preparation
from ..errors import DataError, TrainingError
from ..evaluation.mapping import require_package
from ..evaluation.metrics import agreement, clustering_summary, sampled_silhouettes
from ..evaluation.outliers import mixture_of_clusters, training_distribution
from ..evaluation.performance import calinski_harabasz, deviations, measure
from ..io import new_file, open_rows, row_blocks, write_csv
from ..models.autoencoder import AEC, DEC, ClusteringLayer
from ..models.checkpoint import load_model, save_model
from ..models.clustering import label_change
from ..run_folder import StageFolder
from ..runs.labels import Labelling, assign, label_file, of_usable
from ..runtime import log
from ..settings import Settings
from ..training.common import HISTORY, STATE
from ..training.encode import encode_to
from ..training.refine import refine
from .closing import log_summary
from .cluster import (
    cube_results,
    inputs_from_aec,
    read_mixture,
    report_unusable_latents,
    whole_file,
)
from .final_labels import choose_final_labels
from .session import (
    LABELS,
    LATENTS,
    MIXTURE,
    MODEL,
    NOVELTY,
    SPLIT,
    Session,
    checksum,
    draw_figures,
    finish,
    open_session,
)
from .sweep import Sweep

SOFT = "soft_assignments.npy"
PERFORMANCE = "cluster_performance.csv"
MAX_LABEL_CHANGE = 0.3  # fraction of the labels, above which there is a warning
MIN_VARIANCE = 0.02  # of the mean variance within clusters, added in every direction
RESULTS = [MODEL, STATE, HISTORY, LABELS, LATENTS, SOFT, PERFORMANCE, NOVELTY]


def run_dec(settings: Settings) -> None:
    """Refine the run's autoencoder and centroids, label every sample, write ``DEC/``.

    Parameters
    ----------
    settings : Settings
        Lists in [dec] are a sweep, of which the run with the highest Calinski-Harabasz index in
        data space is chosen: training can inflate a measure in latent space, not this one.

    Raises
    ------
    RISClusterError
        An earlier stage is missing, unfinished or out of date, or a request to stop.
    """
    with open_session(settings, "DEC") as session:
        session.require_match("AEC", session.data_key | session.network_key)
        session.require_match("GMM", inputs_from_aec(session))
        stage, mixture = session.stage("DEC"), session.stage("GMM").path / MIXTURE
        inputs = inputs_from_aec(session) | settings.inputs("dec", "result")
        inputs["run.precision"] = session.precision
        inputs["GMM/model.npz"] = session.rank0(lambda: checksum(mixture))
        if session.is_done(stage, inputs):
            log_summary(session, stage)
            return
        if settings.run.figures:
            require_package(settings.report.embedding)
        aec = session.stage("AEC").path
        preparation = load_model(aec / MODEL, "AEC", session.file).preparation
        split = Split.load(aec / SPLIT)
        samples, _ = session.load(session.reader(preparation), split.both)
        for _, chosen in settings.sweep("dec"):
            _initial_mixture(
                session, chosen
            )  # a number of clusters that was not fitted is an error
        session.begin(stage, inputs, settings)
        results = RESULTS + cube_results(session)
        sweep = Sweep(session, stage, inputs, "dec", "calinski_harabasz_data", results, True)
        for chosen, folder in sweep.runs():
            try:
                _refine(session, chosen, folder, samples)
            except TrainingError as error:
                sweep.fail(error)
        sweep.finish()
    if settings.run.figures and session.ranks.is_first:
        _report(settings.run_folder)
    log_summary(session, stage)


def _report(run_folder: Path) -> None:
    """Write the report; an error is a warning."""
    try:
        from ..report.make_report import write_report

        path = write_report(run_folder)
    except Exception as error:  # the results are already safe
        log.warning(f"the report could not be made: {type(error).__name__}: {error}")
        return
    log.info(f"report: {path}")


def _refine(session: Session, settings: Settings, stage: StageFolder, samples: SampleSet) -> None:
    """Refine one network and write its folder."""
    torch.manual_seed(settings.run.seed)
    aec = load_model(session.stage("AEC").path / MODEL, "AEC", session.file)
    model = _initial_model(session, settings, aec.model).to(session.ranks.device)
    log.info(f"refining {len(model.clustering.centroids)} clusters on {len(samples):,} samples")
    refine(model, samples, settings.dec, session.context(stage))
    everything = whole_file(session, aec.preparation)
    encode_to(stage.path / LATENTS, model.encoder, everything, session.ranks)
    session.rank0(lambda: _label(session, settings, stage, model, samples))


def _initial_model(session: Session, settings: Settings, aec: AEC) -> DEC:
    """DEC model whose centroids are the means of the mixture."""
    mixture = _initial_mixture(session, settings)
    metric = np.eye(mixture.means.shape[1])
    if settings.dec.latent_scale == "global":
        metric /= spread(open_rows(session.stage("GMM").path / LATENTS)) or 1.0
    elif settings.dec.latent_scale == "within":
        metric = whitening(mixture)
    centroids, metric = (torch.from_numpy(x).float() for x in (mixture.means, metric))
    return DEC(aec, ClusteringLayer(centroids, metric))


def _initial_mixture(session: Session, settings: Settings) -> Mixture:
    """Mixture of `dec.n_clusters`, which has two clusters or more."""
    path = session.stage("GMM").path / MIXTURE
    mixture = read_mixture(path, settings.dec.n_clusters)
    if len(mixture.weights) < 2:
        raise DataError(
            f"{path}: one cluster was selected, and refinement needs two or more; set "
            "dec.n_clusters to a number that was fitted, or gmm.select to another criterion"
        )
    return mixture


def whitening(mixture: Mixture) -> np.ndarray:
    """Matrix (D, D) that gives the clusters of a mixture the same variance in all directions.

    The mean square distance of a sample from its centroid becomes 1, which fits the Student's t of
    unit scale (Xie et al. 2016), whatever D is.
    """
    within = np.einsum("k,kij->ij", mixture.weights, mixture.covariances)
    d = len(within)
    floor = MIN_VARIANCE * np.trace(within) / d or 1.0
    variances, axes = np.linalg.eigh(within + floor * np.eye(d))
    return (axes / np.sqrt(d * variances)) @ axes.T


def spread(latents: np.ndarray) -> float:
    """Root mean square distance of usable latents (N, D) from their mean, over features."""
    scaler = StandardScaler()
    for _, block in row_blocks(latents):
        known = block[~np.isnan(block[:, 0])]
        if len(known):
            scaler.partial_fit(known.astype(np.float64))
    return float(np.sqrt(scaler.var_.mean()))


def _label(
    session: Session, settings: Settings, stage: StageFolder, model: DEC, samples: SampleSet
) -> None:
    """Label every sample, compute the metrics, write the folder."""
    gmm, start = session.stage("GMM").path, _initial_mixture(session, settings)
    before, latents = open_rows(gmm / LATENTS), open_rows(stage.path / LATENTS)
    report_unusable_latents(latents)
    final = choose_final_labels(settings, start, before, latents, model, session.stop)
    aec = load_model(session.stage("AEC").path / MODEL, "AEC", session.file)
    if not final.refined:
        model = _initial_model(session, settings, aec.model).to(session.ranks.device)
        with new_file(stage.path / LATENTS) as partial:
            shutil.copyfile(gmm / LATENTS, partial)
        latents = before
    n_clusters, seed = len(model.clustering.centroids), settings.run.seed
    labelling = label_file(
        latents, final.posterior, n_clusters, session.file, stage.path, soft=SOFT
    )
    index, silhouettes = sampled_silhouettes(latents, labelling.labels, seed)
    metrics = clustering_summary(labelling, silhouettes) | final.metrics()
    metrics["label_change_from_gmm"] = _label_change(before, start, labelling)
    _warn_if_moved(metrics["label_change_from_gmm"])
    metrics |= agreement(labelling.labels, session.file.labels())
    metrics["calinski_harabasz_data"] = calinski_harabasz(samples, labelling.labels, n_clusters)
    path, preparation, labels = stage.path / MODEL, aec.preparation, "student"
    if final.mixture is not None:
        labels = "mixture"
    file, fingerprint = session.file, session.fingerprint
    save_model(path, model, preparation, aec.variance, file, fingerprint, labels=labels)
    _write_performance(stage.path / PERFORMANCE, file, preparation, labelling, index, silhouettes)
    mixture = final.mixture or mixture_of_clusters(latents, labelling)
    training_distribution(model, mixture, samples).save(stage.path / NOVELTY)
    draw_figures(session, stage, settings, metrics)
    finish(stage, RESULTS + cube_results(session), metrics, session)


def _label_change(before: np.ndarray, mixture: Mixture, labelling: Labelling) -> float:
    """Fraction of samples whose label differs from that of the mixture."""
    k = labelling.n_clusters
    blocks = (of_usable(block, mixture.posterior, k) for _, block in row_blocks(before))
    labels = np.concatenate([assign(block)[0] for block in blocks])
    both = (labels >= 0) & (labelling.labels >= 0)
    return label_change(labels[both], labelling.labels[both])


def _warn_if_moved(change: float) -> None:
    """Warn if refinement has made other clusters rather than sharper ones."""
    if change > MAX_LABEL_CHANGE:
        log.warning(
            f"refinement gave {change:.0%} of the samples another label than the mixture had: "
            "these are other clusters, not sharper ones, as happens where the data have no clear "
            "groups; compare the galleries of GMM and DEC before you believe either, or lower "
            "dec.gamma"
        )


def _write_performance(
    path: Path,
    file: SpectrogramFile,
    preparation: Preparation,
    labelling: Labelling,
    index: np.ndarray,
    silhouettes: np.ndarray,
) -> None:
    """Write a row for each cluster, and one for all samples.

    Silhouettes, and measures in data space, are those of the samples `index`.
    """
    labels, sizes = labelling.labels[index].astype(np.int64), labelling.sizes
    _, space = deviations(file, preparation, index, labels, len(sizes))
    columns = {
        "label": [*range(len(sizes)), "all"],
        "size": [*sizes.tolist(), labelling.n_usable],
        "share": np.r_[sizes / labelling.n_usable, 1],
        "mean_probability": np.r_[labelling.mean_probability, labelling.overall_probability],
        "silhouette_latent": measure(silhouettes, labels, sizes).values,
        "mse_to_mean": measure(space["mse"].to_numpy(), labels, sizes).values,
        "inner_product_with_mean": measure(space["inner_product"].to_numpy(), labels, sizes).values,
    }
    rows = [
        [label, size, *(f"{value:.6g}" for value in values)]
        for label, size, *values in zip(*columns.values(), strict=True)
    ]
    write_csv(path, tuple(columns), rows)
