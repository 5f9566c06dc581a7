"""The DEC stage: refine encoder and centroids together, label every sample."""

import copy
import shutil

import numpy as np
import pandas
import torch
from sklearn.preprocessing import StandardScaler

from ..clustering.mixture import Mixture
from ..data.loading import SampleSet, Split
from ..errors import DataError
from ..evaluation.data_space import deviations
from ..evaluation.mapping import require_package
from ..evaluation.metrics import (
    agreement,
    calinski_harabasz,
    clustering_summary,
    measure,
    sampled_silhouettes,
)
from ..evaluation.outliers import mixture_of_clusters, training_distribution
from ..io import new_file, open_rows, row_blocks, write_text
from ..models.autoencoder import DEC, ClusteringLayer
from ..models.checkpoint import TrainedModel, load_model, save_model
from ..models.clustering import label_change
from ..run_folder import StageFolder
from ..runs.labels import Labelling, assign, label_file, of_usable
from ..runtime import log
from ..settings import Settings
from ..training.common import HISTORY, STATE
from ..training.encode import encode_to
from ..training.refine import refine
from .cluster import cube_results, read_mixture, usable_latents
from .final_labels import choose_final_labels
from .session import (
    LABELS,
    LATENTS,
    MIXTURE,
    MODEL,
    NOVELTY,
    SPLIT,
    Session,
    attempt,
    checksum,
    combinations,
    draw,
    finish,
    log_summary,
    open_session,
    report_unusable,
    train_each,
)

SOFT = "soft_assignments.npy"
PERFORMANCE = "cluster_performance.csv"
MAX_LABEL_CHANGE = 0.3  # fraction of the labels, above which there is a warning
MIN_VARIANCE = 0.02  # of the mean variance within clusters, added in every direction
RESULTS = [MODEL, STATE, HISTORY, LABELS, LATENTS, SOFT, PERFORMANCE, NOVELTY]


def run_dec(settings: Settings) -> None:
    """Refine the run's autoencoder and centroids, label every sample, write ``DEC/``.

    Lists in [dec] are a sweep, of which the run with the highest Calinski-Harabasz index in data
    space is chosen: training can inflate a measure in latent space, not this one.
    """
    with open_session(settings, "DEC") as session:
        session.require_match("AEC", session.aec_inputs)
        session.require_match("GMM", session.gmm_inputs)
        stage, mixtures = session.stage("DEC"), session.stage("GMM").path / MIXTURE
        inputs = session.gmm_inputs | settings.affecting("dec", "result")
        inputs["run.precision"] = session.precision
        inputs["GMM/model.npz"] = session.rank0(lambda: checksum(mixtures))
        done = session.is_done(stage, inputs)
        if not done:
            if settings.run.figures:
                require_package(settings.report.embedding)
            folder = session.stage("AEC").path
            aec = load_model(folder / MODEL, "AEC", session.file)
            samples, _ = session.load(aec.preparation, Split.load(folder / SPLIT).both)
            for _, chosen in combinations(settings, "dec"):
                _initial_mixture(session, chosen)  # one that was not fitted is an error
            session.begin(stage, inputs, settings)

            def train(chosen: Settings, folder: StageFolder) -> None:
                _refine(session, chosen, folder, aec, samples)

            results = RESULTS + cube_results(session)
            train_each(session, stage, inputs, train, results, "calinski_harabasz_data", 1)
    if not done and settings.run.figures and session.ranks.is_first:
        attempt("report", "the report could not be made", lambda: _report(settings))
    log_summary(session, stage)


def _report(settings: Settings) -> object:
    from ..report.make_report import write_report

    return write_report(settings.run_folder)


def _refine(
    session: Session, settings: Settings, stage: StageFolder, aec: TrainedModel, samples: SampleSet
) -> None:
    """Refine one network and write its folder."""
    torch.manual_seed(settings.run.seed)
    model = _initial_model(session, settings, aec)
    log.info(f"refining {len(model.clustering.centroids)} clusters on {len(samples):,} samples")
    refine(model, samples, settings.dec, session.context(stage))
    everything = session.whole_file(aec.preparation)
    encode_to(stage.path / LATENTS, model.encoder, everything, session.ranks)
    session.rank0(lambda: _label(session, settings, stage, aec, model, samples))


# ---- start --------------------------------------------------------------------------------------


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


