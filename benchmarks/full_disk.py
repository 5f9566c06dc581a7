"""Disks that are full: does every stage say so, keep what is good, and go on when there is room?

    python benchmarks/full_disk.py [--sizes 24]          (as root on Linux: it mounts a tmpfs)

The three stages run in a file system that is too small, with sizes from where nothing fits to
where nearly everything does. Each must end with exit code 2 and a line that names the file, or
with 0; then the file system grows, the stages run again, and every result must be the same to the
byte as on a disk that was never full, with nothing beside it. Then the same for a folder that
is read-only, and for a data file that is removed while a stage works.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from kills import AEC, DEC, GMM, ROOT, WORDS, different, left_over, write_inputs

SCRIPTS = ("AEC_train.py", "GMM_centroids.py", "DEC_train.py")
RESULTS = (AEC, GMM, DEC)
ROOM = "64m"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, default=24, help="of the disk that is too small")
    arguments = parser.parse_args()
    if os.geteuid():
        sys.exit("mounting a file system needs root")
    with tempfile.TemporaryDirectory() as top:
        faults = measure(Path(top), arguments.sizes)
    print(*(f"fault: {fault}" for fault in faults), f"{len(faults)} faults", sep="\n")
    sys.exit(bool(faults))


def measure(top: Path, n: int) -> list[str]:
    base = top / "base"
    base.mkdir()
    write_inputs(base, 320)
    if any(code for code, _ in stages(base)):
        sys.exit("the stages fail where there is room")
    needed = sum(path.stat().st_size for path in (base / "Outputs").rglob("*") if path.is_file())
    print(f"results take {needed / 1e6:.2f} MB")
    faults: list[str] = []
    ends: Counter = Counter()
    for number in range(n):
        size = round(needed * 1.2 * (number + 1) / n)
        with Disk(top / f"disk{number}", base, f"{size}") as disk:
            faults += trial(f"{size:,} bytes", base, disk, ends, lambda d: d.resize(ROOM))
    for number in range(3):
        with Disk(top / f"readonly{number}", base, ROOM) as disk:
            faults += read_only(base, disk, number, ends)
            faults += removed(base, disk, number, ends)
    print(*(f"{count:>4} {what}" for what, count in sorted(ends.items())), sep="\n")
    return faults


class Disk:
    """A tmpfs with the inputs linked in it, for the time of a block."""

    def __init__(self, path: Path, base: Path, size: str):
        self.path, self.base, self.size = path, base, size

    def __enter__(self) -> "Disk":
        self.path.mkdir()
        self._mount(f"size={self.size}", "-t", "tmpfs", "tmpfs")
        for name in ("config.ini", "s.h5"):
            (self.path / name).symlink_to(self.base / name)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", self.path], check=True)

    def _mount(self, options: str, *words: str) -> None:
        subprocess.run(["mount", "-o", options, *words, self.path], check=True)

    def resize(self, size: str) -> None:
        self._mount(f"remount,size={size}")

    def set_read_only(self, on: bool) -> None:
        self._mount("remount,ro" if on else "remount,rw")


def stages(folder: Path, first: int = 0) -> list[tuple[int, str]]:
    """Exit code and last line of errors of each stage, up to the first that fails."""
    ends = []
    for name in SCRIPTS[first:]:
        done = subprocess.run(
            command(name), cwd=folder, capture_output=True, text=True, env=environment()
        )
        ends.append((done.returncode, done.stderr.strip()))
        if done.returncode:
            break
    return ends


def command(name: str) -> list[str]:
    return [sys.executable, str(ROOT / name), *WORDS]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def trial(what: str, base: Path, disk: Disk, ends: Counter, mend) -> list[str]:
    """Run until it fails, mend, run again: what is not as it should be."""
    faults = checked(what, stages(disk.path), ends)
    mend(disk)
    return faults + after(what, base, disk)


def checked(what: str, found: list[tuple[int, str]], ends: Counter) -> list[str]:
    code, said = found[-1]
    last = said.splitlines()[-1] if said else ""
    ends[f"end with {code} at {SCRIPTS[len(found) - 1]}" if code else "end well"] += 1
    good = code == 0 or (code == 2 and len(said.splitlines()) == 1 and "Traceback" not in said)
    return [] if good else [f"{what}: ends with {code}: {last[-200:]}"]


def after(what: str, base: Path, disk: Disk) -> list[str]:
    code, said = stages(disk.path)[-1]
    if code:
        return [f"{what}: started again it ends with {code}: {said[-300:]}"]
    faults = different(base, disk.path, RESULTS) + left_over(disk.path)
    return [f"{what}: {fault}" for fault in faults]


def run_first(disk: Disk, number: int) -> None:
    for name in SCRIPTS[:number]:
        subprocess.run(
            command(name), cwd=disk.path, check=True, capture_output=True, env=environment()
        )


def read_only(base: Path, disk: Disk, number: int, ends: Counter) -> list[str]:
    """A stage that begins in a folder that can't be written."""
    what = f"read-only before {SCRIPTS[number]}"
    run_first(disk, number)
    disk.set_read_only(True)
    faults = checked(what, stages(disk.path, number), ends)
    disk.set_read_only(False)
    faults += after(what, base, disk)
    shutil.rmtree(disk.path / "Outputs")
    return faults


def removed(base: Path, disk: Disk, number: int, ends: Counter) -> list[str]:
    """The data file goes while a stage works; it is a copy, and is put back afterwards."""
    what = f"data removed during {SCRIPTS[number]}"
    (disk.path / "s.h5").unlink()
    shutil.copy2(base / "s.h5", disk.path / "s.h5")
    run_first(disk, number)
    process = subprocess.Popen(
        command(SCRIPTS[number]), cwd=disk.path, text=True, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    place = disk.path / RESULTS[number] / "config.ini"
    while not place.exists() and process.poll() is None:
        time.sleep(0.002)
    (disk.path / "s.h5").unlink()
    said = process.communicate()[1].strip()
    faults = checked(what, [(0, "")] * number + [(process.returncode, said)], ends)
    faults += checked(f"{what}, the next", stages(disk.path, number), ends)
    shutil.copy2(base / "s.h5", disk.path / "s.h5")
    return faults + after(what, base, disk)


if __name__ == "__main__":
    main()
