"""The DEC stage: refine encoder and centroids together, label every sample."""

import copy
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pandas
import torch

from ..clustering import initialisation
from ..clustering.fit import labellings, resamples, temperature
from ..clustering.mixture import Mixture, fit_mixture
from ..data.loading import SampleSet
from ..data.sets import Split, subsample
from ..evaluation.performance import calinski_harabasz, deviations, measure
from ..evaluation.samples import mixture_of_clusters, require_package, training_distribution
from ..io import new_file, open_rows, row_blocks, write_text
from ..models.assignment import label_change
from ..models.autoencoder import DEC, ClusteringLayer
from ..models.checkpoint import TrainedModel, load_model, save_model
from ..runs.labels import Posterior, assign, label_file
from ..runtime import log
from ..settings import Settings
from ..training.encode import MAX_FIXED_BYTES
from ..training.refine import refine
from .cluster import read_mixture
from .session import Session, open_session, warn

MIN_VARIANCE = 0.02  # of the mean variance within clusters, added in every direction
# Decrease of neighbour agreement up to which refinement is accepted: on labelled sets, small
# decreases came with better clusters, larger ones with worse.
AGREEMENT_TOLERANCE = 0.015

RESULTS = ["model.pt", "last.pt", "history.csv", "labels.csv", "latent.npy", "novelty.npz"]
RESULTS += ["soft_assignments.npy", "cluster_performance.csv"]


def run_dec(settings: Settings) -> None:
    """Refine the run's autoencoder and centroids, label every sample, write ``DEC/``.

    Lists in [dec] are a sweep, of which the run with the highest Calinski-Harabasz index in data
    space is chosen: training can inflate a measure in latent space, not this one.
    """
    with open_session(settings, "DEC") as session:
        if not (done := session.is_done()):
            if settings.run.figures:
                require_package(settings.report.embedding)
            aec = load_model(session.run / "AEC/model.pt", "AEC", session.file)
            split = Split.load(session.run / "AEC/split.npz")
            samples, _ = session.load(aec.preparation, split.both)
            for combination in session.combinations().values():
                _initial_mixture(combination)  # one that was not fitted is an error
            session.begin()
            work = partial(_refine, aec=aec, samples=samples)
            session.train(work, RESULTS, max, "calinski_harabasz_data")
    if settings.run.figures and session.ranks.is_first and not done:
        with warn("the report"):
            from ..report.make_report import write_report

            log.info(f"report: {write_report(session.run)}")
    session.log_summary()


def _refine(session: Session, aec: TrainedModel, samples: SampleSet) -> None:
    torch.manual_seed(session.seed)
    model = _initial_model(session, aec)
    log.info(f"refining {len(model.clustering.centroids)} clusters on {len(samples):,} samples")
    fixed = open_rows(session.run / "GMM/latent.npy")[:, aec.model.shape.n_features :]
    of_training = None
    if 4 * fixed.shape[1] * len(samples) < MAX_FIXED_BYTES:
        of_training = torch.tensor(fixed[samples.index], device=session.ranks.device)
    refine(model, samples, session.settings.dec, session.context, of_training)
    session.encode(model.encoder, aec.preparation, fixed)
    session.ranks.rank0(lambda: _label(session, aec, model, samples))


def _initial_mixture(session: Session) -> Mixture:
    return read_mixture(session.run / "GMM/model.npz", session.settings.dec.n_clusters)


def _initial_model(session: Session, aec: TrainedModel) -> DEC:
    """A copy of the autoencoder, with the means of the mixture as centroids."""
    mixture, metric = _initial_mixture(session), None
    if session.settings.dec.latent_scale == "within":
        metric = torch.from_numpy(whitening(mixture)).float()
    clustering = ClusteringLayer(torch.from_numpy(mixture.means).float(), metric)
    return DEC(copy.deepcopy(aec.model), clustering).to(session.ranks.device)


def whitening(mixture: Mixture) -> np.ndarray:
    """Matrix (D, D) that gives the clusters of a mixture the same variance in all directions.

    The mean square distance from the centroid becomes 1, the scale of the Student's t.
    """
    within = np.einsum("k,kij->ij", mixture.weights, mixture.covariances)
    d = len(within)
    floor = MIN_VARIANCE * np.trace(within) / d or 1.0
    variances, axes = np.linalg.eigh(within + floor * np.eye(d))
    return (axes / np.sqrt(d * variances)) @ axes.T


def soft_assignment(model: DEC) -> Posterior:
    """The soft assignment q as a function of latents, at constant memory."""

    @torch.inference_mode()
    def q(latents: np.ndarray) -> np.ndarray:
        z = torch.from_numpy(latents).to(model.clustering.centroids.device)
        return np.concatenate([model.clustering(part).cpu().numpy() for part in z.split(8192)])

    return q