def _initial_model(session: Session, settings: Settings, aec: TrainedModel) -> DEC:
    """A copy of the autoencoder, with the means of the mixture as centroids."""
    mixture = _initial_mixture(session, settings)
    metric = np.eye(mixture.means.shape[1])
    if settings.dec.latent_scale == "global":
        metric /= spread(open_rows(session.stage("GMM").path / LATENTS)) or 1.0
    elif settings.dec.latent_scale == "within":
        metric = whitening(mixture)
    centroids, metric = (torch.from_numpy(x).float() for x in (mixture.means, metric))
    model = DEC(copy.deepcopy(aec.model), ClusteringLayer(centroids, metric))
    return model.to(session.ranks.device)


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


# ---- results ------------------------------------------------------------------------------------


def _label(
    session: Session,
    settings: Settings,
    stage: StageFolder,
    aec: TrainedModel,
    model: DEC,
    samples: SampleSet,
) -> None:
    """Label every sample, compute the metrics, write the folder."""
    file, gmm, start = session.file, session.stage("GMM").path, _initial_mixture(session, settings)
    before, latents = open_rows(gmm / LATENTS), open_rows(stage.path / LATENTS)
    report_unusable(np.setdiff1d(np.arange(len(before)), usable_latents(latents)), len(before))
    final = choose_final_labels(settings, start, before, latents, model, session.stop)
    if not final.refined:
        model, latents = _initial_model(session, settings, aec), before
        with new_file(stage.path / LATENTS) as partial:
            shutil.copyfile(gmm / LATENTS, partial)
    n_clusters = len(start.weights)
    labelling = label_file(latents, final.posterior, n_clusters, file, stage.path, soft=SOFT)
    index, silhouettes = sampled_silhouettes(latents, labelling.labels, settings.run.seed)
    metrics = clustering_summary(labelling, silhouettes) | {
        "refined": final.refined,
        "neighbour_agreement": final.agreement[1],
        "neighbour_agreement_of_gmm": final.agreement[0],
        "label_change_from_gmm": _label_change(before, start, labelling),
        "calinski_harabasz_data": calinski_harabasz(samples, labelling.labels, n_clusters),
        **agreement(labelling.labels, file.labels()),
    }
    labels = "student"
    if final.mixture is not None:
        labels, metrics["temperature"] = "mixture", final.mixture.temperature
    path, key = stage.path / MODEL, session.fingerprint
    save_model(path, model, aec.preparation, aec.variance, file, key, labels=labels)
    _write_performance(session, stage, aec, labelling, index, silhouettes)
    mixture = final.mixture or mixture_of_clusters(latents, labelling)
    training_distribution(model, mixture, samples).save(stage.path / NOVELTY)
    draw(session, "dec_figures", stage, latents, labelling, settings)
    finish(session, stage, RESULTS + cube_results(session), metrics)


def _label_change(before: np.ndarray, mixture: Mixture, labelling: Labelling) -> float:
    """Fraction of samples whose label differs from that of the mixture; warns where it is large."""
    k = labelling.n_clusters
    blocks = (of_usable(block, mixture.posterior, k) for _, block in row_blocks(before))
    labels = np.concatenate([assign(block)[0] for block in blocks])
    both = (labels >= 0) & (labelling.labels >= 0)
    change = label_change(labels[both], labelling.labels[both])
    if change > MAX_LABEL_CHANGE:
        log.warning(
            f"refinement gave {change:.0%} of the samples another label than the mixture had: "
            "these are other clusters, not sharper ones, as happens where the data have no clear "
            "groups; compare the galleries of GMM and DEC before you use either, or lower "
            "dec.gamma"
        )
    return change


def _write_performance(
    session: Session,
    stage: StageFolder,
    aec: TrainedModel,
    labelling: Labelling,
    index: np.ndarray,
    silhouettes: np.ndarray,
) -> None:
    """Write a row for each cluster, and one for all samples.

    Silhouettes, and measures in data space, are those of the samples `index`.
    """
    labels, sizes = labelling.labels[index].astype(np.int64), labelling.sizes
    (space,) = deviations(session.file, aec.preparation, index, [labels])
    table = pandas.DataFrame({
        "label": [*range(len(sizes)), "all"],
        "size": [*sizes.tolist(), labelling.n_usable],
        "share": np.r_[sizes / labelling.n_usable, 1],
        "mean_probability": np.r_[labelling.mean_probability, labelling.overall_probability],
        "silhouette_latent": measure(silhouettes, labels, sizes).values,
        "mse_to_mean": measure(space.mse, labels, sizes).values,
        "inner_product_with_mean": measure(space.inner_product, labels, sizes).values,
    })  # fmt: skip
    text = table.to_csv(index=False, float_format="%.6g", na_rep="nan", lineterminator="\n")
    write_text(stage.path / PERFORMANCE, text)
