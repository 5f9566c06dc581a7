"""The DEC stage: refine encoder and centroids together, label every sample."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..arrays import RowsArray
from ..clustering.mixture import Mixture
from ..data.loading import SampleSet, Split
from ..data.spectrograms import SpectrogramFile
from ..data.transforms import Preparation
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
from ..io import save_checkpoint, write_csv
from ..models.autoencoder import AEC, DEC, ClusteringLayer
from ..models.reference import load_weights
from ..progress import count, log
from ..run_folder import StageFolder
from ..runs.labels import Labelling, label_file
from ..settings import Settings
from ..training.common import HISTORY, STATE
from ..training.encode import encode_to
from ..training.refine import DecTrainer
from .closing import say_end
from .cluster import built_on_aec, maps, read_mixture, report_unusable_latents, whole_file
from .final_labels import judge
from .session import (
    LABELS,
    LATENTS,
    MIXTURE,
    MODEL,
    NOVELTY,
    SPLIT,
    Session,
    checksum,
    draw,
    finish,
    load_aec,
    model_content,
    open_session,
)
from .sweep import Sweep, run_combinations

SOFT = "soft_assignments.npy"
PERFORMANCE = "cluster_performance.csv"
MUCH_MOVED = 0.3  # share of labels
NARROWEST = 0.02  # of the mean variance within clusters, added: directions without any count less
RESULTS = [MODEL, STATE, HISTORY, LABELS, LATENTS, SOFT, PERFORMANCE, NOVELTY]


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
    with open_session(settings, "DEC") as session:
        _require_earlier_stages(session)
        stage = session.stage("DEC")
        depends = _depends(session)
        if session.is_done(stage, depends):
            say_end(session, stage)
            return
        if settings.run.figures:
            require_package(settings.report.embedding)
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
            Sweep("dec", "calinski_harabasz_data", RESULTS + maps(session), largest=True),
        )
    if settings.run.figures and session.ranks.is_first:
        _report(settings.run_folder)
    say_end(session, stage)


def _report(run_folder: Path) -> None:
    """The page about the run, after its stages; whatever goes wrong is said and spoils nothing."""
    try:
        from ..report.make_report import write_report

        path = write_report(run_folder)
    except Exception as error:  # a report is a leaf: the results are already safe
        log.warning(f"the report could not be made: {type(error).__name__}: {error}")
        return
    log.info(f"report: {path}")


def _require_earlier_stages(session: Session) -> None:
    session.require_match("AEC", session.data_key | session.network_key)
    session.require_match("GMM", built_on_aec(session))


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
    log.info(f"refining {len(model.clustering.centroids)} clusters on {len(samples):,} samples")
    trainer.run()
    log.info(f"stopped after {count(trainer.epoch, 'epoch')}: {trainer.why}")
    everything = whole_file(session, preparation)
    encode_to(stage.path / LATENTS, model.encoder, everything, session.ranks)
    content = model_content(model, preparation, variance, session)
    session.on_first(lambda: _label(session, settings, stage, model, content, samples))


def _start(session: Session, settings: Settings, aec: AEC) -> DEC:
    """DEC model at the mixture's means."""
    mixture = _mixture(session, settings)
    metric = np.eye(mixture.means.shape[1])
    if settings.dec.latent_scale == "global":
        metric /= spread(RowsArray(session.stage("GMM").path / LATENTS)) or 1.0
    elif settings.dec.latent_scale == "within":
        metric = whitening(mixture)
    return DEC(
        aec,
        ClusteringLayer(torch.from_numpy(mixture.means).float(), torch.from_numpy(metric).float()),
    )


def whitening(mixture: Mixture) -> np.ndarray:
    """Matrix (D, D) that makes latents of a mixture's clusters spread alike in all directions.

    With it, a sample's mean square distance from its centroid is 1, whatever D is, so that the
    Student's t of unit scale (Xie et al. 2016) suits it.
    """
    within = np.einsum("k,kij->ij", mixture.weights, mixture.covariances)
    d = len(within)
    floor = NARROWEST * np.trace(within) / d or 1.0
    variances, axes = np.linalg.eigh(within + floor * np.eye(d))
    return (axes / np.sqrt(d * variances)) @ axes.T


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


def spread(latents: RowsArray) -> float:
    """Root mean square distance of latents from their mean, over features; double precision."""
    total, squares, n = 0.0, 0.0, 0
    for centred in (False, True):  # the mean first: the sum of squares alone loses digits
        mean = total / max(n, 1) if centred else 0.0
        for _, block in latents.blocks():
            known = block[~np.isnan(block[:, 0])].astype(np.float64)
            if centred:
                squares += np.square(known - mean).sum()
            else:
                total, n = total + known.sum(0), n + len(known)
    return float(np.sqrt(squares / max(1, n * latents.shape[1])))


