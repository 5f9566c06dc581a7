"""Deep embedded clustering: encoder, decoder and centroids refined together.

Letters: n samples of the training set, K clusters.
"""

from dataclasses import dataclass, field

import torch

from ..data.loading import SampleSet
from ..models.assignment import kl_divergence, label_change, target_distribution
from ..models.autoencoder import DEC
from ..runtime import log
from ..settings import DecSettings
from .common import Context, Training, summed_error
from .encode import encode

COLUMNS = ("epoch", "mse", "kl", "loss", "label_change", "learning_rate")
COLUMNS += ("seconds", "samples_per_second")


@dataclass
class Refinement:
    """Result of refinement so far."""

    target: torch.Tensor | None = None  # (n, K); target distribution p
    labels: torch.Tensor | None = None  # (n,); most probable cluster at the last refresh of p
    changes: list[float] = field(default_factory=list)  # of labels, at each refresh but the first
    history: list[tuple[float, ...]] = field(default_factory=list)  # a row for each epoch


def refine(
    model: DEC, samples: SampleSet, settings: DecSettings, context: Context,
    fixed: torch.Tensor | None = None,
) -> Refinement:  # fmt: skip
    """Minimise MSE + gamma * KL(p || q) per sample (Xie et al. 2016; Jenkins et al. 2021).

    The target p is that of the whole training set, refreshed `updates_per_epoch` times an epoch
    and looked up by position. Training ends when the label change between two refreshes is below
    `tol`. `fixed` (n, P), on the device, are fixed features that were computed before.
    """
    losses = ("loss", "mse", "kl")
    training = Training(model, samples, settings, context, losses, COLUMNS, Refinement())
    if training.resume() and training.result.target is not None:
        training.result.target = training.result.target.to(context.ranks.device)
    n_updates = settings.updates_per_epoch
    refreshes = {update * training.n_steps // n_updates for update in range(n_updates)}
    while training.running:
        for positions, x, n in training.batches():
            if training.step in refreshes:
                _refresh(training, fixed)
                if training.stop_reason:
                    break
            training.optimizer.zero_grad(set_to_none=True)
            with context.autocast():
                z = model.encoder(x, None if fixed is None else fixed[positions])
                mse = summed_error(model.decoder(z), x)
            # In single precision, as the target.
            kl = kl_divergence(training.result.target[positions], model.clustering(z))
            loss = mse + settings.gamma * kl
            (loss / n).backward()
            training.optimizer_step(loss, mse, kl)
        if not training.step:
            continue  # stopped at the first refresh
        means, changes = training.epoch_means(), training.result.changes
        change = changes[-1] if changes else float("nan")
        changed = f"label change {change:.3%}, " if changes else ""
        log.info(
            f"DEC epoch {training.epoch + 1}: mse {means['mse']:.4g}, kl {means['kl']:.4g}, loss "
            f"{means['loss']:.4g}, {changed}{means['samples_per_second']:,.0f} samples/s"
        )
        training.end_epoch(label_change=change, learning_rate=training.rate, **means)
    training.end()
    return training.result


def _refresh(training: Training, fixed: torch.Tensor | None) -> None:
    """Renew target and labels; end the training where few labels have changed."""
    model, ranks, result = training.model, training.context.ranks, training.result
    z = encode(model.encoder, training.samples, ranks, fixed)
    with torch.no_grad():
        q = torch.cat([model.clustering(part) for part in z.split(8192)])
        result.target = target_distribution(q)
    labels = q.argmax(1).cpu()
    if result.labels is not None:
        change = ranks.broadcast(label_change(result.labels.numpy(), labels.numpy()))
        result.changes.append(change)
        if change < training.settings.tol:
            training.stop_reason = "tol"
    result.labels = labels
