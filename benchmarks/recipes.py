"""Sets with known classes x ways to cluster them x seeds: does a cluster mean what an expert says?

    python benchmarks/recipes.py --data FOLDER                    everything; hours
    python benchmarks/recipes.py --sets demo,pnw --recipes default,paper --seeds 2
    python benchmarks/recipes.py --report --plot recipes.png      the table of what is there, drawn

Every method is told the true number of classes and nothing else of them: labels score, and score
only. A result is a line of ``--out`` as soon as it is there, and what is there is not done again;
labels and trained autoencoders lie beside it, in folders of the same name.
The sets named here are read from ``FOLDER/NAME.h5``; those that are missing are left out, those
whose name begins with ``demo`` are synthetic. Needs umap-learn and clustpy for the recipes with
their names in it, and leaves these out without them.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
import RISCluster  # noqa: F401  isort: skip  (sets up OpenMP before torch is loaded)
import h5py
import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score

from RISCluster.clustering.mixture import fit_kmeans, fit_mixture
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.synthetic import write_demo
from RISCluster.data.transforms import Preparation
from RISCluster.evaluation.metrics import agreement, overlap, reliability
from RISCluster.runs.labels import read_labels
from RISCluster.runtime import log
from RISCluster.settings import load_settings
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec

# Signal-to-noise ratio in dB and the largest class over the smallest.
DEMO = {"demo": (6.0, 1.0), "demo0": (0.0, 1.0), "demo-5": (-5.0, 1.0), "demo1:50": (6.0, 50.0)}
FILES = {"pnw": "pnw", "fsdd": "fsdd", "esc10": "esc10", "mnist": "mnist"}
FILES |= {"rutford": "rutford_icequakes"}
RUTFORD_CLUSTERS = 8  # it has no classes: for the stability of labels alone

OURS = {
    "default": [],
    "paper": ["run.recipe=paper"],
    # The default but for one choice.
    "no-views": ["aec.n_components=0"],
    "kmeans-start": ["gmm.init=kmeans"],
    "no-prior": ["gmm.covariance_shrinkage=0"],
    "always-refined": ["dec.keep=refined"],
    "global-scale": ["dec.latent_scale=global"],
    "student-labels": ["dec.labels=student"],
    "uncalibrated": ["gmm.n_resamples=none"],
}

# Of each stage: labels, where they lie, and how probable they are where that is told.
Labels = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]]
# File, number of clusters and seed to labels, and seconds of work that was done before.
Method = Callable[[Path, int, int], tuple[Labels, float]]
SECONDS = "seconds.txt"


# ---- ways to cluster ----------------------------------------------------------------------------


def stages(words: list[str], kept: Path) -> Method:
    """The three stages, as a user runs them; the first one's networks are kept."""

    def work(path: Path, n_clusters: int, seed: int) -> tuple[Labels, float]:
        with tempfile.TemporaryDirectory() as folder:
            fixed = [f"data.file={path}", f"run.seed={seed}", "run.figures=no"]
            fixed += [f"gmm.n_clusters={n_clusters}", f"run.folder={folder}"]
            settings = load_settings(None, fixed + words)
            early = [word for word in words if word.startswith(("run.", "data.", "aec."))]
            trained, seconds = autoencoder(path, seed, early, kept)
            shutil.copytree(trained, settings.run_folder / "AEC")
            for stage in (run_gmm, run_dec):
                stage(settings)
            found = {stage: _read_labels(settings.run_folder / stage) for stage in ("GMM", "DEC")}
            return found, seconds

    return work


def autoencoder(path: Path, seed: int, words: list[str], kept: Path) -> tuple[Path, float]:
    """Folder of the first stage, trained once for recipes that differ after it.

    Returns
    -------
    Path
    float
        Seconds that it took, where it was there already.
    """
    done = kept / " ".join([path.stem, *words, str(seed)])
    if done.exists():
        return done, float((done / SECONDS).read_text())
    kept.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as folder:
        fixed = [f"run.folder={folder}", f"data.file={path}", f"run.seed={seed}"]
        settings = load_settings(None, [*fixed, "run.figures=no", *words])
        began = time.perf_counter()
        run_aec(settings)
        trained = settings.run_folder / "AEC"
        (trained / SECONDS).write_text(f"{time.perf_counter() - began:.1f}")
        try:
            trained.rename(done)
        except OSError:  # another process was faster
            pass
    return done, 0.0


