"""Ranks of ``torchrun``: start, sum, gather. A single process is a world of one."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from .errors import RISClusterError, SettingsError

TIMEOUT = timedelta(days=7)  # other ranks wait while rank 0 fits mixtures or labels a large file
_starts = itertools.count()


class PeerLost(RISClusterError, RuntimeError):
    """Another process has ended, or can't be reached."""

    exit_code = 1


@dataclass(frozen=True)
class Ranks:
    """One process (`rank`, on `device`) of the `world` that run a stage together."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes files and messages."""
        return self.rank == 0

    def local_rows(self, batch: torch.Tensor) -> torch.Tensor:
        """Rows of a global batch for this rank: every `world`-th."""
        return batch[self.rank :: self.world] if self.world > 1 else batch

    def shard(self, n: int) -> tuple[int, int]:
        """Start and stop of this rank's contiguous part of 0 to `n`."""
        return n * self.rank // self.world, n * (self.rank + 1) // self.world

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over ranks, in place."""
        if self.world > 1:
            with _peer_errors():
                dist.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sum the gradients over ranks, as one flat message."""
        if self.world == 1:
            return
        held = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in held:
            if parameter.grad is None:  # no rows of the last batch
                parameter.grad = torch.zeros_like(parameter)
        flat = self.sum(torch.cat([parameter.grad.reshape(-1) for parameter in held]))
        parts = zip(held, flat.split([p.numel() for p in held]), strict=True)
        summed = [part.view_as(parameter) for parameter, part in parts]
        torch._foreach_copy_([parameter.grad for parameter in held], summed)

    def gather_results(self, work: Callable[[], Any]) -> list[Any]:
        """Results of `work` of all ranks, on all; the first error of a rank is raised on all."""
        if self.world == 1:
            return [work()]
        result, error = None, None
        try:
            result = work()
        except RISClusterError as caught:
            error = caught
        parts: list[Any] = [None] * self.world
        with _peer_errors():
            dist.all_gather_object(parts, (result, error))
        for _, error in parts:
            if error is not None:
                raise error
        return [result for result, _ in parts]

    def rank0(self, work: Callable[[], Any]) -> Any:
        """Result of `work` on rank 0, on all ranks; its error is raised on all."""
        return self.gather_results(lambda: work() if self.is_first else None)[0]

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        return self.rank0(lambda: value)

    def any(self, flag: bool) -> bool:
        """Whether the flag is true on any rank."""
        return any(self.gather_results(lambda: flag))


@contextmanager
def _peer_errors() -> Iterator[None]:
    """Raise errors of the communication as `PeerLost`: the cause is in another process."""
    try:
        yield
    except torch.OutOfMemoryError:  # of this process
        raise
    except RuntimeError as error:
        raise PeerLost(
            "torchrun: another process of this run has ended or can't be reached; files saved "
            f"before are intact: run the same command to resume ({str(error).splitlines()[0]})"
        ) from error


def choose_device(setting: str, local_rank: int = 0) -> torch.device:
    """Device for the setting ``run.device``; a SettingsError for a missing GPU."""
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if setting == "cpu" or (setting == "auto" and not found):
        return torch.device("cpu")
    number = int(setting.partition(":")[2] or local_rank)
    if number < found:
        return torch.device("cuda", number)
    raise SettingsError(
        f"[run] device = {setting}: PyTorch sees {found} GPU(s), and process {local_rank} of this "
        f"machine needs cuda:{number}; start as many processes as GPUs, or set run.device = cpu"
    )


@contextmanager
def start_ranks(device_setting: str) -> Iterator[Ranks]:
    """Join the other processes that ``torchrun`` started, if any."""
    n_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if n_local > 1 and ":" in device_setting:
        raise SettingsError(
            f"[run] device = {device_setting}: {n_local} processes need a GPU each; allowed: auto, "
            "cuda, cpu"
        )
    # The device of every local rank is checked, so that all raise the same error.
    choose_device(device_setting, n_local - 1)
    device = choose_device(device_setting, int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks(0, 1, device)
        return
    store, rank, world = next(dist.rendezvous("env://", timeout=TIMEOUT))
    # A prefix, because a process may start several stages and keys of an earlier one remain.
    store = dist.PrefixStore(f"RISCluster/{next(_starts)}", store)
    more = {"timeout": TIMEOUT, "store": store, "rank": rank, "world_size": world}
    gpu = device if device.type == "cuda" else None
    backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"  # by gloo, ranks that wait are idle
    dist.init_process_group(backend, device_id=gpu, **more)
    try:
        yield Ranks(rank, world, device)
    except (Exception, KeyboardInterrupt) as error:
        error.is_cause = True  # or it follows from the first error of another rank
        with suppress(RuntimeError):  # the process of the store has ended
            error.is_cause = store.add("errors", 1) == 1
        raise  # without an orderly end, for which NCCL waits for all ranks
    dist.destroy_process_group()
