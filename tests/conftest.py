import os
import shutil
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import h5py
import joblib
import numpy as np
import pytest
from filelock import FileLock

import RISCluster  # noqa: F401  (sets up OpenMP before torch is loaded)
from RISCluster.clustering import initialisation
from RISCluster.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("RISCLUSTER_TEST_DATA", ROOT.parent / "shared" / "data"))
N_CLASSES = 3


def shared_data(name: str) -> Path:
    """A real data set, or skip the test where there is none."""
    if not (SHARED / name).exists():
        pytest.skip(f"no {name} in {SHARED}")
    return SHARED / name


def blobs(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n spectrograms of three classes that differ by the place of a bump, and their classes."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % N_CLASSES
    f, t = np.mgrid[0:16, 0:20]
    centre_f, centre_t = np.array([4, 8, 12])[classes], np.array([14, 10, 6])[classes]
    bump = np.exp(-((f - centre_f[:, None, None]) ** 2 + (t - centre_t[:, None, None]) ** 2) / 8.0)
    noise = 0.1 * rng.random(bump.shape)
    gain = rng.uniform(0.5, 2.0, (n, 1, 1))
    return (gain * (bump + noise)).astype(np.float32), classes


IDS = [f"XH.DR{i % 4:02d}..HHZ" for i in range(96)]


def write_samples(path: Path, spectrogram: np.ndarray, **columns) -> Path:
    *_, f, t = spectrogram.shape
    with h5py.File(path, "w") as file:
        file["spectrogram"] = spectrogram
        file["frequency"] = np.arange(f) * 0.5 + 1.0
        file["time"] = np.arange(t) * 0.1
        for name, values in columns.items():
            file[name] = values
    return path


def write_small_file(path: Path) -> Path:
    """96 samples of three classes, with labels, start times and trace ids."""
    spectrogram, labels = blobs(96)
    times = [f"2016-01-01T00:{i // 60:02d}:{i % 60:02d}.000000Z" for i in range(96)]
    return write_samples(path, spectrogram, labels=labels, starttime=times, trace_id=IDS)


@pytest.fixture
def small_file(tmp_path) -> Path:
    return write_small_file(tmp_path / "small.h5")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The test's folder as working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


QUICK = (
    "run.name=test", "run.figures=no", "run.device=cpu", "aec.n_features=3", "aec.n_epochs=4",
    "aec.batch_size=16", "gmm.n_clusters=2-4", "gmm.n_init=3", "dec.n_epochs=3",
    "dec.batch_size=16", "dec.tol=0",
)  # fmt: skip


def quick_settings(folder: Path, *overrides: str) -> Settings:
    """Settings of a quick run in a folder; overrides as on the command line."""
    (folder / "config.ini").write_text("[run]\n")
    words = (*QUICK, f"run.folder={folder / 'Outputs'}", *overrides)
    return load_settings(folder / "config.ini", words)


@pytest.fixture
def make_settings(tmp_path):
    return lambda *overrides: quick_settings(tmp_path, *overrides)


@pytest.fixture(scope="session", autouse=True)
def maps_are_drawn_once():
    """A map is the same for a seed, and dozens of tests run the stages on the same latents."""
    draw, drawn = initialisation.tsne, {}

    @wraps(draw)
    def drawn_once(*words):
        key = joblib.hash(words)
        if key not in drawn:
            drawn[key] = draw(*words)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initialisation, "tsne", drawn_once)
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """``made_once(make)``: a folder filled by ``make(folder)`` once, for all workers of xdist."""
    top = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        top = top.parent

    def folder_of(make: Callable[[Path], None]) -> Path:
        folder = top / f"made_{make.__module__}.{make.__name__}"
        with FileLock(f"{folder}.lock"):
            if not (folder / "done").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                (folder / "done").touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def made_run(made_once) -> Path:
    """Folder of a run of three stages on 96 samples of three classes; not to be changed."""
    return made_once(three_stages) / "Outputs" / "test"


@pytest.fixture(scope="session")
def trained(made_run) -> tuple[Path, Path]:
    """That run, and the file that it was trained on; not to be changed."""
    return made_run, made_run.parent.parent / "small.h5"


@pytest.fixture(scope="session")
def with_traces(trained, tmp_path_factory) -> Path:
    """A copy of that file that has waveforms too; not to be changed."""
    path = Path(shutil.copy(trained[1], tmp_path_factory.mktemp("traces")))
    with h5py.File(path, "a") as file:
        file["trace"] = np.random.default_rng(0).normal(size=(96, 200)).astype("f4")
        file["trace"].attrs.update(sampling_rate=100.0, units="m/s")
    return path


def three_stages(folder: Path) -> None:
    spectrogram, classes = blobs(96)
    spectrogram[5] = 0  # unusable
    times = [f"2016-{1 + i % 12:02d}-01T{i % 24:02d}:00:{i % 60:02d}.000000Z" for i in range(96)]
    # Detections of all but the last three: 0.25 s after the start of the window, 0.5 s long.
    found = {
        name: [time.replace(".000000Z", f".{rest}Z") for time in times[:93]] + [""] * 3
        for name, rest in (("onset", "250000"), ("end", "750000"), ("peak_time", "500000"))
    }
    path = write_samples(
        folder / "small.h5", spectrogram, labels=classes, starttime=times, trace_id=IDS,
        peak_amplitude=np.arange(96, dtype="f4") / 1000, duration=np.arange(96, dtype="f4") / 10,
        **found,
    )  # fmt: skip
    with h5py.File(path, "a") as file:
        file["peak_amplitude"].attrs["units"] = "m/s"
        file.attrs["build.method"], file.attrs["build.trigger"] = "detect", "recursive"
    from tests.stages.conftest import run_all  # which imports this module

    words = ("aec.n_epochs=6", "dec.n_clusters=3", "dec.n_epochs=2", "dec.tol=0.003")
    run_all(quick_settings(folder, f"data.file={path}", *words))


@pytest.fixture
def centre(monkeypatch):
    """A data centre of three channels at two stations, with an hour of waveforms."""
    from tests.waveforms.fdsn_server import Centre  # which needs obspy

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Centre({"AAA": ["HHZ", "HHN"], "BBB": ["HHZ"]}) as running:
        yield running


@pytest.fixture
def run_folder(made_run, tmp_path) -> Path:
    """A copy of it to work on; the data file stays where it is."""
    return Path(shutil.copytree(made_run, tmp_path / "run"))
