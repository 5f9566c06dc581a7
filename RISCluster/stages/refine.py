"""The DEC stage: refine encoder and centroids together, label every sample."""

import copy
import math
import shutil
from functools import partial

import numpy as np
import torch

from ..clustering.fit import choose_final_labels
from ..clustering.mixture import Mixture
from ..data.loading import SampleSet
from ..data.sets import Split
from ..evaluation.metrics import label_metrics
from ..evaluation.performance import calinski_harabasz, write_performance
from ..evaluation.samples import mixture_of_clusters, require_package, training_distribution
from ..io import new_file, open_rows, row_blocks
from ..models.assignment import label_change
from ..models.autoencoder import DEC, ClusteringLayer
from ..models.checkpoint import TrainedModel, load_model, save_model
from ..runs.labels import assign, label_file
from ..runtime import log
from ..settings import Settings
from ..training.encode import MAX_FIXED_BYTES
from ..training.refine import refine
from .cluster import read_mixture, read_votes
from .session import Session, open_session, warn
from .sweep import combinations, run_sweep

RESULTS = ["model.pt", "last.pt", "history.csv", "labels.csv", "latent.npy", "novelty.npz"]
RESULTS += ["soft_assignments.npy", "cluster_performance.csv"]


def run_dec(settings: Settings) -> None:
    """Refine the run's autoencoder and centroids, label every sample, write ``DEC/``.

    Of a sweep the run with the highest Calinski-Harabasz index in data space is chosen: training
    can inflate a measure in latent space, not this one.
    """
    with open_session(settings, "DEC") as session:
        if not session.is_done():
            if settings.run.figures:
                require_package(settings.report.embedding)
            aec = load_model(session.run / "AEC/model.pt", "AEC", session.file)
            split = Split.load(session.run / "AEC/split.npz")
            samples, _ = session.load(aec.preparation, split.both)
            for one in combinations(session).values():
                _initial_mixture(one)  # one that was not fitted is an error
            session.begin()
            work = partial(_refine, aec=aec, samples=samples)
            run_sweep(session, work, RESULTS, max, "calinski_harabasz_data")
    if settings.run.figures and session.ranks.is_first and session.is_new:
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
        metric = torch.from_numpy(mixture.whitening()).float()
    clustering = ClusteringLayer(torch.from_numpy(mixture.means).float(), metric)
    return DEC(copy.deepcopy(aec.model), clustering).to(session.ranks.device)


def _label(session: Session, aec: TrainedModel, model: DEC, samples: SampleSet) -> None:
    """Label every sample, compute the metrics, write the folder."""
    file, path, start = session.file, session.path, _initial_mixture(session)
    before, latents = open_rows(session.run / "GMM/latent.npy"), open_rows(path / "latent.npy")
    votes = read_votes(session.run / "GMM/model.npz", k := len(start.weights))
    labeller, agreement = choose_final_labels(
        start, model, before, latents, session.settings, seed := session.seed, votes
    )
    if labeller is start:
        model, latents = _initial_model(session, aec), before
        with new_file(path / "latent.npy") as partial_path:
            shutil.copyfile(session.run / "GMM/latent.npy", partial_path)
    labelling = label_file(latents, labeller.posterior, k, file, path, "soft_assignments.npy")
    labels, usable = labelling.labels, labelling.labels >= 0
    measured, scores = label_metrics(file, latents, labelling, seed)
    old = [assign(x, start.posterior, k)[0].astype("i2") for _, x in row_blocks(before)]
    metrics = scores | {
        "refined": labeller is not start,
        "neighbour_agreement": agreement[1],
        "neighbour_agreement_of_gmm": agreement[0],
        "label_change_from_gmm": label_change(np.concatenate(old)[usable], labels[usable]),
        "calinski_harabasz_data": calinski_harabasz(samples, labels, math.prod(file.shape)),
        "tol": session.settings.dec.tol,
    }
    if is_mixture := isinstance(labeller, Mixture):
        metrics |= {"temperature": labeller.temperature, "smoothing": labeller.smoothing}
    about = aec.preparation, aec.variance, file, session.fingerprint
    labels_by = "mixture" if is_mixture else "student"
    save_model(path / "model.pt", model, *about, labels=labels_by)
    table = path / "cluster_performance.csv"
    write_performance(table, file, aec.preparation, labelling, *measured)
    mixture = labeller if is_mixture else mixture_of_clusters(latents, labelling)
    training_distribution(model, mixture, samples).save(path / "novelty.npz")
    session.finish(RESULTS, metrics)
