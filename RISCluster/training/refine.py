"""Deep embedded clustering: encoder, decoder and centroids refined together.

Letters: n samples of the training set, D latent features, K clusters.
"""

from typing import Any

import numpy as np
import torch

from ..data.loading import SampleSet
from ..models.autoencoder import DEC
from ..models.clustering import kl_divergence, label_change, target_distribution
from ..runtime import log
from ..settings import DecSettings
from .common import Context, Trainer, summed_error
from .encode import encode


class DecTrainer(Trainer):
    """Minimises MSE + gamma * KL(p || q) / batch size (Xie et al. 2016; Jenkins et al. 2021).

    The target p is that of the whole training set, refreshed `updates_per_epoch` times an epoch
    and looked up by position. Training ends when the share of labels that changed between two
    refreshes falls below `tol`.

    Parameters
    ----------
    model : DEC
    samples : SampleSet
    settings : DecSettings
        Without lists.
    context : Context

    Attributes
    ----------
    labels : ndarray, (n,)
        Most probable cluster of every sample at the last refresh.
    changes : list of float
        Share of changed labels at every refresh but the first.
    """

    kind = "DEC"
    header = (
        "epoch",
        "mse",
        "kl",
        "loss",
        "label_change",
        "learning_rate",
        "seconds",
        "samples_per_second",
    )

    def __init__(self, model: DEC, samples: SampleSet, settings: DecSettings, context: Context):
        super().__init__(model, samples, settings, context)
        self.target: torch.Tensor | None = None
        self.labels: np.ndarray | None = None
        self.changes: list[float] = []
        self.empty: list[int] = []

    def before_step(self) -> None:
        """Refresh the target where one is due."""
        due = {
            update * self.n_steps // self.settings.updates_per_epoch
            for update in range(self.settings.updates_per_epoch)
        }
        if self.step in due:
            self.refresh()

    def refresh(self) -> None:
        """Assign every sample, renew the target, and see whether labels still change."""
        latents = encode(self.model.encoder, self.samples, self.ranks, what="")
        with torch.no_grad():
            z = torch.from_numpy(latents).to(self.ranks.device)
            q = torch.cat([self.model.clustering(part) for part in z.split(8192)])
            self.target = target_distribution(q)
        labels = q.argmax(1).cpu().numpy()
        self._say_if_emptied(labels)
        if self.labels is not None:
            change = self.ranks.broadcast(label_change(self.labels, labels))
            self.changes.append(change)
            if change < self.settings.tol:
                self.finished = True
                self.why = f"{change:.3%} of the labels changed, less than tol"
        self.labels = labels

    def _say_if_emptied(self, labels: np.ndarray) -> None:
        n_clusters = len(self.model.clustering.centroids)
        empty = np.flatnonzero(np.bincount(labels, minlength=n_clusters) == 0).tolist()
        new = sorted(set(empty) - set(self.empty))
        if new:
            log.warning(
                f"empty since epoch {self.epoch + 1}: cluster {', '.join(map(str, new))}; no "
                "sample is nearest to the centroid; fewer clusters or a smaller gamma may suit "
                "the data"
            )
        self.empty = empty

    def losses(
        self, model: DEC, positions: torch.Tensor, x: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Both losses and what is minimised, each summed over samples."""
        z = model.encoder(x)
        reconstruction = model.decoder(z)
        mse = summed_error(reconstruction, x)
        kl = kl_divergence(self.target[positions], model.clustering(z.float()))
        return {"loss": mse + self.settings.gamma * kl, "mse": mse, "kl": kl}

    def after_epoch(self, mean: dict[str, float], seconds: float) -> tuple[Any, ...]:
        """The row of the history."""
        change = self.changes[-1] if self.changes else float("nan")
        changed = f"label change {change:.3%}, " if self.changes else ""
        rate = self.optimizer.param_groups[0]["lr"]
        log.info(
            f"DEC epoch {self.epoch + 1}: mse {mean['mse']:.4g}, kl {mean['kl']:.4g}, loss "
            f"{mean['loss']:.4g}, {changed}{mean['n'] / seconds:,.0f} samples/s"
        )
        speed = mean["n"] / seconds
        return mean["mse"], mean["kl"], mean["loss"], change, rate, seconds, speed

    def extra_state(self) -> dict[str, Any]:
        """Target, labels and label changes."""
        return {
            "target": None if self.target is None else self.target.cpu(),
            "labels": None if self.labels is None else torch.from_numpy(self.labels),
            "changes": self.changes,
            "empty": self.empty,
        }

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take them back."""
        if state["target"] is not None:
            self.target = state["target"].to(self.ranks.device)
            self.labels = state["labels"].numpy()
        self.changes, self.empty = state["changes"], state["empty"]
