"""Pretraining of the autoencoder: Adam on the mean squared error, early stopping on validation."""

import math
from dataclasses import dataclass, field

import torch

from ..data.loading import SampleSet
from ..models.autoencoder import AEC
from ..runtime import log
from ..settings import AecSettings
from .common import (
    Context,
    Training,
    autocast,
    batches,
    diverged,
    end_epoch,
    epoch_means,
    epoch_progress,
    load_state,
    log_end,
    open_history,
    optimizer_step,
    save_state,
    stop_if_requested,
    summed_error,
)
from .encode import mean_squared_error

HEADER = ("epoch", "train_mse", "validation_mse", "learning_rate", "seconds", "samples_per_second")
# Patience counts once the validation loss is this fraction below that of the mean spectrogram:
# on small sets, networks stay on that plateau for tens of epochs and then learn.
PLATEAU = 0.02
MAX_PLATEAU = 10  # times the patience, after which training ends on the plateau too


@dataclass
class Pretraining:
    """Result of pretraining so far.

    Attributes
    ----------
    best : float
        Lowest validation mean squared error.
    best_weights : dict of Tensor
        State of the model that has it.
    epochs_without_improvement : int
    epochs : int
    """

    best: float = float("inf")
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    epochs_without_improvement: int = 0
    epochs: int = 0

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
    """Train an autoencoder, from the saved state where there is one.

    Parameters
    ----------
    model : AEC
        Left with the weights of the last epoch.
    samples, validation : SampleSet
    settings : AecSettings
        Without lists.
    context : Context
    variance : float
        Mean squared error of the mean spectrogram.

    Raises
    ------
    Stopped
        On a signal; the state is saved.
    TrainingError
        The loss is not finite; the state of the last good epoch is kept.
    """
    training, result = Training("AEC", model, samples, settings, context), Pretraining()
    if settings.initial_weights != "none":  # these weights are a candidate too
        result.add(mean_squared_error(model, validation, context.ranks), model)
    state = load_state(training)
    if state is not None:
        result = Pretraining(**{name: state[name] for name in vars(result)})
    with open_history(training, HEADER) as write_row:
        while training.running:
            with epoch_progress(training) as progress:
                for positions, x, n in batches(training):
                    training.optimizer.zero_grad(set_to_none=True)
                    with autocast(context):
                        reconstruction, _ = model(x)
                        loss = summed_error(reconstruction, x)
                    (loss / n).backward()
                    progress.add(n, **optimizer_step(training, {"loss": loss}, positions))
                    stop_if_requested(training, vars(result))
            write_row(_validate(training, result, validation, variance))
            end_epoch(training, vars(result))
    if not training.epoch:
        save_state(training, vars(result))
    log_end(training)
    return result


def _validate(
    training: Training, result: Pretraining, validation: SampleSet, variance: float
) -> tuple[float, ...]:
    """Validate, take the best weights, adapt the learning rate; the row of the history."""
    means, rate = epoch_means(training), training.learning_rate
    loss = mean_squared_error(training.model, validation, training.context.ranks)
    if not math.isfinite(loss):
        raise diverged(training, f"the validation loss is {loss}")
    result.add(loss, training.model)
    _stop_or_slow_down(training, result, learnt=result.best < (1 - PLATEAU) * variance)
    training.epoch += 1
    result.epochs = training.epoch
    if training.epoch % 10 == 0 or training.epoch == 1 or training.stop_reason:
        log.info(
            f"AEC epoch {training.epoch}: train mse {means['loss']:.4g}, validation mse "
            f"{loss:.4g}, best {result.best:.4g}, {means['samples_per_second']:,.0f} samples/s"
        )
    speed = means["seconds"], means["samples_per_second"]
    return training.epoch, means["loss"], loss, rate, *speed


def _stop_or_slow_down(training: Training, result: Pretraining, learnt: bool) -> None:
    """After epochs without improvement, end the training or halve the learning rate."""
    settings, waited = training.settings, result.epochs_without_improvement
    if not waited:
        return
    if waited >= settings.patience * (1 if learnt else MAX_PLATEAU):
        training.stop_reason = f"no better validation loss for {waited} epochs"
    elif learnt and settings.schedule == "plateau" and not waited % max(1, settings.patience // 3):
        for group in training.optimizer.param_groups:
            group["lr"] *= 0.5
