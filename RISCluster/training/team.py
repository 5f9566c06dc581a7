"""One step of training shared between the threads of a CPU.

Each thread takes a part of the batch through a network of its own, forward and backward, on one
core; the networks share their weights, and gradients are added in the order of the parts. Threads
inside the layers wait for each other at the end of every layer, and here once a step. On two idle
cores that was measured to gain 3 to 13 %, and a factor of 1.3 to 2.4 where other programs use them
too. With many cores Python itself would hold the threads up, so `LARGEST` is the most.

The result is that of the whole batch to rounding, and depends on the number of threads alone.
"""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

LARGEST = 4  # threads
SMALLEST_PART = 2**13  # values of a part of a batch, below which threads only get in the way

Losses = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]


class Team:
    """Threads that make steps together.

    Parameters
    ----------
    model : Module
        On the CPU. Its weights must be changed in place from now on.
    threads : int
        With 1, or more than `LARGEST`, all is done in the calling thread, and PyTorch's threads
        share the work inside the layers.
    """

    def __init__(self, model: torch.nn.Module, threads: int):
        self.model = model
        self._members: list[torch.nn.Module] = []
        self._pool = None
        if 1 < threads <= LARGEST:
            self._members = [_sharing_weights(model) for _ in range(threads)]
            self._pool = ThreadPoolExecutor(threads, "step", initializer=_one_core)

    def gradients(
        self, losses: Losses, positions: torch.Tensor, x: torch.Tensor, n: int
    ) -> dict[str, torch.Tensor]:
        """Gradients of ``loss`` / n, left with the model's parameters.

        Parameters
        ----------
        losses : callable
            Model, positions (N,) and samples (N, 1, F, T) to losses, each summed over samples.
        positions, x : Tensor
        n : int
            What the loss is divided by.

        Returns
        -------
        dict of Tensor
            The losses, without gradients.
        """
        parts = self._parts(x)
        if parts < 2:
            found = losses(self.model, positions, x)
            (found["loss"] / n).backward()
            return {name: value.detach() for name, value in found.items()}
        work = [
            self._pool.submit(_part, member, losses, part, rows, n)
            for member, part, rows in zip(
                self._members, positions.chunk(parts), x.chunk(parts), strict=False
            )
        ]
        found = [future.result() for future in work]
        for index, parameter in enumerate(self.model.parameters()):
            total = found[0][1][index]
            for _, gradients in found[1:]:
                total = total.add_(gradients[index])
            parameter.grad = total
        return {name: sum(losses[name] for losses, _ in found) for name in found[0][0]}

    def _parts(self, x: torch.Tensor) -> int:
        return max(1, min(len(self._members), len(x), x.numel() // SMALLEST_PART))

    def close(self) -> None:
        """Let the threads go."""
        if self._pool is not None:
            self._pool.shutdown()


def _one_core() -> None:
    torch.set_num_threads(1)  # of this thread alone


def _sharing_weights(model: torch.nn.Module) -> torch.nn.Module:
    """A copy with the same weights in the same memory, and gradients of its own."""
    member = copy.deepcopy(model)
    for own, shared in zip(member.parameters(), model.parameters(), strict=True):
        own.data = shared.data
    return member


def _part(
    member: torch.nn.Module, losses: Losses, positions: torch.Tensor, x: torch.Tensor, n: int
) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Losses of one part, and the gradients of their sum over n."""
    parameters = list(member.parameters())
    found = losses(member, positions, x)
    gradients = torch.autograd.grad(found["loss"] / n, parameters)
    return {name: value.detach() for name, value in found.items()}, list(gradients)
