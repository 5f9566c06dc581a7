"""Parts on the workers of a real Dask cluster: a scheduler and two processes of this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from RISCluster.__main__ import main
from RISCluster.errors import RunError
from RISCluster.parallel import Job, Parts
from RISCluster.settings import load_settings
from tests.clustering.test_fit import NUMBERS, fitted
from tests.fibre.fibre import record
from tests.waveforms.waves import NOON, QUICK, RATE, eventful, write

distributed = pytest.importorskip("distributed")
ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.filterwarnings("ignore")  # those of the client


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Words for settings of it."""
    folder, running = tmp_path_factory.mktemp("cluster"), []
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    file, worker = folder / "scheduler.json", "dask_worker --nthreads 1 --death-timeout 60"
    for name in ("dask_scheduler --port 0", worker, worker):
        words = f"-m distributed.cli.{name} --no-dashboard --scheduler-file {file}".split()
        options = {"cwd": folder, "env": environment, "stderr": subprocess.STDOUT}
        options["stdout"] = (folder / f"log{len(running)}").open("w")
        running.append(subprocess.Popen([sys.executable, *words], **options))
    with distributed.Client(scheduler_file=file, timeout=60) as client:
        client.wait_for_workers(2, 60)
        yield ["run.backend=dask", f"run.scheduler={client.scheduler.address}"]
    for process in running[::-1]:
        process.terminate()
        process.wait(30)


def where(task, path: Path):
    """A part that notes its process, which a task of "kill" ends at the first try."""
    time.sleep(0.1)
    with path.with_name("log").open("a") as file:
        file.write(f"{task} {os.getpid()}\n")
    if task == "kill" and not path.with_name("killed").exists():
        path.with_name("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    path.write_text(str(task))
    return {}


def test_a_killed_worker_costs_its_own_part(cluster, tmp_path):
    parts = Parts(tmp_path / "out.h5", load_settings(None, cluster).run)
    jobs = [Job(f"part{n}", "kill" if n == 7 else n, n) for n in range(30)]
    assert parts.run(jobs, where, 0, "Working", "parts")
    assert all(map(parts.is_done, jobs))
    lines = [line.split() for line in (parts.folder / "log").read_text().splitlines()]
    done = [task for task, _ in lines]
    assert len({process for _, process in lines}) == 3  # two, and the one in place of the killed
    assert sorted(done) == sorted([*(str(n) for n in range(30) if n != 7), "kill", "kill"])
    assert not list(parts.folder.glob("*.begun"))


def test_build_cube_and_labels_are_the_same_bytes(cluster, trained, here, monkeypatch):
    monkeypatch.setattr("RISCluster.fibre.make_cube.BLOCK_VALUES", 4000)
    monkeypatch.setattr("RISCluster.stages.predict.COLUMN_ROWS", 50)
    Path("waves").mkdir()
    for number in range(6):
        data = f"XX.S{number}..HHZ", NOON, RATE, eventful(seed=number)
        write(Path(f"waves/{number}.mseed"), data)
    record(Path("das.h5"), np.random.default_rng(0).standard_normal((3000, 12)))
    quick = [*QUICK, "events.associate=no", "records.window=0.2", "records.step=0.1"]
    for name, words in (("one", []), ("all", cluster)):
        Path(name).mkdir()
        assert main(["build", "waves", "-o", f"{name}/set.h5", *quick, *words]) == 0
        assert main(["cube", "das.h5", "-o", f"{name}/cube.h5", *quick, *words]) == 0
        labels = [str(trained[1]), "--run", str(trained[0]), "-o", f"{name}/labels.csv"]
        assert main(["predict", *labels, *words]) == 0
    one, every = ({x.name: x.read_bytes() for x in Path(y).iterdir()} for y in ("one", "all"))
    assert one.keys() == {"set.h5", "set.csv", "cube.h5", "labels.csv", "labels.latent.npy"}
    assert one == every


def test_fits_are_the_same(cluster, tmp_path):
    one, rows, *_ = fitted(tmp_path / "one")
    every, all_rows, *_ = fitted(tmp_path / "all", *cluster)
    assert str(rows) == str(all_rows)
    for k in NUMBERS:
        np.testing.assert_equal(one[k].arrays(), every[k].arrays())


def test_a_scheduler_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("RISCluster.parallel.CONNECT", 1)
    words = ["run.backend=dask", "run.scheduler=tcp://127.0.0.1:9"]
    parts = Parts(tmp_path / "out.h5", load_settings(None, words).run)
    with pytest.raises(RunError, match=r"tcp://127.0.0.1:9: no answer of a dask scheduler with"):
        parts.run([Job("part", 1, 1)], where, 0, "Working", "parts")
