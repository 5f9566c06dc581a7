"""Full disks: does every stage say so, keep what is good, and go on when there is room?

    python benchmarks/full_disk.py [--sizes 24]          (as root on Linux: it mounts a tmpfs)

The three stages run in file systems from where nothing fits to where nearly everything does, in a
folder that is read-only, and with a data file that is removed while a stage works. Each must end
with 0, or with 2 and one line of error. Then the cause is removed, the stages run again, and every
result must be the same to the byte as on a good disk, with no other file left.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from common import ROOT, SCRIPTS, environment, parser
from kills import AEC, DEC, GMM, WORDS, different, left_over, write_inputs

RESULTS = (AEC, GMM, DEC)
ROOM = "size=64m"
End = tuple[int, str]  # exit code and standard error


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, default=24, help="of the disk that is too small")
    given = options.parse_args()
    if os.geteuid():
        sys.exit("mounting a file system needs root")
    with tempfile.TemporaryDirectory() as top:
        trials = Trials(Path(top))
        trials.run(given.sizes)
    print(*(f"{count:>4} {what}" for what, count in sorted(trials.ends.items())), sep="\n")
    print(*(f"fault: {fault}" for fault in trials.faults), f"{len(trials.faults)} faults", sep="\n")
    sys.exit(bool(trials.faults))


def start(script: str, folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(ROOT / script), *WORDS], cwd=folder, env=environment(), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def stages(folder: Path, scripts: tuple[str, ...] = SCRIPTS) -> tuple[str, End]:
    """The last script that ran, which is the first that failed, and its end."""
    for script in scripts:
        process = start(script, folder)
        error = process.communicate()[1].strip()
        if process.returncode:
            break
    return script, (process.returncode, error)


def remount(path: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", path], check=True)


class Trials:
    """Runs on bad disks, compared with one on a good disk."""

    def __init__(self, top: Path):
        self.top, self.base = top, top / "base"
        self.base.mkdir()
        write_inputs(self.base, 320)
        if stages(self.base)[1][0]:
            sys.exit("the stages fail where there is room")
        self.faults: list[str] = []
        self.ends: Counter = Counter()

    @contextmanager
    def disk(self, name: str, options: str) -> Iterator[Path]:
        """A tmpfs with the inputs linked in it."""
        path = self.top / name
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
        for file in ("config.ini", "s.h5"):
            (path / file).symlink_to(self.base / file)
        yield path
        subprocess.run(["umount", path], check=True)

    def run(self, n: int) -> None:
        results = (self.base / "Outputs").rglob("*")
        needed = sum(path.stat().st_size for path in results if path.is_file())
        print(f"results take {needed / 1e6:.2f} MB")
        for number in range(n):
            size = round(needed * 1.2 * (number + 1) / n)
            with self.disk(f"small{number}", f"size={size}") as disk:
                self.check(f"{size:,} bytes", *stages(disk))
                remount(disk, ROOM)
                self.check_again(f"{size:,} bytes", disk)
        for number, script in enumerate(SCRIPTS):
            with self.disk(f"read_only{number}", ROOM) as disk:
                self.read_only(script, disk)
            with self.disk(f"removed{number}", ROOM) as disk:
                self.removed(script, disk)

    def check(self, what: str, script: str, end: End) -> None:
        """The end must be good, or an error of one line."""
        code, error = end
        self.ends[f"end with {code} at {script}" if code else "end well"] += 1
        print(f"{what}: {script} ends with {code}: {error[:120]}", flush=True)
        if code and (code != 2 or "\n" in error or "Traceback" in error):
            self.faults.append(f"{what}: ends with {code}: {error[-200:]}")

    def check_again(self, what: str, disk: Path) -> None:
        _, (code, error) = stages(disk)
        if code:
            found = [f"started again it ends with {code}: {error[-300:]}"]
        else:
            found = different(self.base, disk, RESULTS) + left_over(disk)
        self.faults += [f"{what}: {fault}" for fault in found]

    def read_only(self, script: str, disk: Path) -> None:
        """A stage that begins in a folder that can't be written."""
        what, place = f"read-only before {script}", SCRIPTS.index(script)
        if place:
            stages(disk, SCRIPTS[:place])
        remount(disk, "ro")
        self.check(what, *stages(disk, SCRIPTS[place:]))
        remount(disk, "rw")
        self.check_again(what, disk)

    def removed(self, script: str, disk: Path) -> None:
        """The data file, a copy, is removed while a stage works, and put back afterwards."""
        what, place = f"data removed during {script}", SCRIPTS.index(script)
        (disk / "s.h5").unlink()
        shutil.copy2(self.base / "s.h5", disk)
        if place:
            stages(disk, SCRIPTS[:place])
        process = start(script, disk)
        while not (disk / RESULTS[place] / "config.ini").exists() and process.poll() is None:
            time.sleep(0.002)
        (disk / "s.h5").unlink()
        error = process.communicate()[1].strip()
        self.check(what, script, (process.returncode, error))
        self.check(f"{what}, the next", *stages(disk, SCRIPTS[place:]))
        shutil.copy2(self.base / "s.h5", disk)
        self.check_again(what, disk)


if __name__ == "__main__":
    main()