def _label(
    session: Session,
    settings: Settings,
    stage: StageFolder,
    model: DEC,
    content: dict[str, Any],
    samples: SampleSet,
) -> None:
    """Score, write and draw the result of one combination."""
    latents = RowsArray(stage.path / LATENTS)
    report_unusable_latents(latents)
    n_clusters = len(model.clustering.centroids)
    outcome = judge(settings, session.stage("GMM"), stage, model, session.stop)
    latents = RowsArray(stage.path / LATENTS)
    labelling = label_file(
        latents, outcome.posterior, n_clusters, session.file, stage.path, soft=SOFT
    )
    scored = sampled_silhouettes(latents, labelling.labels, settings.run.seed)
    metrics = clustering_summary(labelling, scored[1])
    metrics |= outcome.metrics()
    metrics["label_change_from_gmm"] = _change_from_mixture(session, labelling)
    metrics |= agreement(labelling.labels, session.file.labels())
    metrics["calinski_harabasz_data"] = calinski_harabasz(samples, labelling.labels, n_clusters)
    _warn_if_moved(metrics["label_change_from_gmm"])
    if not outcome.refined:
        aec, _, _ = load_aec(session.stage("AEC").path / MODEL, session.file)
        content["state"] = _start(session, settings, aec).state_dict()
    content["labels"] = "student" if outcome.mixture is None else "mixture"
    save_checkpoint(stage.path / MODEL, "DEC model", content)
    preparation = Preparation(**content["preparation"])
    _write_performance(stage.path / PERFORMANCE, session.file, preparation, labelling, scored)
    mixture = outcome.mixture or mixture_of_clusters(latents, labelling)
    load_weights(model, content["state"], str(stage.path))
    training_distribution(model, mixture, samples).save(stage.path / NOVELTY)
    centroids = model.clustering.as_latents().cpu().numpy()
    if outcome.mixture is not None:
        centroids = outcome.mixture.means
    draw(
        settings.run.figures,
        lambda: _figures(session, settings, stage, latents, labelling, centroids),
    )
    finish(stage, RESULTS + maps(session), metrics, session)


def _change_from_mixture(session: Session, labelling: Labelling) -> float:
    """Share of samples whose label is another one than the mixture of as many clusters gave."""
    gmm = session.stage("GMM").path
    mixture = read_mixture(gmm / MIXTURE, labelling.n_clusters)
    changed, n = 0, 0
    for start, block in RowsArray(gmm / LATENTS).blocks():
        now = labelling.labels[start : start + len(block)]
        both = ~np.isnan(block[:, 0]) & (now >= 0)
        if both.any():
            changed += int((mixture.posterior(block[both]).argmax(1) != now[both]).sum())
            n += int(both.sum())
    return changed / max(1, n)


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
    file: SpectrogramFile,
    preparation: Preparation,
    labelling: Labelling,
    scored: tuple[np.ndarray, np.ndarray],
) -> None:
    """A row a cluster, and one of all: see the header.

    Measures in data space are those of the report, of the same samples; see `deviations`.
    """
    index, scores = scored
    labels, sizes = labelling.labels[index].astype(np.int64), labelling.sizes
    (space,) = deviations(file, preparation, index, [labels])
    columns = {
        "label": [*range(len(sizes)), "all"],
        "size": [*sizes.tolist(), labelling.n_usable],
        "share": np.r_[sizes / labelling.n_usable, 1],
        "mean_probability": np.r_[labelling.mean_probability, labelling.overall_probability],
        "silhouette_latent": measure(scores, labels, sizes).values,
        "mse_to_mean": measure(space.mse, labels, sizes).values,
        "inner_product_with_mean": measure(space.inner_product, labels, sizes).values,
    }
    rows = [
        [label, size, *(f"{value:.6g}" for value in values)]
        for label, size, *values in zip(*columns.values(), strict=True)
    ]
    write_csv(path, tuple(columns), rows)


def _figures(
    session: Session,
    settings: Settings,
    stage: StageFolder,
    latents: RowsArray,
    labelling: Labelling,
    centroids: np.ndarray,
) -> list[Path]:
    from ..plots.stage_figures import dec_figures

    return dec_figures(session.file, stage, latents, labelling, centroids, settings)
