"""Pretraining of the autoencoder: Adam on the mean squared error, early stopping on validation."""

from dataclasses import dataclass, field

import torch

from ..data.loading import SampleSet
from ..models.autoencoder import AEC
from ..runtime import log
from ..settings import AecSettings
from .common import Context, Training, summed_error
from .encode import mean_squared_error

COLUMNS = ("epoch", "train_mse", "validation_mse", "learning_rate")
# Patience counts once the validation loss is this fraction below that of the mean spectrogram:
# on small sets, networks stay on that plateau for tens of epochs and then learn.
PLATEAU = 0.02
MAX_PLATEAU = 10  # times the patience, after which training ends on the plateau too


@dataclass
class Pretraining:
    """Result of pretraining so far."""

    best: float = float("inf")  # lowest validation mean squared error
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)  # state that has it
    epochs_without_improvement: int = 0
    history: list[tuple[float, ...]] = field(default_factory=list)  # a row for each epoch

    def add(self, validation: float, model: AEC) -> None:
        """Take the weights of `model` where its validation loss is the lowest."""
        self.epochs_without_improvement += 1
        if validation < self.best:
            self.best, self.epochs_without_improvement = validation, 0
            weights = model.state_dict().items()
            self.best_weights = {name: value.clone() for name, value in weights}


def pretrain(
    model: AEC,
    samples: SampleSet,
    validation: SampleSet,
    settings: AecSettings,
    context: Context,
    variance: float,
) -> Pretraining:
    """Train an autoencoder in place, from the saved state where there is one.

    `variance` is the mean squared error of the mean spectrogram. A signal raises `Stopped` after
    the state is saved; a loss that is not finite raises `TrainingError`.
    """
    training = Training(model, samples, settings, context, ("mse",), COLUMNS, Pretraining())
    if not training.resume() and settings.initial_weights != "none":
        training.result.add(mean_squared_error(model, validation, context.ranks), model)
    while training.running:
        for positions, x, n in training.batches():
            training.optimizer.zero_grad(set_to_none=True)
            with context.autocast():
                reconstruction, _ = model(x)
                loss = summed_error(reconstruction, x)
            (loss / n).backward()
            training.optimizer_step(positions, loss)
        means = training.epoch_means()
        loss = mean_squared_error(model, validation, context.ranks)
        training.require_finite("the validation loss", loss)
        training.result.add(loss, model)
        rate = training.optimizer.param_groups[0]["lr"]
        _stop_or_slow_down(training, variance)
        train_mse, epoch = means.pop("mse"), training.epoch + 1
        if epoch % 10 == 0 or epoch == 1 or training.stop_reason:
            log.info(
                f"AEC epoch {epoch}: train mse {train_mse:.4g}, validation mse {loss:.4g}, best "
                f"{training.result.best:.4g}, {means['samples_per_second']:,.0f} samples/s"
            )
        training.end_epoch(train_mse=train_mse, validation_mse=loss, learning_rate=rate, **means)
    training.end()
    return training.result


def _stop_or_slow_down(training: Training, variance: float) -> None:
    """After epochs without improvement, end the training or halve the learning rate."""
    settings, waited = training.settings, training.result.epochs_without_improvement
    learnt = training.result.best < (1 - PLATEAU) * variance
    if not waited:
        return
    if waited >= settings.patience * (1 if learnt else MAX_PLATEAU):
        training.stop_reason = "patience"
    elif learnt and settings.schedule == "plateau" and not waited % max(1, settings.patience // 3):
        for group in training.optimizer.param_groups:
            group["lr"] *= 0.5
