"""Pretraining of the autoencoder: Adam on the mean squared error, weights of the best epoch."""

import math
from dataclasses import dataclass, field, replace

import torch

from ..data.loading import SampleSet
from ..models.autoencoder import AEC
from ..runtime import count, log
from ..settings import AecSettings
from .common import Context, Training, summed_error
from .encode import mean_squared_error

COLUMNS = ("epoch", "train_mse", "validation_mse", "learning_rate", "seconds", "samples_per_second")
# Patience counts once the validation loss is this fraction below that of the mean spectrogram:
# on small sets, networks stay on that plateau for tens of epochs and then learn.
PLATEAU = 0.02
MAX_PLATEAU = 10  # times the patience, after which training ends on the plateau too
# What ``auto`` stands for. One-cycle has the largest batches that leave `MIN_STEPS` in an epoch.
BATCH_SIZES = {"cpu": (16, 64), "cuda": (16, 1024)}
MIN_STEPS = 100  # of an epoch
BATCH_SIZE, LR = 64, 0.001  # of a constant learning rate
MAX_LR = 0.0055  # of one-cycle and `BATCH_SIZE` samples
BETAS = 0.9, 0.9  # of one-cycle: a short memory of squared gradients needs fewer epochs
# Of one-cycle: 20 to 50 epochs, up to these steps in all, as small sets and pictures need more, and
# up to 500 epochs where even 50 have too few steps. 500 at a constant learning rate.
EPOCHS, STEPS, STEPS_WITHOUT_FIXED, LEAST_STEPS = (20, 50, 500), 2000, 20_000, 1000
WARM_UP = 0.1  # of the steps of the one-cycle schedule
MIN_WARM_UP = 0.04  # of the maximum learning rate


@dataclass
class Pretraining:
    """Result of pretraining so far."""

    best: float = float("inf")  # lowest validation mean squared error
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)  # state that has it
    epochs_without_improvement: int = 0
    history: list[tuple[float, ...]] = field(default_factory=list)  # a row for each epoch
    batch_size: int = 0
    lr: float = 0.0  # maximum learning rate

    def add(self, validation: float, model: AEC) -> None:
        """Take the weights of `model` where its validation loss is the lowest."""
        self.epochs_without_improvement += 1
        if validation < self.best:
            self.best, self.epochs_without_improvement = validation, 0
            weights = model.state_dict().items()
            self.best_weights = {name: value.clone() for name, value in weights}


def pretrain(
    model: AEC, samples: SampleSet, validation: SampleSet, settings: AecSettings, context: Context,
    variance: float,
) -> Pretraining:  # fmt: skip
    """Train an autoencoder in place, from the saved state where there is one.

    `variance` is the mean squared error of the mean spectrogram. A signal raises `Stopped`, a loss
    that is not finite `TrainingError`.
    """
    has_fixed = model.encoder.fixed is not None
    settings = with_defaults(settings, len(samples), context.ranks.device, has_fixed)
    start = Pretraining(batch_size=settings.batch_size, lr=settings.lr)
    training = Training(model, samples, settings, context, ("mse",), COLUMNS, start)
    if settings.schedule == "onecycle":
        training.optimizer.param_groups[0]["betas"] = BETAS
    is_resumed, result = training.resume(), training.result
    if not is_resumed and settings.initial_weights != "none":
        result.add(mean_squared_error(model, validation, context.ranks), model)
    # Those of the saved state: ``auto`` depends on the device.
    settings = replace(settings, batch_size=result.batch_size, lr=result.lr)
    training.settings = settings
    most = "" if settings.schedule == "onecycle" else "at most "
    log.info(
        f"{most}{count(settings.n_epochs, 'epoch')} in batches of {settings.batch_size}, learning "
        f"rate {settings.lr:.3g}, aec.schedule = {settings.schedule}"
    )
    while training.running:
        for _, x, n in training.batches():
            if settings.schedule == "onecycle":
                done = (training.epoch + training.step / training.n_steps) / settings.n_epochs
                training.rate = one_cycle(done) * settings.lr
            training.optimizer.zero_grad(set_to_none=True)
            with context.autocast():
                reconstruction, _ = model(x)
                loss = summed_error(reconstruction, x)
            (loss / n).backward()
            training.optimizer_step(loss)
            if training.step == training.n_steps:
                training.show(x, reconstruction)
        means = training.epoch_means()
        loss = mean_squared_error(model, validation, context.ranks)
        training.require_finite("the validation loss", loss)
        result.add(loss, model)
        rate = training.rate
        _stop(training, variance)
        train_mse, epoch = means.pop("mse"), training.epoch + 1
        if epoch % 10 == 0 or epoch == 1 or training.stop_reason:
            log.info(
                f"AEC epoch {epoch}: train mse {train_mse:.4g}, validation mse {loss:.4g}, best "
                f"{result.best:.4g}, {means['samples_per_second']:,.0f} samples/s"
            )
        training.end_epoch(train_mse=train_mse, validation_mse=loss, learning_rate=rate, **means)
    training.end()
    return result


def with_defaults(
    settings: AecSettings, n: int, device: torch.device, has_fixed: bool = True
) -> AecSettings:
    """Settings with values for ``auto``: `n` training samples, with or without fixed features."""
    batch_size, lr, n_epochs = settings.batch_size, settings.lr, settings.n_epochs
    schedule = "onecycle" if settings.schedule == "auto" else settings.schedule
    is_cycle = schedule == "onecycle"
    if batch_size == "auto":
        batch_size, most = BATCH_SIZES[device.type] if is_cycle else (BATCH_SIZE, BATCH_SIZE)
        while batch_size < most and n >= 2 * batch_size * MIN_STEPS:
            batch_size *= 2
    if lr == "auto":
        lr = MAX_LR * math.sqrt(batch_size / BATCH_SIZE) if is_cycle else LR
    if n_epochs == "auto":
        steps = STEPS if has_fixed else STEPS_WITHOUT_FIXED
        least, wanted = (each * batch_size // n for each in (LEAST_STEPS, steps))
        n_epochs = max(EPOCHS[0], min(EPOCHS[1], wanted), min(EPOCHS[2], least))
        n_epochs = n_epochs if is_cycle else EPOCHS[2]
    own = {"schedule": schedule, "batch_size": batch_size, "lr": lr, "n_epochs": n_epochs}
    return replace(settings, **own)


def one_cycle(done: float) -> float:
    """Fraction of the maximum learning rate (Smith and Topin 2019) at a fraction of all steps."""
    if done < WARM_UP:
        return max(done / WARM_UP, MIN_WARM_UP)
    return (1 - done) / (1 - WARM_UP)


def _stop(training: Training, variance: float) -> None:
    """After epochs without improvement at a constant learning rate, end the training."""
    settings, result = training.settings, training.result
    patience = settings.patience * (MAX_PLATEAU if result.best >= (1 - PLATEAU) * variance else 1)
    if settings.schedule == "constant" and result.epochs_without_improvement >= patience:
        training.stop_reason = "patience"
