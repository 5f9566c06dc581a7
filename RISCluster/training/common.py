"""What pretraining and refinement share: batches, optimiser step, history, saved state.

The order of batches follows from seed and epoch alone, so that an interrupted training, resumed
on a CPU, ends with the same bytes as one that was never interrupted.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
import torch

from ..data.loading import SampleSet
from ..distributed import Ranks
from ..errors import Stopped, TrainingError
from ..io import load_checkpoint, save_checkpoint, write_text
from ..runtime import Progress, StopRequest, count, log
from ..settings import AecSettings, DecSettings

STATE = "last.pt"
HISTORY = "history.csv"
SHOWN = 8  # spectrograms and reconstructions in TensorBoard
SYNC_EVERY = 20  # steps between reads of the loss on a GPU, and between stop checks of ranks
SAVE_INTERVAL = 30.0  # s between saved states; a stop and the end of the training save in any case
REASONS = {  # why a training has ended, by stop_reason
    "": "all epochs done",
    "patience": "no better validation loss",
    "tol": "label change below dec.tol",
}
SAVED = ("epoch", "step", "seconds", "stop_reason")  # attributes of `Training` in the state


@dataclass(frozen=True)
class Context:
    """Where and how a network is trained."""

    folder: Path  # of the stage, for state and history
    ranks: Ranks
    stop: StopRequest
    seed: int
    precision: str = "fp32"  # {"fp32", "bf16"}
    tensorboard: bool = False

    def autocast(self) -> torch.autocast:
        """Arithmetic of the forward pass."""
        bf16 = self.precision == "bf16"
        return torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=bf16)


@dataclass(eq=False)
class Training:
    """A network in training."""

    model: torch.nn.Module
    samples: SampleSet
    settings: AecSettings | DecSettings
    context: Context
    losses: tuple[str, ...]  # names of the losses of a step, the minimised one first
    columns: tuple[str, ...]  # of the history
    result: Any  # saved with the state; has the history
    epoch: int = 0  # complete epochs
    step: int = 0  # complete steps of the next epoch
    seconds: float = 0.0  # spent on those
    stop_reason: str = ""  # key of REASONS; empty while training continues

    def __post_init__(self) -> None:
        self.kind = type(self.model).__name__
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.settings.lr, fused=True)
        # Of losses over the samples of this rank in the epoch.
        device = self.context.ranks.device
        self._sums = torch.zeros(len(self.losses), dtype=torch.float64, device=device)
        self._saved, self._board = time.monotonic(), None
        if self.context.tensorboard and self.context.ranks.is_first:
            try:
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(self.context.folder / "tensorboard")
                self._board.add_text("settings", f"    {self.settings}")
            except ImportError:
                log.warning("run.tensorboard = yes needs tensorboard: pip install tensorboard")

    @property
    def n_steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.samples) // self.settings.batch_size)

    @property
    def running(self) -> bool:
        """Whether another epoch is due."""
        return self.epoch < self.settings.n_epochs and not self.stop_reason

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.optimizer.param_groups[0]["lr"]

    @rate.setter
    def rate(self, value: float) -> None:
        self.optimizer.param_groups[0]["lr"] = value

    # ---- one epoch ----

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """Remaining batches of the epoch: positions and samples of this rank, size over all ranks.

        After each, a request to stop saves the state and raises `Stopped`.
        """
        began = time.monotonic() - self.seconds
        size, context, total = self.settings.batch_size, self.context, len(self.samples)
        epoch = self.samples.epoch(context.seed, self.epoch, size, context.ranks, first=self.step)
        what = f"{self.kind} epoch {self.epoch + 1} of at most {self.settings.n_epochs}"
        with Progress(what, total, shown=context.ranks.is_first) as progress:
            progress.add(self.step * size)
            for positions, x in epoch:
                n = min(size, total - self.step * size)
                yield positions, x, n
                self.seconds = time.monotonic() - began
                progress.add(n)
                if context.ranks.world > 1 and self.step % SYNC_EVERY and self.step < self.n_steps:
                    continue
                if context.ranks.any(bool(context.stop.signal_number)):
                    self.save()
                    raise Stopped(
                        f"{self.kind} stage: in epoch {self.epoch + 1} after batch {self.step} of "
                        f"{self.n_steps}, saved in {context.folder / STATE}; run the same command "
                        "to resume",
                        context.stop.signal_number or 15,
                    )

    def optimizer_step(self, *losses: torch.Tensor) -> None:
        """Sum gradients over ranks, check the losses of own samples, update the weights."""
        ranks = self.context.ranks
        ranks.sum_gradients(self.model.parameters())
        alone_on_cpu = ranks.device.type == "cpu" and ranks.world == 1
        if alone_on_cpu or self.step % SYNC_EVERY == 0:
            loss = float(losses[0].detach())
            ranks.gather_results(lambda: self.require_finite("the loss", loss))
        self.optimizer.step()
        self._sums += torch.stack([loss.detach().double() for loss in losses])
        self.step += 1

    def epoch_means(self) -> dict[str, float]:
        """Mean of each loss over the samples of the epoch, and the speed."""
        n = min(self.step * self.settings.batch_size, len(self.samples))
        sums = self.context.ranks.sum(self._sums.clone()).tolist()
        weights = torch.cat([p.detach().reshape(-1) for p in self.model.parameters()])
        self.require_finite("a weight", float(weights.abs().max()))
        means = {name: total / n for name, total in zip(self.losses, sums, strict=True)}
        return means | {"seconds": self.seconds, "samples_per_second": n / self.seconds}

    def require_finite(self, what: str, value: float) -> None:
        """Raise a `TrainingError` where a value is not finite."""
        if not math.isfinite(value):
            raise TrainingError(
                f"{self.context.folder}: {what} is {value} in epoch {self.epoch + 1}; lower "
                f"{self.kind.lower()}.lr, or check the amplitudes of the samples"
            )

    def end_epoch(self, **row: float) -> None:
        """Add a row to the history; save the state if the last one is old."""
        self.epoch += 1
        values = {"epoch": self.epoch, **row}
        self.result.history.append(tuple(values[name] for name in self.columns))
        if self._board is not None:
            for name in self.columns[1:]:
                self._board.add_scalar(f"{self.kind}/{name}", values[name], self.epoch)
            self._board.flush()
        self.step, self.seconds = 0, 0.0
        self._sums.zero_()
        if self.context.ranks.broadcast(time.monotonic() - self._saved > SAVE_INTERVAL):
            self.save()

    def show(self, x: torch.Tensor, reconstruction: torch.Tensor) -> None:
        """Spectrograms above their reconstructions, (N, C, F, T) each, for TensorBoard."""
        if self._board is None:
            return
        low, high = torch.aminmax(x[:SHOWN])
        images = torch.cat([reconstruction[:SHOWN].float(), x[:SHOWN]], 2).detach().mean(1, True)
        images = ((images - low) / (high - low).clamp_min(1e-12)).clamp(0, 1).flip(2)
        self._board.add_images(f"{self.kind}/spectrograms", images, self.epoch + 1)

    def end(self) -> None:
        """Save the state, and log why the training has ended."""
        self.save()
        log.info(f"stopped after {count(self.epoch, 'epoch')}: {REASONS[self.stop_reason]}")

    # ---- state ----

    def save(self) -> None:
        """Write history and state; called on all ranks, written by rank 0."""
        sums, self._saved = self.context.ranks.sum(self._sums.clone()), time.monotonic()
        if not self.context.ranks.is_first:
            return
        rows = [[f"{value:.8g}" for value in row] for row in self.result.history]
        table = pandas.DataFrame(rows, columns=self.columns, dtype=object)
        write_text(self.context.folder / HISTORY, table.to_csv(index=False, lineterminator="\n"))
        state = {name: getattr(self, name) for name in SAVED} | {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sums": sums,
            "result": vars(self.result),
        }
        save_checkpoint(self.context.folder / STATE, f"{self.kind} state", state)

    def resume(self) -> bool:
        """Continue from the saved state; False where there is none."""
        path, ranks = self.context.folder / STATE, self.context.ranks
        if not ranks.broadcast(path.exists()):
            return False
        state = load_checkpoint(path, f"{self.kind} state")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.result = type(self.result)(**state["result"])
        for name in SAVED:
            setattr(self, name, state[name])
        if ranks.is_first:  # the sums of all ranks, so that another number may resume
            self._sums += state["sums"].to(ranks.device)
        log.info(f"resuming after epoch {self.epoch}, batch {self.step} of {self.n_steps}")
        return True


def summed_error(reconstruction: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Squared error, mean over bins and summed over samples: (N, C, F, T) twice to a scalar."""
    n_bins = x.shape[1:].numel()
    return torch.nn.functional.mse_loss(reconstruction.float(), x, reduction="sum") / n_bins
