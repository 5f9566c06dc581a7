"""What training the autoencoder and training DEC have in common: epochs that can be interrupted.

A trainer's whole state (weights, optimiser, where in the epoch, sums so far) is one dict, saved
after every epoch and when a signal asks to stop. The order of batches follows from seed and epoch,
so a run that goes on from such a state ends with the same bytes on a CPU as one never interrupted.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..data.loading import SampleSet
from ..distributed import Ranks
from ..errors import Stopped, TrainingError
from ..io import HistoryFile, load_checkpoint, save_checkpoint
from ..models.reference import load_weights
from ..runtime import Progress, StopRequest, log
from .team import Team

STATE = "last.pt"
HISTORY = "history.csv"
READ_EVERY = 20  # steps between looks at losses on a GPU, and between ranks' talks about stopping


@dataclass
class Context:
    """What a trainer works with, besides the model and the samples.

    Attributes
    ----------
    folder : Path
        Of the stage; the state and the history are written there.
    ranks : Ranks
    stop : StopRequest
    seed : int
    precision : {"fp32", "bf16"}
    tensorboard : bool
    """

    folder: Path
    ranks: Ranks
    stop: StopRequest
    seed: int
    precision: str = "fp32"
    tensorboard: bool = False


@dataclass
class Sums:
    """Running sums of one epoch over this rank's samples, in double precision."""

    values: dict[str, torch.Tensor] = field(default_factory=dict)

    def add(self, name: str, value: torch.Tensor) -> None:
        """Add a scalar; nothing is read back from the device."""
        value = value.detach().double()
        self.values[name] = self.values[name] + value if name in self.values else value

    def over_ranks(self, ranks: Ranks) -> dict[str, float]:
        """Sums over all ranks; every rank must have the same names."""
        names = sorted(self.values)
        if not names:
            return {}
        total = ranks.sum(torch.stack([self.values[name].to(ranks.device) for name in names]))
        return dict(zip(names, total.tolist(), strict=True))


