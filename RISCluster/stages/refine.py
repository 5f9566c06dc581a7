"""The DEC stage: refine encoder and centroids together, label every sample."""

import copy
import shutil
from functools import partial

import numpy as np
import pandas
import torch

from ..clustering.mixture import Mixture
from ..data.loading import SampleSet
from ..data.split import Split, subsample
from ..errors import DataError
from ..evaluation.mapping import require_package
from ..evaluation.metrics import agreement, clustering_summary, event_metrics, sampled_silhouettes
from ..evaluation.outliers import mixture_of_clusters, training_distribution
from ..evaluation.performance import calinski_harabasz, deviations, measure
from ..io import new_file, open_rows, row_blocks, write_text
from ..models.autoencoder import DEC, ClusteringLayer
from ..models.checkpoint import TrainedModel, load_model, save_model
from ..models.clustering import label_change
from ..runs.labels import Labelling, assign, label_file, of_usable
from ..runtime import log
from ..settings import Settings
from ..training.encode import MAX_FIXED_BYTES
from ..training.refine import refine
from .cluster import read_mixture
from .final_labels import choose_final_labels
from .session import Session, open_session

MAX_LABEL_CHANGE = 0.3  # fraction of the labels, above which there is a warning
MIN_VARIANCE = 0.02  # of the mean variance within clusters, added in every direction
RESULTS = ["model.pt", "last.pt", "history.csv", "labels.csv", "latent.npy", "novelty.npz"]
RESULTS += ["soft_assignments.npy", "cluster_performance.csv"]


def run_dec(settings: Settings) -> None:
    """Refine the run's autoencoder and centroids, label every sample, write ``DEC/``.

    Lists in [dec] are a sweep, of which the run with the highest Calinski-Harabasz index in data
    space is chosen: training can inflate a measure in latent space, not this one.
    """
    with open_session(settings, "DEC") as session:
        done = session.is_done()
        if not done:
            if settings.run.figures:
                require_package(settings.report.embedding)
            aec = load_model(session.run / "AEC/model.pt", "AEC", session.file)
            split = Split.load(session.run / "AEC/split.npz")
            samples, _ = session.load(aec.preparation, split.both)
            for one in session.combinations().values():
                _initial_mixture(one)  # one that was not fitted is an error
            session.begin()
            work = partial(_refine, aec=aec, samples=samples)
            session.train(work, RESULTS, max, "calinski_harabasz_data")
    if not done:
        session.write_report()
    session.log_summary()


def _refine(session: Session, aec: TrainedModel, samples: SampleSet) -> None:
    torch.manual_seed(session.settings.run.seed)
    model = _initial_model(session, aec)
    log.info(f"refining {len(model.clustering.centroids)} clusters on {len(samples):,} samples")
    # Those of every sample are the last latents of the GMM stage.
    fixed = None
    if aec.model.shape.fixed.total:
        fixed = open_rows(session.run / "GMM/latent.npy")[:, aec.model.shape.n_features :]
    of_training = None
    if fixed is not None and 4 * fixed.shape[1] * len(samples) < MAX_FIXED_BYTES:
        of_training = torch.tensor(fixed[samples.index], device=session.ranks.device)
    refine(model, samples, session.settings.dec, session.context, of_training)
    session.encode(model.encoder, aec.preparation, fixed)
    session.rank0(lambda: _label(session, aec, model, samples))


def _initial_mixture(session: Session) -> Mixture:
    """Mixture of `dec.n_clusters`, which has two clusters or more."""
    path = session.run / "GMM/model.npz"
    mixture = read_mixture(path, session.settings.dec.n_clusters)
    if len(mixture.weights) < 2:
        raise DataError(
            f"{path}: one cluster was selected, and refinement needs two or more; set "
            "dec.n_clusters to a number that was fitted, or gmm.select to another criterion"
        )
    return mixture


def _initial_model(session: Session, aec: TrainedModel) -> DEC:
    """A copy of the autoencoder, with the means of the mixture as centroids."""
    mixture, scale = _initial_mixture(session), session.settings.dec.latent_scale
    metric = np.eye(mixture.means.shape[1])
    if scale == "global":
        latents = open_rows(session.run / "GMM/latent.npy")
        n = session.settings.gmm.fit_samples or len(latents)
        drawn = latents[subsample(len(latents), n, session.settings.run.seed)]
        metric /= np.sqrt(np.nanvar(drawn, axis=0, dtype=np.float64).mean()) or 1.0
    elif scale == "within":
        metric = whitening(mixture)
    centroids, metric = (torch.from_numpy(x).float() for x in (mixture.means, metric))
    model = DEC(copy.deepcopy(aec.model), ClusteringLayer(centroids, metric))
    return model.to(session.ranks.device)


