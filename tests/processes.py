"""Processes as torchrun would start them, forked from one that has imported all modules."""

import multiprocessing
import os
import pickle
from pathlib import Path

import torch
from torch.distributed import TCPStore

from RISCluster.distributed import start_ranks

SECONDS = 60  # after which a process that hangs is ended
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([
    __name__, "tests.test_processes", "tests.test_distributed", "torch._dynamo",
    "RISCluster.stages.pretrain", "RISCluster.stages.cluster", "RISCluster.stages.refine",
])  # fmt: skip


def _process(rank, world, port, folder, work, arguments):
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    names |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": True}
    os.environ.update({name: str(value) for name, value in names.items()})
    os.chdir(folder)
    for number in (1, 2):  # standard output and errors
        os.dup2(os.open(f"out{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    torch.set_num_threads(1)
    Path(f"result{rank}").write_bytes(pickle.dumps(work(*arguments)))


def run_processes(folder: Path, world: int, work, *arguments) -> tuple[list[int], list, str, str]:
    """Exit codes, results, standard output and errors of a function on several processes."""
    for path in folder.glob("out?"):
        path.unlink()
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun's
    processes = [
        _server.Process(target=_process, args=(rank, world, store.port, folder, work, arguments))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
        process.kill()
        process.join()
    paths = [folder / f"result{rank}" for rank in range(world)]
    results = [pickle.loads(path.read_bytes()) if path.exists() else None for path in paths]
    out, err = (path.read_text() for path in sorted(folder.glob("out?")))
    return [process.exitcode for process in processes], results, out, err


def _as_rank(work, arguments):
    with start_ranks("cpu") as ranks:
        return work(ranks, *arguments)


def on_ranks(folder: Path, world: int, work, *arguments) -> list:
    """Results of a function of `Ranks` on several processes, in their order."""
    codes, results, _, err = run_processes(folder, world, _as_rank, work, arguments)
    assert codes == [0] * world, err
    return results
