"""Pretraining the autoencoder: Adam on the mean squared error, stopped by validation loss."""

import math
from typing import Any

import torch

from ..data.loading import SampleSet
from ..models.autoencoder import AEC
from ..runtime import log
from ..settings import AecSettings
from .common import Context, Trainer, summed_error
from .encode import mean_squared_error

# Until validation beats the mean spectrogram by this share, patience is not counted: networks
# sit on that plateau for tens of epochs on small sets, and then learn.
PLATEAU = 0.02
LONGEST_PLATEAU = 10  # times the patience, after which even a plateau ends the training


class AecTrainer(Trainer):
    """Trains an autoencoder and keeps the weights with the best validation loss.

    Parameters
    ----------
    model : AEC
    samples, validation : SampleSet
    settings : AecSettings
        Without lists.
    context : Context
    variance : float
        Mean squared error of the mean spectrogram: what a network that has learnt nothing scores.

    Attributes
    ----------
    best : float
        Lowest validation mean squared error so far.
    best_weights : dict
        State of the model that scored it.
    """

    kind = "AEC"
    header = (
        "epoch",
        "train_mse",
        "validation_mse",
        "learning_rate",
        "seconds",
        "samples_per_second",
    )

    def __init__(
        self,
        model: AEC,
        samples: SampleSet,
        validation: SampleSet,
        settings: AecSettings,
        context: Context,
        variance: float,
    ):
        super().__init__(model, samples, settings, context)
        self.validation, self.variance = validation, variance
        self.best, self.strikes = float("inf"), 0
        self.best_weights: dict[str, torch.Tensor] = {}

    def run(self) -> None:
        """Train; the weights at the start count too where they are not random."""
        if self.settings.initial_weights != "none":
            self._keep_if_best(mean_squared_error(self.model, self.validation, self.ranks))
        super().run()
        if not self.epoch:
            self.save()  # nothing was trained: the state is that of the start

    def _keep_if_best(self, validation: float) -> bool:
        better = validation < self.best
        if better:
            self.best, self.strikes = validation, 0
            self.best_weights = {
                name: value.clone() for name, value in self.model.state_dict().items()
            }
        return better

    def losses(
        self, model: AEC, positions: torch.Tensor, x: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Mean squared error over bins, summed over samples."""
        reconstruction, _ = model(x)
        return {"loss": summed_error(reconstruction, x)}

    def after_epoch(self, mean: dict[str, float], seconds: float) -> tuple[Any, ...]:
        """Validate, keep the best weights, count strikes, adapt the learning rate."""
        validation = mean_squared_error(self.model, self.validation, self.ranks)
        if not math.isfinite(validation):
            raise self._diverged(f"the validation loss is {validation}")
        rate = self.optimizer.param_groups[0]["lr"]
        if not self._keep_if_best(validation):
            self.strikes += 1
            self._after_strike()
        if (self.epoch + 1) % 10 == 0 or self.epoch == 0 or self.finished:
            log.info(
                f"AEC epoch {self.epoch + 1}: train mse {mean['loss']:.4g}, validation mse "
                f"{validation:.4g}, best {self.best:.4g}, {mean['n'] / seconds:,.0f} samples/s"
            )
        return mean["loss"], validation, rate, seconds, mean["n"] / seconds

    def _after_strike(self) -> None:
        patience = self.settings.patience
        learnt = self.best < (1 - PLATEAU) * self.variance
        if self.strikes >= (patience if learnt else LONGEST_PLATEAU * patience):
            self.finished = True
            self.why = f"no better validation loss for {self.strikes} epochs"
        elif (
            learnt
            and self.settings.schedule == "plateau"
            and self.strikes % max(1, patience // 3) == 0
        ):
            for group in self.optimizer.param_groups:
                group["lr"] *= 0.5

    def extra_state(self) -> dict[str, Any]:
        """Best weights so far and the count of strikes."""
        return {"best": self.best, "strikes": self.strikes, "best_weights": self.best_weights}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.best, self.strikes = state["best"], state["strikes"]
        self.best_weights = state["best_weights"]