def _read_labels(stage: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = read_labels(stage / "labels.csv")
    label, probability = (table[name].to_numpy() for name in ("label", "probability"))
    return label, np.load(stage / "latent.npy"), probability


def components(amplitude: str, n: int, method: str) -> Method:
    """K-means, a mixture, or UMAP and a mixture, on principal components at unit norm."""

    def work(path: Path, n_clusters: int, seed: int) -> tuple[Labels, float]:
        flat = prepared(path, amplitude).reshape(n_samples(path), -1)
        z = PCA(n, svd_solver="randomized", random_state=seed).fit_transform(flat)
        z = (z / z.std()).astype(np.float64)
        if method == "umap":
            from umap import UMAP

            # For clusters as its manual has it: no minimal distance, more neighbours than 15.
            mapping = UMAP(n_neighbors=30, min_dist=0.0, random_state=seed, n_jobs=1)
            z = mapping.fit_transform(z).astype(np.float64)
        kmeans = fit_kmeans(z, n_clusters, 20, seed)
        if method == "kmeans":
            return {"": (kmeans.labels_, z, None)}, 0.0
        posterior = fit_mixture(z, kmeans.labels_, n_clusters, prior=0).posterior(z)
        return {"": (posterior.argmax(1), z, posterior.max(1))}, 0.0

    return work


def clustpy(name: str) -> Method:
    """A method of ClustPy with its own defaults, on square-root amplitudes, scaled as it needs."""

    def work(path: Path, n_clusters: int, seed: int) -> tuple[Labels, float]:
        from clustpy import deep

        flat = prepared(path, "sqrt").reshape(n_samples(path), -1)
        # VaDE's loss is for values from 0 to 1.
        flat = flat / flat.max() if name == "VaDE" else (flat - flat.mean()) / flat.std()
        method = getattr(deep, name)(n_clusters, random_state=seed, device=torch.device("cpu"))
        method.fit(flat.astype(np.float32))
        return {"": (method.labels_, flat[:, :1], None)}, 0.0

    return work


def recipes(kept: Path = Path()) -> dict[str, Method]:
    """All of them by name; `kept` is the folder of networks."""
    found: dict[str, Method] = {name: stages(words, kept) for name, words in OURS.items()}
    for amplitude in ("linear", "sqrt", "log"):
        for n in (9, 20, 50):
            for method in ("kmeans", "gmm", "umap"):
                if method != "umap" or importlib.util.find_spec("umap"):
                    found[f"pca{n}-{amplitude}-{method}"] = components(amplitude, n, method)
    if importlib.util.find_spec("clustpy"):
        found |= {f"clustpy-{name}": clustpy(name) for name in ("DEC", "IDEC", "VaDE")}
    return found


# ---- sets ---------------------------------------------------------------------------------------


def place(name: str, data: Path | None, work: Path) -> Path | None:
    """File of a set, written first where it is synthetic or not in a layout of ours."""
    if name in DEMO:
        path = work / f"{name.replace(':', '_')}.h5"
        snr, imbalance = DEMO[name]
        return path if path.exists() else write_demo(path, snr_db=snr, imbalance=imbalance)
    source = data and data / f"{FILES[name]}.h5"
    if source is None or not source.exists():
        return None
    return _images(source, work / "mnist.h5") if name == "mnist" else source


def _images(source: Path, path: Path) -> Path:
    if not path.exists():
        with h5py.File(source) as given, h5py.File(path, "w") as file:
            images = given["images"][:].astype(np.float32)
            file["spectrogram"], file["labels"] = images, given["labels"][:].astype(int)
    return path


def n_samples(path: Path) -> int:
    with open_spectrograms(path) as file:
        return file.n_samples


def prepared(path: Path, amplitude: str) -> np.ndarray:
    """All samples at unit norm, (N, F, T)."""
    with open_spectrograms(path) as file:
        return Preparation(amplitude, "vec_norm")(
            torch.from_numpy(file.read(0, file.n_samples)).clamp_min(0)
        ).numpy()


def known_classes(path: Path) -> np.ndarray | None:
    with open_spectrograms(path) as file:
        return file.labels()


# ---- doing and showing --------------------------------------------------------------------------


def purity(labels: np.ndarray, truth: np.ndarray) -> float:
    """Share of samples that are of the commonest class of their cluster."""
    right = sum(np.bincount(truth[labels == label]).max() for label in np.unique(labels))
    return float(right / len(truth))


def smallest_recall(labels: np.ndarray, truth: np.ndarray) -> float:
    """Lowest share of a class (of 1 % or more) that lies in clusters where it is the commonest."""
    shares = []
    for name, count in zip(*np.unique(truth, return_counts=True), strict=True):
        if count >= 0.01 * len(truth):
            own = [k for k in np.unique(labels) if np.bincount(truth[labels == k]).argmax() == name]
            shares.append(np.isin(labels[truth == name], own).mean())
    return float(min(shares))


def calibration_error(labels: np.ndarray, probability: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error; right is what is of the commonest class of its cluster."""
    known = (labels >= 0) & (truth >= 0)
    return reliability(overlap(labels, truth), probability[known]).error


def measure(name: str, recipe: str, seed: int, path: Path, out: Path) -> list[dict]:
    """Results of one recipe on one set with one seed: a line for each stage that labels."""
    torch.set_num_threads(1)
    log.disabled = True
    truth = known_classes(path)
    n_clusters = RUTFORD_CLUSTERS if truth is None else len(np.unique(truth))
    began = time.perf_counter()
    found, before = recipes(out.with_suffix(".networks"))[recipe](path, n_clusters, seed)
    seconds = before + time.perf_counter() - began
    lines = []
    for stage, (labels, z, probability) in found.items():
        what = f"{recipe} {stage}".strip()
        folder = out.with_suffix(".labels")
        folder.mkdir(exist_ok=True)
        np.save(folder / f"{name.replace(':', '_')} {what} {seed}.npy", labels.astype(np.int16))
        line = {"set": name, "recipe": recipe, "what": what, "seed": seed, "seconds": seconds}
        if truth is not None:
            line |= agreement(labels, truth) | {"purity": purity(labels, truth)}
            line["smallest_recall"] = smallest_recall(labels, truth)
        if truth is not None and probability is not None:
            line["calibration_error"] = calibration_error(labels, probability, truth)
        chosen = np.random.default_rng(0).permutation(len(labels))[:5000]
        if len(np.unique(labels[chosen])) > 1:
            line["silhouette"] = float(silhouette_score(z[chosen], labels[chosen]))
        lines.append(line)
    return lines


def read(out: Path) -> list[dict]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def run(todo: Iterable[tuple], out: Path, jobs: int) -> None:
    """Do what is left, a process each, and write every result as it comes."""
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, maxtasksperchild=1) as pool:
        waiting = [(task, pool.apply_async(measure, (*task, out))) for task in todo]
        for task, result in waiting:
            try:
                lines = result.get()
            except Exception as error:  # the others go on
                print(f"{' '.join(map(str, task[:3]))}: {type(error).__name__}: {error}")
                continue
            with out.open("a") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
            for line in lines:
                print(one_line(line), flush=True)


def one_line(line: dict) -> str:
    scores = "  ".join(f"{key} {line.get(key, 0):.3f}" for key in ("accuracy", "nmi", "ari"))
    what = f"{line['set']:<9} {line['what']:<22} {line['seed']}"
    return f"{what}  {scores}  {line['seconds']:.0f} s"


def stability(name: str, what: str, seeds: list[int], out: Path) -> float:
    """Mean adjusted Rand index between the labels of any two seeds."""
    folder = out.with_suffix(".labels")
    names = [folder / f"{name.replace(':', '_')} {what} {seed}.npy" for seed in seeds]
    labels = [np.load(path) for path in names if path.exists()]
    pairs = [adjusted_rand_score(a, b) for i, a in enumerate(labels) for b in labels[:i]]
    return float(np.mean(pairs)) if pairs else float("nan")


def table(out: Path, key: str = "nmi") -> str:
    """Mean and range of every recipe on every set, in Markdown; the mean over sets last."""
    lines = read(out)
    sets = [name for name in (*DEMO, *FILES) if any(line["set"] == name for line in lines)]
    scored = [name for name in sets if name != "rutford"]
    rows = [f"| {key} | {' | '.join(sets)} | mean | stability |", "|---" * (len(sets) + 3) + "|"]
    means = {}
    for what in dict.fromkeys(line["what"] for line in lines):
        cells, values, stable = [], [], []
        for name in sets:
            mine = [line for line in lines if (line["set"], line["what"]) == (name, what)]
            stable += [stability(name, what, [line["seed"] for line in mine], out)]
            found = [line[key] for line in mine if key in line]
            if found:
                values.append(np.mean(found))
                spread = f" ({min(found):.2f}-{max(found):.2f})" if len(found) > 1 else ""
                cells.append(f"{values[-1]:.3f}{spread}")
            else:
                cells.append("" if name != "rutford" else f"{stable[-1]:.2f}")
        if not values and key == "calibration_error":  # k-means says nothing of probability
            continue
        complete = len(values) == len(scored)
        means[what] = np.mean(values) if complete else -1.0
        mean = f"{means[what]:.3f}" if complete else ""
        known = [value for value in stable if np.isfinite(value)]
        steady = f"{np.mean(known):.2f}" if known else ""
        row = f"| {what} | {' | '.join(cells)} | {mean} | {steady} |"
        rows.append((means[what], row))
    body = sorted((row for row in rows if isinstance(row, tuple)), key=lambda row: -row[0])
    return "\n".join([*rows[:2], *(row for _, row in body)])


def plot(out: Path, target: Path, key: str = "nmi") -> None:
    """A panel a set: mean and range of every recipe there, those of this package in colour."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [line for line in read(out) if key in line]
    sets = [name for name in (*DEMO, *FILES) if any(line["set"] == name for line in lines)]
    recipes = list(dict.fromkeys(line["what"] for line in sorted(lines, key=_order)))[::-1]
    figure = Figure(figsize=(2.1 * len(sets) + 2, 0.24 * len(recipes) + 1), layout="constrained")
    panels = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, sets, strict=True):
        for row, what in enumerate(recipes):
            values = [line[key] for line in lines if (line["set"], line["what"]) == (name, what)]
            if values:
                colour = next((c for start, c in COLOURS.items() if what.startswith(start)), "grey")
                panel.plot([min(values), max(values)], [row, row], color=colour, lw=1.5)
                panel.plot(np.mean(values), row, "o", color=colour, ms=5)
        panel.set(title=name, xlabel=key.upper() if key != "accuracy" else key)
        panel.grid(alpha=0.3)
    panels[0].set_yticks(range(len(recipes)), recipes)
    FigureCanvasAgg(figure).print_png(target)


COLOURS = {"default": "#0072B2", "paper": "#D55E00"}


def _order(line: dict) -> int:
    """The package's own first, then in the order in which recipes are listed."""
    return list(recipes()).index(line["recipe"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of the labelled files")
    parser.add_argument("--sets", default=",".join((*DEMO, *FILES)))
    parser.add_argument("--recipes", default="", help="names, several with commas; else all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--out", type=Path, default=Path("Outputs/recipes.jsonl"))
    parser.add_argument("--report", action="store_true", help="only the table of what is there")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw what is there")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    if not arguments.report:
        names = arguments.recipes.split(",") if arguments.recipes else list(recipes())
        done = {(line["set"], line["recipe"], line["seed"]) for line in read(arguments.out)}
        paths = {
            name: place(name, arguments.data, arguments.out.parent)
            for name in arguments.sets.split(",")
        }
        todo = [
            (name, recipe, seed, path)
            for seed in range(arguments.seeds)
            for name, path in paths.items()
            for recipe in names
            if path and (name, recipe, seed) not in done
        ]
        run(todo, arguments.out, arguments.jobs)
    for key in ("nmi", "accuracy", "ari", "calibration_error"):
        print(table(arguments.out, key), end="\n\n")
    if arguments.plot:
        plot(arguments.out, arguments.plot)


if __name__ == "__main__":
    main()
