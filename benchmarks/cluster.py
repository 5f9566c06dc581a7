"""Efficiency of `build` on a Dask cluster of this machine, and the cost of a part without work.

python benchmarks/cluster.py --days 12 --workers 1,2
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from building import write_stations
from common import numbers, parser, seconds

from RISCluster.parallel import Job, Parts
from RISCluster.settings import load_settings


def empty(task: int, path: Path) -> dict:
    """A part without work."""
    path.write_text(str(task))
    return {}


def main() -> None:
    """Print seconds and efficiency by number of workers."""
    import distributed

    from RISCluster.waveforms.build import build

    options = parser(__doc__)
    options.add_argument("--days", type=int, default=12, help="station-days of 100 Hz")
    options.add_argument("--workers", type=numbers, default=[1, 2], help="numbers of workers")
    options.add_argument("--parts", type=int, default=300, help="parts without work")
    options.add_argument("--turns", type=int, default=3, help="of which the fastest counts")
    given = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder, first = Path(name), None
        (folder / "days").mkdir()
        write_stations(folder / "days", given.days, 86_400)
        for n in map(int, given.workers):
            one = {"n_workers": n, "threads_per_worker": 1, "dashboard_address": None}
            with distributed.LocalCluster(**one) as cluster:
                words = "run.backend=dask", f"run.scheduler={cluster.scheduler_address}"
                settings, days = load_settings(None, words), [str(folder / "days")]
                targets = [folder / f"{n}-{turn}.h5" for turn in range(given.turns + 1)]
                times = [seconds(lambda t=t: build(days, t, settings)) for t in targets]  # noqa: B023
                parts = Parts(folder / "empty", settings.run)
                jobs = [Job(f"{i}", i, i) for i in range(given.parts)]
                each = seconds(lambda: parts.run(jobs, empty, 0, "Parts", "parts"))  # noqa: B023
                parts.remove()
            best = min(times[1:])  # the first loads the modules
            first = first or best * n
            print(
                f"{n} workers: {best:.1f} s for {given.days} station-days, efficiency "
                f"{first / best / n:.2f}; {1e3 * each / given.parts:.0f} ms for a part without work"
            )


if __name__ == "__main__":
    main()