class Trainer:
    """Runs epochs over a set of samples.

    Parameters
    ----------
    model : Module
    samples : SampleSet
        What it is trained on.
    settings : AecSettings or DecSettings
        Without lists: `n_epochs`, `batch_size` and `lr` are read here.
    context : Context
    """

    kind = ""
    header: tuple[str, ...] = ()

    def __init__(self, model: torch.nn.Module, samples: SampleSet, settings: Any, context: Context):
        self.model, self.samples, self.settings, self.context = model, samples, settings, context
        self.ranks = context.ranks
        self.optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr, fused=True)
        self.epoch = 0  # epochs that are complete
        self.step = 0  # batches done of the one that is not
        self.seconds = 0.0  # spent on them
        self.sums = Sums()
        self.finished = False
        self.why = ""

    # ---- what a stage defines ----

    def losses(
        self, model: torch.nn.Module, positions: torch.Tensor, x: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Losses of some samples, each summed over them; called from several threads.

        ``loss`` is what is minimised; the others are for the history.
        """
        raise NotImplementedError

    def before_step(self) -> None:
        """Called before each step; may set `finished`, and then the step is not made."""

    def after_epoch(self, mean: dict[str, float], seconds: float) -> tuple[Any, ...]:
        """The row of the history, after its epoch number; may set `finished`."""
        raise NotImplementedError

    def extra_state(self) -> dict[str, Any]:
        """What a stage adds to the state."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take back what `extra_state` gave."""

    # ---- the loop ----

    @property
    def n_steps(self) -> int:
        """Batches an epoch."""
        return -(-len(self.samples) // self.settings.batch_size)

    def run(self) -> None:
        """Train to the end, from the saved state where there is one.

        Raises
        ------
        Stopped
            A signal came; the state is saved.
        TrainingError
            The loss is not finite; the state of the last good epoch is kept.
        """
        self._resume()
        self._history = None
        if self.ranks.is_first:
            self._history = HistoryFile(self.context.folder / HISTORY, self.header, self.epoch)
        self._board = self._open_board()
        self.team = Team(self.model, self._threads())
        try:
            while self.epoch < self.settings.n_epochs and not self.finished:
                self._run_epoch()
        finally:
            self.team.close()
            if self._board is not None:
                self._board.close()
        if not self.why:
            self.why = "all epochs done"

    def _threads(self) -> int:
        """Threads that share a step: those that PyTorch would use inside each layer."""
        return torch.get_num_threads() if self.ranks.device.type == "cpu" else 1

    def _run_epoch(self) -> None:
        self.model.train()
        began = time.monotonic() - self.seconds
        what = f"{self.kind} epoch {self.epoch + 1} of at most {self.settings.n_epochs}"
        with Progress(what, len(self.samples), shown=self.ranks.is_first) as progress:
            progress.add(self.step * self.settings.batch_size)
            for positions, x, n in self._batches():
                self.before_step()
                if self.finished:
                    break
                shown = self._make_step(positions, x, n)
                self.step += 1
                self.seconds = time.monotonic() - began
                progress.add(n, **shown)
                self._stop_if_asked()
        self._end_epoch(time.monotonic() - began)

    def _batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """Shares of this rank, each with the number of samples of the whole batch."""
        size, done = self.settings.batch_size, self.step * self.settings.batch_size
        batches = self.samples.epoch(
            self.context.seed, self.epoch, size, self.ranks, first=self.step
        )
        for positions, x in batches:
            n = min(size, len(self.samples) - done)
            done += n
            yield positions, x, n

    def _make_step(self, positions: torch.Tensor, x: torch.Tensor, n: int) -> dict[str, float]:
        """One step of the optimiser; what to show, where it was read."""
        self.optimizer.zero_grad(set_to_none=True)
        device = self.ranks.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.context.precision == "bf16"):
            losses = self.team.gradients(self.losses, positions, x, n)
        self.ranks.sum_gradients(self.model.parameters())
        shown = {}
        looks = device == "cpu" and self.ranks.world == 1
        if looks or self.step % READ_EVERY == 0:
            shown = {"loss": float(losses["loss"]) / max(1, len(positions))}
            self.ranks.gather_results(lambda: self._require_finite_loss(shown["loss"], positions))
        self.optimizer.step()
        for name, value in losses.items():
            self.sums.add(name, value)
        self.sums.add("n", torch.tensor(float(len(positions))))
        return shown

    def _diverged(self, what: str, positions: torch.Tensor | None = None) -> TrainingError:
        place = f"epoch {self.epoch + 1}"
        if positions is not None:
            members = self.samples.index[positions.cpu().numpy()][:5].tolist()
            place += f", batch {self.step + 1} (samples {', '.join(map(str, members))}, ...)"
        return TrainingError(
            f"{self.context.folder}: {what} in {place}; the state of the last good epoch is kept; "
            f"lower {self.kind.lower()}.lr, or look at the amplitudes of the samples"
        )

    def _require_finite_loss(self, loss: float, positions: torch.Tensor) -> None:
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss}", positions)

    def _require_finite_weights(self) -> None:
        finite = torch.stack([p.detach().isfinite().all() for p in self.model.parameters()])
        if not bool(finite.all()):
            raise self._diverged("weights are no longer finite")

    def _end_epoch(self, seconds: float) -> None:
        sums = self.sums.over_ranks(self.ranks)
        n = sums.pop("n", 0.0)
        if n:
            mean = {name: value / n for name, value in sums.items()}
            if not math.isfinite(mean["loss"]):
                raise self._diverged(f"the mean loss is {mean['loss']}")
            self._require_finite_weights()
            row = self.after_epoch(mean | {"n": n}, seconds)
            self.epoch += 1
            self._record((self.epoch, *row))
        self.step, self.seconds, self.sums = 0, 0.0, Sums()
        self.save()

    def _record(self, row: tuple[Any, ...]) -> None:
        if self._history is not None:
            self._history.append([_figure(value) for value in row])
        if self._board is not None:
            for name, value in zip(self.header[1:], row[1:], strict=True):
                self._board.add_scalar(f"{self.kind}/{name}", value, self.epoch)

    def _open_board(self) -> Any:
        if not (self.context.tensorboard and self.ranks.is_first):
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log.warning(
                "run.tensorboard = yes needs the tensorboard package: pip install tensorboard"
            )
            return None
        return SummaryWriter(self.context.folder / "tensorboard", purge_step=self.epoch + 1)

    # ---- stopping and going on ----

    def _stop_if_asked(self) -> None:
        if self.ranks.world > 1 and self.step % READ_EVERY and self.step != self.n_steps:
            return
        if self.ranks.any(bool(self.context.stop.signal_number)):
            self.save()
            raise Stopped(
                f"{self.kind} stage: in epoch {self.epoch + 1} after batch {self.step} of "
                f"{self.n_steps}, saved in {self.context.folder / STATE}; run the same command to "
                "go on",
                self.context.stop.signal_number or 15,
            )

    def save(self) -> None:
        """Write the state; all ranks come here, rank 0 writes."""
        sums = self.sums.over_ranks(self.ranks)
        if not self.ranks.is_first:
            return
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "sums": sums,
            "finished": self.finished,
            "why": self.why,
        }
        save_checkpoint(
            self.context.folder / STATE, f"{self.kind} state", state | self.extra_state()
        )

    def _resume(self) -> None:
        path = self.context.folder / STATE
        if not self.ranks.broadcast(path.exists()):
            return
        state = load_checkpoint(path, f"{self.kind} state")
        load_weights(self.model, state["model"], str(path))
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        self.finished, self.why = state["finished"], state["why"]
        # Sums of all ranks go on with rank 0, so that another number of ranks may take over.
        self.sums = Sums(
            {
                name: torch.tensor(
                    value if self.ranks.is_first else 0.0,
                    dtype=torch.float64,
                    device=self.ranks.device if name != "n" else "cpu",
                )
                for name, value in state["sums"].items()
            }
        )
        self.load_extra_state(state)
        log.info(f"going on after epoch {self.epoch}, batch {self.step} of {self.n_steps}")


def summed_error(reconstruction: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Squared error, mean over bins and summed over samples: (N, 1, F, T) twice to a scalar."""
    n_bins = x.shape[2] * x.shape[3]
    return torch.nn.functional.mse_loss(reconstruction.float(), x, reduction="sum") / n_bins


def _figure(value: Any) -> str:
    return f"{value:.8g}" if isinstance(value, float) else str(value)
