"""Samples on their way from the file to the network: read in blocks, checked, prepared.

Letters: n samples of a block, F frequency bins, T time bins.
"""

import queue
import threading
from collections.abc import Iterator

import numpy as np
import torch

from .spectrograms import SpectrogramFile
from .transforms import Preparation, check_sign, largest_absolute


class Reader:
    """Reads samples of an open file and prepares them for the network.

    Parameters
    ----------
    file : SpectrogramFile
    preparation : Preparation
        What is done to the samples.
    device : torch.device
        Where samples are prepared and left.
    """

    def __init__(self, file: SpectrogramFile, preparation: Preparation, device: torch.device):
        self.file, self.preparation, self.device = file, preparation, device
        self.skip_negative = False  # where a root or logarithm is taken: refuse, or leave out

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of one prepared sample, float32."""
        return 4 * self.file.n_frequencies * self.file.n_times

    def blocks(self, index: np.ndarray) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Usable samples among `index` (ascending), block by block, read ahead.

        Yields
        ------
        ndarray (n,), Tensor (n, 1, F, T)
            Indices into the file, and the samples prepared.
        """
        raw = read_ahead(self.file.read_blocks(index))
        for wanted, rows in raw:
            x = torch.from_numpy(rows).to(self.device)
            peak = largest_absolute(x)
            usable = torch.isfinite(peak) & (peak > 0)
            if self.skip_negative and self.preparation.amplitude != "linear":
                usable &= x.flatten(1).amin(1) >= 0
            if not bool(usable.all()):
                x, wanted = x[usable], wanted[usable.cpu().numpy()]
            check_sign(x, wanted, self.preparation.amplitude, str(self.file.path))
            yield wanted, self.preparation(x).unsqueeze(1)


def read_ahead(source: Iterator, depth: int = 2) -> Iterator:
    """Run an iterator in a thread of its own, up to `depth` items ahead; errors come through."""
    items: queue.Queue = queue.Queue(depth)
    ended = threading.Event()

    def put(item: tuple[str, object]) -> bool:
        while not ended.is_set():
            try:
                items.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in source:
                if not put(("item", item)):
                    return
            put(("end", None))
        except BaseException as error:  # raised again where the items are used
            put(("error", error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, item = items.get()
            if kind == "error":
                raise item
            if kind == "end":
                return
            yield item
    finally:
        ended.set()
        thread.join()
