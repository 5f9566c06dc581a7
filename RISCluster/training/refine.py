"""Deep embedded clustering: encoder, decoder and centroids refined together.

Letters: n samples of the training set, D latent features, K clusters.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from ..data.loading import SampleSet
from ..models.autoencoder import DEC
from ..models.clustering import kl_divergence, label_change, target_distribution
from ..runtime import log
from ..settings import DecSettings
from .common import (
    Context,
    Training,
    autocast,
    batches,
    end_epoch,
    epoch_means,
    epoch_progress,
    load_state,
    log_end,
    open_history,
    optimizer_step,
    stop_if_requested,
    summed_error,
)
from .encode import encode

HEADER = ("epoch", "mse", "kl", "loss", "label_change", "learning_rate")
HEADER += ("seconds", "samples_per_second")


@dataclass
class Refinement:
    """Result of refinement so far.

    Attributes
    ----------
    target : Tensor, (n, K), or None
        Target distribution p.
    labels : Tensor, (n,), or None
        Most probable cluster of each sample at the last refresh of the target.
    changes : list of float
        Fraction of changed labels at each refresh but the first.
    empty : list of int
        Clusters without a member at the last refresh.
    """

    target: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    changes: list[float] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)


def refine(model: DEC, samples: SampleSet, settings: DecSettings, context: Context) -> Refinement:
    """Minimise MSE + gamma * KL(p || q) / batch size (Xie et al. 2016; Jenkins et al. 2021).

    The target p is that of the whole training set, refreshed `updates_per_epoch` times an epoch
    and looked up by position. Training ends when the label change between two refreshes is below
    `tol`. It resumes from the saved state where there is one.

    Parameters
    ----------
    model : DEC
        Trained in place.
    samples : SampleSet
    settings : DecSettings
        Without lists.
    context : Context

    Raises
    ------
    Stopped
        On a signal; the state is saved.
    TrainingError
        The loss is not finite; the state of the last good epoch is kept.
    """
    training, result = Training("DEC", model, samples, settings, context), Refinement()
    state = load_state(training)
    if state is not None:
        result = Refinement(**{name: state[name] for name in vars(result)})
        if result.target is not None:
            result.target = result.target.to(context.ranks.device)
    n_updates = settings.updates_per_epoch
    refreshes = {update * training.n_steps // n_updates for update in range(n_updates)}
    with open_history(training, HEADER) as write_row:
        while training.running:
            with epoch_progress(training) as progress:
                for positions, x, n in batches(training):
                    if training.step in refreshes:
                        _refresh(training, result)
                        if training.stop_reason:
                            break
                    training.optimizer.zero_grad(set_to_none=True)
                    with autocast(context):
                        z = model.encoder(x)
                        mse = summed_error(model.decoder(z), x)
                        q = model.clustering(z.float())
                        kl = kl_divergence(result.target[positions], q)
                        loss = mse + settings.gamma * kl
                    (loss / n).backward()
                    losses = {"loss": loss, "mse": mse, "kl": kl}
                    progress.add(n, **optimizer_step(training, losses, positions))
                    stop_if_requested(training, vars(result))
            means = epoch_means(training)
            if means:
                training.epoch += 1
                write_row(_row(training, means, result.changes))
            end_epoch(training, vars(result))
    log_end(training)
    return result


def _refresh(training: Training, result: Refinement) -> None:
    """Renew target and labels; end the training where few labels have changed."""
    model, ranks = training.model, training.context.ranks
    latents = encode(model.encoder, training.samples, ranks, what="")
    with torch.no_grad():
        z = torch.from_numpy(latents).to(ranks.device)
        q = torch.cat([model.clustering(part) for part in z.split(8192)])
        result.target = target_distribution(q)
    labels = q.argmax(1).cpu()
    _warn_of_empty_clusters(training, result, labels.numpy())
    if result.labels is not None:
        change = ranks.broadcast(label_change(result.labels.numpy(), labels.numpy()))
        result.changes.append(change)
        if change < training.settings.tol:
            training.stop_reason = f"{change:.3%} of the labels changed, less than tol"
    result.labels = labels


def _warn_of_empty_clusters(training: Training, result: Refinement, labels: np.ndarray) -> None:
    n_clusters = len(training.model.clustering.centroids)
    empty = np.flatnonzero(np.bincount(labels, minlength=n_clusters) == 0).tolist()
    new = sorted(set(empty) - set(result.empty))
    if new:
        log.warning(
            f"empty since epoch {training.epoch + 1}: cluster {', '.join(map(str, new))}; no "
            "sample is nearest to the centroid; fewer clusters or a smaller gamma may suit "
            "the data"
        )
    result.empty = empty


def _row(training: Training, means: dict[str, float], changes: list[float]) -> tuple[float, ...]:
    """Log the epoch; its row of the history."""
    changed = f"label change {changes[-1]:.3%}, " if changes else ""
    log.info(
        f"DEC epoch {training.epoch}: mse {means['mse']:.4g}, kl {means['kl']:.4g}, loss "
        f"{means['loss']:.4g}, {changed}{means['samples_per_second']:,.0f} samples/s"
    )
    change = changes[-1] if changes else float("nan")
    losses = means["mse"], means["kl"], means["loss"], change
    speed = means["seconds"], means["samples_per_second"]
    return training.epoch, *losses, training.learning_rate, *speed
