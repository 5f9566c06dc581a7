"""Steps that pretraining and refinement share: batches, optimiser step, history, state.

The state (weights, optimiser, position in the epoch, sums so far) is saved after every epoch and
on a request to stop. The order of batches follows from seed and epoch alone, so that an
interrupted training, resumed on a CPU, ends with the same bytes as one that never stopped.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..data.loading import SampleSet
from ..distributed import Ranks
from ..errors import CheckpointError, Stopped, TrainingError
from ..io import HistoryFile, load_checkpoint, save_checkpoint
from ..models.checkpoint import load_weights
from ..runtime import Progress, StopRequest, count, log

STATE = "last.pt"
HISTORY = "history.csv"
SYNC_EVERY = 20  # steps between reads of the loss on a GPU, and between stop checks of ranks


@dataclass
class Context:
    """Where and how a network is trained.

    Attributes
    ----------
    folder : Path
        Of the stage, for state and history.
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
class Training:
    """A network in training.

    Attributes
    ----------
    kind : {"AEC", "DEC"}
    model : Module
    samples : SampleSet
    settings : AecSettings or DecSettings
    context : Context
    optimizer : Optimizer
    epoch, step : int
        Complete epochs, and batches done of the next one.
    seconds : float
        Spent on those batches.
    sums : dict
        Of losses over this rank's samples of the epoch, in double precision; ``n`` counts them.
    stop_reason : str
        Empty while training goes on.
    """

    kind: str
    model: torch.nn.Module
    samples: SampleSet
    settings: Any
    context: Context
    optimizer: torch.optim.Optimizer = field(init=False)
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    sums: dict[str, torch.Tensor | float] = field(default_factory=dict)
    stop_reason: str = ""
    _began: float = 0.0

    def __post_init__(self):
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.settings.lr, fused=True)

    @property
    def n_steps(self) -> int:
        """Batches per epoch."""
        return -(-len(self.samples) // self.settings.batch_size)

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return self.optimizer.param_groups[0]["lr"]

    @property
    def running(self) -> bool:
        """Whether another epoch is due."""
        return self.epoch < self.settings.n_epochs and not self.stop_reason


# ---- one epoch ----------------------------------------------------------------------------------


@contextmanager
def epoch_progress(training: Training) -> Iterator[Progress]:
    """Progress of one epoch, in samples."""
    what = f"{training.kind} epoch {training.epoch + 1} of at most {training.settings.n_epochs}"
    shown = training.context.ranks.is_first
    with Progress(what, len(training.samples), shown=shown) as progress:
        progress.add(training.step * training.settings.batch_size)
        yield progress


def batches(training: Training) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """Remaining batches of the epoch: positions and samples of this rank, size over all ranks."""
    training.model.train()
    training._began = time.monotonic() - training.seconds
    size, context = training.settings.batch_size, training.context
    done = training.step * size
    epoch = training.samples.epoch(
        context.seed, training.epoch, size, context.ranks, first=training.step
    )
    for positions, x in epoch:
        n = min(size, len(training.samples) - done)
        done += n
        yield positions, x, n


def autocast(context: Context) -> torch.autocast:
    """Arithmetic of the forward pass."""
    device = context.ranks.device.type
    return torch.autocast(device, torch.bfloat16, enabled=context.precision == "bf16")


def summed_error(reconstruction: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Squared error, mean over bins and summed over samples: (N, 1, F, T) twice to a scalar."""
    n_bins = x.shape[2] * x.shape[3]
    return torch.nn.functional.mse_loss(reconstruction.float(), x, reduction="sum") / n_bins


def optimizer_step(
    training: Training, losses: dict[str, torch.Tensor], positions: torch.Tensor
) -> dict[str, float]:
    """Sum gradients over ranks, check the loss, update the weights, add to the sums.

    Parameters
    ----------
    training : Training
        With gradients.
    losses : dict of Tensor
        ``loss``, which is minimised, and others for the history; each summed over samples.
    positions : Tensor, (N,)
        Of the samples.

    Returns
    -------
    dict
        Mean loss for the progress; empty where it was not read from the device.
    """
    ranks, losses = training.context.ranks, {k: v.detach() for k, v in losses.items()}
    ranks.sum_gradients(training.model.parameters())
    shown = {}
    alone_on_cpu = ranks.device.type == "cpu" and ranks.world == 1
    if alone_on_cpu or training.step % SYNC_EVERY == 0:
        shown = {"loss": float(losses["loss"]) / max(1, len(positions))}
        ranks.gather_results(lambda: _require_finite_loss(training, shown["loss"], positions))
    training.optimizer.step()
    for name, value in losses.items():
        training.sums[name] = training.sums.get(name, 0.0) + value.double()
    training.sums["n"] = training.sums.get("n", 0.0) + len(positions)
    training.step += 1
    training.seconds = time.monotonic() - training._began
    return shown


def epoch_means(training: Training) -> dict[str, float]:
    """Mean losses of the epoch over all ranks, and ``n``, ``seconds``, ``samples_per_second``.

    Empty for an epoch without a step.

    Raises
    ------
    TrainingError
        The mean loss or a weight is not finite.
    """
    sums = sums_over_ranks(training)
    n = sums.pop("n", 0.0)
    if not n:
        return {}
    means = {name: value / n for name, value in sums.items()}
    if not math.isfinite(means["loss"]):
        raise diverged(training, f"the mean loss is {means['loss']}")
    finite = torch.stack([p.detach().isfinite().all() for p in training.model.parameters()])
    if not bool(finite.all()):
        raise diverged(training, "weights are no longer finite")
    seconds = time.monotonic() - training._began
    return means | {"n": n, "seconds": seconds, "samples_per_second": n / seconds}


def sums_over_ranks(training: Training) -> dict[str, float]:
    """Sums of the epoch over all ranks, which have the same names."""
    ranks, names = training.context.ranks, sorted(training.sums)
    if not names:
        return {}
    values = [
        torch.as_tensor(training.sums[name], dtype=torch.float64, device=ranks.device)
        for name in names
    ]
    total = ranks.sum(torch.stack(values))
    return dict(zip(names, total.tolist(), strict=True))


def _require_finite_loss(training: Training, loss: float, positions: torch.Tensor) -> None:
    if not math.isfinite(loss):
        raise diverged(training, f"the loss is {loss}", positions)


def diverged(training: Training, what: str, positions: torch.Tensor | None = None) -> TrainingError:
    """Error for values that are not finite, with the epoch, and the batch where it is known."""
    place = f"epoch {training.epoch + 1}"
    if positions is not None:
        members = training.samples.index[positions.cpu().numpy()][:5].tolist()
        place += f", batch {training.step + 1} (samples {', '.join(map(str, members))}, ...)"
    return TrainingError(
        f"{training.context.folder}: {what} in {place}; the state of the last good epoch is kept; "
        f"lower {training.kind.lower()}.lr, or look at the amplitudes of the samples"
    )


def log_end(training: Training) -> None:
    """Log why the training has ended."""
    reason = training.stop_reason or "all epochs done"
    log.info(f"stopped after {count(training.epoch, 'epoch')}: {reason}")


# ---- history ------------------------------------------------------------------------------------


@contextmanager
def open_history(
    training: Training, header: tuple[str, ...]
) -> Iterator[Callable[[tuple[Any, ...]], None]]:
    """Yield a function that writes the row of an epoch, on rank 0.

    The row goes to ``history.csv`` and, with run.tensorboard, to TensorBoard.
    """
    context, history, board = training.context, None, None
    if context.ranks.is_first:
        history = HistoryFile(context.folder / HISTORY, header, training.epoch)
        board = _tensorboard(context.folder, training.epoch) if context.tensorboard else None

    def write(row: tuple[Any, ...]) -> None:
        if history is not None:
            history.append([f"{value:.8g}" if isinstance(value, float) else value for value in row])
        if board is not None:
            for name, value in zip(header[1:], row[1:], strict=True):
                board.add_scalar(f"{training.kind}/{name}", value, row[0])

    try:
        yield write
    finally:
        if board is not None:
            board.close()


def _tensorboard(folder: Path, epoch: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning("run.tensorboard = yes needs the tensorboard package: pip install tensorboard")
        return None
    return SummaryWriter(folder / "tensorboard", purge_step=epoch + 1)


# ---- state --------------------------------------------------------------------------------------


def end_epoch(training: Training, more: dict[str, Any]) -> None:
    """Start the next epoch and save the state; `more` as in `save_state`."""
    training.step, training.seconds, training.sums = 0, 0.0, {}
    save_state(training, more)


def stop_if_requested(training: Training, more: dict[str, Any]) -> None:
    """Save the state and raise `Stopped` where a signal has come to any rank."""
    context = training.context
    if context.ranks.world > 1 and training.step % SYNC_EVERY and training.step != training.n_steps:
        return
    if context.ranks.any(bool(context.stop.signal_number)):
        save_state(training, more)
        raise Stopped(
            f"{training.kind} stage: in epoch {training.epoch + 1} after batch {training.step} of "
            f"{training.n_steps}, saved in {context.folder / STATE}; run the same command to "
            "go on",
            context.stop.signal_number or 15,
        )


def save_state(training: Training, more: dict[str, Any]) -> None:
    """Write the state and `more` values by name; called on all ranks, written by rank 0."""
    sums = sums_over_ranks(training)
    if not training.context.ranks.is_first:
        return
    state = {
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "epoch": training.epoch,
        "step": training.step,
        "seconds": training.seconds,
        "sums": sums,
        "stop_reason": training.stop_reason,
    }
    save_checkpoint(training.context.folder / STATE, f"{training.kind} state", state | more)


def load_state(training: Training) -> dict[str, Any] | None:
    """Resume from the saved state; what it holds, or None where there is none."""
    path, ranks = training.context.folder / STATE, training.context.ranks
    if not ranks.broadcast(path.exists()):
        return None
    state = load_checkpoint(path, f"{training.kind} state")
    if "stop_reason" not in state:
        raise CheckpointError(
            f"{path}: written by another version; move {path.parent} away and run the stage again"
        )
    load_weights(training.model, state["model"], str(path))
    training.optimizer.load_state_dict(state["optimizer"])
    training.epoch, training.step = state["epoch"], state["step"]
    training.seconds, training.stop_reason = state["seconds"], state["stop_reason"]
    # Rank 0 takes the sums of all ranks, so that another number of ranks may resume.
    training.sums = state["sums"] if ranks.is_first else dict.fromkeys(state["sums"], 0.0)
    log.info(f"going on after epoch {training.epoch}, batch {training.step} of {training.n_steps}")
    return state