def whitening(mixture: Mixture) -> np.ndarray:
    """Matrix (D, D) that gives the clusters of a mixture the same variance in all directions.

    The mean square distance from the centroid becomes 1, the scale of the Student's t.
    """
    within = np.einsum("k,kij->ij", mixture.weights, mixture.covariances)
    d = len(within)
    floor = MIN_VARIANCE * np.trace(within) / d or 1.0
    variances, axes = np.linalg.eigh(within + floor * np.eye(d))
    return (axes / np.sqrt(d * variances)) @ axes.T


def _label(session: Session, aec: TrainedModel, model: DEC, samples: SampleSet) -> None:
    """Label every sample, compute the metrics, write the folder."""
    file, start = session.file, _initial_mixture(session)
    paths = session.run / "GMM/latent.npy", session.path / "latent.npy"
    before, latents = map(open_rows, paths)
    final = choose_final_labels(session, start, before, latents, model)
    if not final.refined:
        model, latents = _initial_model(session, aec), before
        with new_file(paths[1]) as partial_path:
            shutil.copyfile(paths[0], partial_path)
    k, soft = len(start.weights), "soft_assignments.npy"
    labelling = label_file(latents, final.posterior, k, file, session.path, soft)
    labels, mixture = labelling.labels, final.mixture
    sampled = sampled_silhouettes(latents, labels, session.settings.run.seed)
    metrics = clustering_summary(labelling, sampled[1]) | {
        "refined": final.refined,
        "neighbour_agreement": final.agreement[1],
        "neighbour_agreement_of_gmm": final.agreement[0],
        "label_change_from_gmm": _label_change(before, start, labels),
        "calinski_harabasz_data": calinski_harabasz(samples, labels, k),
        **event_metrics(file, labels, session.settings.run.seed),
        **agreement(labels, file.labels()),
        **({} if mixture is None else {"temperature": mixture.temperature}),
    }
    about = aec.preparation, aec.variance, file, session.fingerprint
    save_model(session.path / "model.pt", model, *about, labels="mixture" if mixture else "student")
    table = _performance(session, aec, labelling, *sampled)
    text = table.to_csv(index=False, float_format="%.6g", na_rep="nan", lineterminator="\n")
    write_text(session.path / "cluster_performance.csv", text)
    mixture = mixture or mixture_of_clusters(latents, labelling)
    training_distribution(model, mixture, samples).save(session.path / "novelty.npz")
    session.draw(metrics)
    session.finish(RESULTS, metrics)


def _label_change(before: np.ndarray, mixture: Mixture, labels: np.ndarray) -> float:
    """Fraction of labels that differ from those of the mixture; warns where it is large."""
    k = len(mixture.weights)
    blocks = (of_usable(block, mixture.posterior, k) for _, block in row_blocks(before))
    old = np.concatenate([assign(block)[0] for block in blocks])
    both = (old >= 0) & (labels >= 0)
    change = label_change(old[both], labels[both])
    if change > MAX_LABEL_CHANGE:
        log.warning(
            f"refinement gave {change:.0%} of the samples another label, as happens where the data "
            "have no clear groups; compare the galleries of GMM and DEC, or lower dec.gamma"
        )
    return change


def _performance(
    session: Session, aec: TrainedModel, labelling: Labelling, index: np.ndarray, scores: np.ndarray
) -> pandas.DataFrame:
    """A row for each cluster, and one for all; scores are silhouettes of the samples `index`."""
    labels, sizes, n = labelling.labels[index].astype(np.int64), labelling.sizes, labelling.n_usable
    [(_, space)] = deviations(session.file, aec.preparation, index, [(labels, len(sizes))])
    values = {"silhouette_latent": scores, "mse_to_mean": space["mse"].to_numpy()}
    values["inner_product_with_mean"] = space["inner_product"].to_numpy()
    return pandas.DataFrame({
        "label": [*range(len(sizes)), "all"],
        "size": [*sizes.tolist(), n],
        "share": np.r_[sizes / n, 1],
        "mean_probability": np.r_[labelling.mean_probability, labelling.overall_probability],
        **{name: measure(x, labels, len(sizes)).values for name, x in values.items()},
    })  # fmt: skip