def _label(session: Session, aec: TrainedModel, model: DEC, samples: SampleSet) -> None:
    """Label every sample, compute the metrics, write the folder."""
    file, path, start = session.file, session.path, _initial_mixture(session)
    before, latents = open_rows(session.run / "GMM/latent.npy"), open_rows(path / "latent.npy")
    mixture, agreement = choose_final_labels(session, start, before, latents, model)
    posterior = mixture.posterior if mixture else soft_assignment(model)
    if mixture is start:
        model, latents = _initial_model(session, aec), before
        with new_file(path / "latent.npy") as partial_path:
            shutil.copyfile(session.run / "GMM/latent.npy", partial_path)
    k = len(start.weights)
    labelling = label_file(latents, posterior, k, file, path, "soft_assignments.npy")
    labels = labelling.labels
    (index, silhouettes), scores = session.scores(latents, labelling)
    old = [assign(block, start.posterior, k)[0] for _, block in row_blocks(before)]
    old, usable = np.concatenate(old), labels >= 0
    metrics = scores | {
        "refined": mixture is not start,
        "neighbour_agreement": agreement[1],
        "neighbour_agreement_of_gmm": agreement[0],
        "label_change_from_gmm": label_change(old[usable], labels[usable]),
        "calinski_harabasz_data": calinski_harabasz(samples, labels, k),
        **({} if mixture is None else {"temperature": mixture.temperature}),
    }
    about = aec.preparation, aec.variance, file, session.fingerprint
    save_model(path / "model.pt", model, *about, labels="mixture" if mixture else "student")
    measured, sizes = labels[index].astype(np.int64), labelling.sizes
    [(_, space)] = deviations(file, aec.preparation, index, [(measured, k)])
    values = {"silhouette_latent": silhouettes, "mse_to_mean": space["mse"].to_numpy()}
    values["inner_product_with_mean"] = space["inner_product"].to_numpy()
    table = pandas.DataFrame({  # a row for each cluster, and one for all
        "label": [*range(k), "all"],
        "size": [*sizes.tolist(), labelling.n_usable],
        "share": np.r_[sizes / labelling.n_usable, 1],
        "mean_probability": np.r_[labelling.mean_probability, labelling.overall_probability],
        **{name: measure(x, measured, k) for name, x in values.items()},
    })  # fmt: skip
    text = table.to_csv(index=False, float_format="%.6g", na_rep="nan", lineterminator="\n")
    write_text(path / "cluster_performance.csv", text)
    mixture = mixture or mixture_of_clusters(latents, labelling)
    training_distribution(model, mixture, samples).save(path / "novelty.npz")
    session.finish(RESULTS, metrics)


def choose_final_labels(
    session: Session, start: Mixture, before: np.ndarray, refined: np.ndarray, model: DEC
) -> tuple[Mixture | None, tuple[float, float]]:
    """Mixture that labels the samples, and neighbour agreement before and after refinement.

    One of three: `start`, the mixture of the GMM stage, where refinement is rejected, because it
    separates clearly more neighbours in the latent space of the autoencoder, which refinement does
    not change; None, which stands for the soft assignment (``dec.labels = student``); or a mixture
    fitted to the refined latents. `before` and `refined` are latents (N, D).
    """
    gmm, dec, k, seed = session.settings.gmm, session.settings.dec, len(start.weights), session.seed
    usable = np.flatnonzero(~np.isnan(refined[:, 0]))
    fitted = usable[subsample(len(usable), gmm.fit_samples or len(usable), seed)]
    old, new = (latents[fitted].astype(np.float64) for latents in (before, refined))
    posterior = soft_assignment(model)
    if dec.labels == "mixture":
        # Not from the soft assignment: a Student's t of one scale assigns samples at the borders
        # of large clusters to small ones.
        labels, steps = start.posterior(old).argmax(1), initialisation.EM_STEPS
        mixture = fit_mixture(new, labels, k, gmm.covariance_shrinkage, steps)
        posterior = mixture.posterior
    drawn = usable[subsample(len(usable), initialisation.MAX_TREE_SIZE, seed)]
    nearest = initialisation.nearest_neighbours(before[drawn])
    labels = start.posterior(before[drawn]).argmax(1), posterior(refined[drawn]).argmax(1)
    agreement = tuple(initialisation.neighbour_agreement(each, nearest) for each in labels)
    log.info(
        "neighbours in the autoencoder's latent space share a cluster beyond chance: "
        f"{agreement[0]:.1%} by the mixture, {agreement[1]:.1%} as refined"
    )
    if dec.keep == "better" and agreement[1] < agreement[0] - AGREEMENT_TOLERANCE:
        log.warning(
            "refinement separates more nearest neighbours and is rejected: the labels are those of "
            "the mixture; dec.keep = refined takes the refined ones"
        )
        return start, (agreement[0], agreement[0])
    if dec.labels == "student":
        return None, agreement
    if gmm.n_resamples is not None:
        # Half-samples of the unrefined latents: refinement separates clusters whether they are
        # real or not, so those of refined latents would all have the same clusters.
        log.info(f"calibrating probabilities on {gmm.n_resamples} half-samples")
        blocks = model.shape.blocks if gmm.init == "consensus" else None
        halves = resamples(old, blocks, gmm.n_resamples, seed)
        votes = labellings(halves, k, gmm.n_init, seed, gmm.covariance_shrinkage)
        if votes is not None:
            mixture = replace(mixture, temperature=temperature(mixture, new[halves.index], votes))
    return mixture, agreement
