"""Sets with known classes x ways to cluster them x seeds: does a cluster mean what an expert says?

    python benchmarks/recipes.py --data FOLDER                    everything; hours
    python benchmarks/recipes.py --sets demo,pnw --recipes default,paper --seeds 2
    python benchmarks/recipes.py --report --plot recipes.png      the table of what is there, drawn
    python benchmarks/recipes.py --report --rule "default GMM" "kmeans-start GMM"
                                                                  may the second be the default?

Every method gets the true number of classes; labels are used to score alone. Results are lines of
``--out``, written as they come, and are not computed twice; labels and trained autoencoders lie
beside it, in folders of the same name. Sets are read from ``FOLDER/NAME.h5``; missing ones
are left out, those whose name begins with ``demo`` are synthetic. Recipes with umap in their names
need umap-learn, and are left out without it.
"""

import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from common import h5py, np, parser  # isort: skip  (first, as it sets up OpenMP)
import joblib
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from RISCluster.clustering.mixture import fit_kmeans, fit_mixture
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import Preparation
from RISCluster.data.synthetic import write_demo
from RISCluster.evaluation.metrics import agreement, overlap, reliability
from RISCluster.runs.labels import read_labels
from RISCluster.runtime import log
from RISCluster.settings import load_settings
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec

# Signal-to-noise ratio in dB and the largest class over the smallest.
DEMO = {"demo": (6.0, 1.0), "demo0": (0.0, 1.0), "demo-5": (-5.0, 1.0), "demo1:50": (6.0, 50.0)}
LABELLED = (
    "pnw", "fsdd", "esc10", "mnist", "heart_valve", "isr_distance", "bonn_eeg", "dirt_percussion",
    "mesetas_phases",
)  # fmt: skip
FILES = {name: name for name in LABELLED} | {"rutford": "rutford_icequakes"}
SETS = (*DEMO, *FILES)
RUTFORD_CLUSTERS = 8  # it has no classes: for the stability of labels alone
COLOURS = {"default": "#0072B2", "paper": "#D55E00"}
OURS = {
    "default": [],
    "paper": ["run.recipe=paper"],
    # The default but for one choice.
    "no-fixed-features": ["aec.n_components=0"],
    "kmeans-start": ["gmm.init=kmeans"],
    "no-shrinkage": ["gmm.covariance_shrinkage=0"],
    "always-refined": ["dec.keep=refined"],
    "student-labels": ["dec.labels=student"],
    "uncalibrated": ["gmm.n_resamples=none"],
}
MAX_LOSS = 0.02  # NMI that a new default may lose on a set

# Of each stage: labels, latents, and probabilities where there are any.
Labels = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]]
Method = Callable[[Path, int, int], Labels]  # of file, number of clusters and seed


# ---- ways to cluster ----------------------------------------------------------------------------


def stages(words: list[str], networks: Path, wanted: tuple[str, ...] = ("GMM", "DEC")) -> Method:
    """The stages, as a user runs them; trained autoencoders are stored in a folder."""

    def work(path: Path, n_clusters: int, seed: int) -> Labels:
        with tempfile.TemporaryDirectory() as folder:
            fixed = [f"data.file={path}", f"run.seed={seed}", "run.figures=no"]
            fixed += [f"gmm.n_clusters={n_clusters}", f"run.folder={folder}"]
            settings = load_settings(None, fixed + words)
            early = [word for word in words if word.startswith(("run.", "data.", "aec."))]
            shutil.copytree(autoencoder(path, seed, early, networks), settings.run_folder / "AEC")
            found: Labels = {}
            for name, stage in (("GMM", run_gmm), ("DEC", run_dec)):
                if name in wanted:
                    stage(settings)
                    place = settings.run_folder / name
                    table, z = read_labels(place / "labels.csv"), np.load(place / "latent.npy")
                    found[name] = table["label"].to_numpy(), z, table["probability"].to_numpy()
            return found

    return work


def autoencoder(path: Path, seed: int, words: list[str], networks: Path) -> Path:
    """Folder of the first stage, trained once for recipes that differ after it."""
    done = networks / " ".join([path.stem, *words, str(seed)])
    if not done.exists():
        networks.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=networks) as folder:
            fixed = [f"run.folder={folder}", f"data.file={path}", f"run.seed={seed}"]
            settings = load_settings(None, [*fixed, "run.figures=no", *words])
            run_aec(settings)
            try:
                (settings.run_folder / "AEC").rename(done)
            except OSError:  # another process was faster
                pass
    return done


def components(amplitude: str, n: int, method: str) -> Method:
    """K-means, a mixture, or UMAP and a mixture, on principal components at unit norm."""

    def work(path: Path, n_clusters: int, seed: int) -> Labels:
        with open_spectrograms(path) as file:
            x = torch.from_numpy(file.read(0, file.n_samples)).clamp_min(0)
        x = Preparation(amplitude, "vec_norm")(x).numpy().reshape(len(x), -1)
        z = PCA(n, svd_solver="randomized", random_state=seed).fit_transform(x)
        z = (z / z.std()).astype(np.float64)
        if method == "umap":
            from umap import UMAP

            # For clusters as its manual has it: no minimal distance, more neighbours than 15.
            mapping = UMAP(n_neighbors=30, min_dist=0.0, random_state=seed, n_jobs=1)
            z = mapping.fit_transform(z).astype(np.float64)
        kmeans = fit_kmeans(z, n_clusters, 20, seed)
        if method == "kmeans":
            return {"": (kmeans.labels_, z, None)}
        posterior = fit_mixture(z, kmeans.labels_, n_clusters, shrinkage=0).posterior(z)
        return {"": (posterior.argmax(1), z, posterior.max(1))}

    return work


def n2d(networks: Path) -> Method:
    """UMAP of the learnt latents and a mixture (McConville et al. 2020)."""

    def work(path: Path, n_clusters: int, seed: int) -> Labels:
        from umap import UMAP

        z = stages([], networks, ("GMM",))(path, n_clusters, seed)["GMM"][1]
        n_features, size = load_settings(None, []).aec.n_features, min(max(n_clusters, 2), 10)
        mapping = UMAP(n_neighbors=20, min_dist=0.0, n_components=size, random_state=seed, n_jobs=1)
        z = mapping.fit_transform(z[:, :n_features]).astype(np.float64)
        mixture = GaussianMixture(n_clusters, n_init=5, reg_covar=1e-3, random_state=seed).fit(z)
        posterior = mixture.predict_proba(z)
        return {"": (posterior.argmax(1), z, posterior.max(1))}

    return work


def classifier(networks: Path) -> Method:
    """A support vector machine that sees the labels of four fifths of the samples: a ceiling."""

    def work(path: Path, n_clusters: int, seed: int) -> Labels:
        labels, z, _ = stages([], networks, ("GMM",))(path, n_clusters, seed)["GMM"]
        labels = labels.copy()
        known = labels >= 0
        with open_spectrograms(path) as file:
            truth = file.labels()[known]
        machine = make_pipeline(StandardScaler(), SVC(C=10.0))
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        labels[known] = cross_val_predict(machine, z[known], truth, cv=folds)
        return {"": (labels, z, None)}

    return work


def recipes(networks: Path = Path()) -> dict[str, Method]:
    """All of them by name."""
    found: dict[str, Method] = {name: stages(words, networks) for name, words in OURS.items()}
    methods = ("kmeans", "gmm", *(["umap"] if importlib.util.find_spec("umap") else []))
    for amplitude in ("linear", "sqrt", "log"):
        for n in (9, 20, 50):
            for method in methods:
                found[f"pca{n}-{amplitude}-{method}"] = components(amplitude, n, method)
    if "umap" in methods:
        found["n2d"] = n2d(networks)
    found["classifier"] = classifier(networks)
    return found


# ---- results ------------------------------------------------------------------------------------


def path_of(name: str, data: Path | None, work: Path) -> Path | None:
    """File of a set, written first where it is synthetic or in no layout of ours."""
    path = work / f"{name.replace(':', '_')}.h5"
    if name in DEMO:
        snr, imbalance = DEMO[name]
        return path if path.exists() else write_demo(path, snr_db=snr, imbalance=imbalance)
    source = data and data / f"{FILES[name]}.h5"
    if source is None or not source.exists():
        return None
    if name != "mnist":
        return source
    if not path.exists():
        with h5py.File(source) as given, h5py.File(path, "w") as file:
            file["spectrogram"] = given["images"][:].astype(np.float32)
            file["labels"] = given["labels"][:].astype(int)
    return path


def measure(name: str, recipe: str, seed: int, path: Path, out: Path) -> list[dict]:
    """Results of one recipe on one set with one seed: a line for each stage that labels."""
    torch.set_num_threads(1)
    log.disabled = True
    with open_spectrograms(path) as file:
        truth = file.labels()
    n_clusters = RUTFORD_CLUSTERS if truth is None else len(np.unique(truth))
    began, lines = time.perf_counter(), []
    try:
        found = recipes(out.with_suffix(".networks"))[recipe](path, n_clusters, seed)
    except Exception as error:  # the others go on
        print(f"{name} {recipe} {seed}: {type(error).__name__}: {error}", flush=True)
        return []
    seconds = time.perf_counter() - began
    for stage, (labels, _, probability) in found.items():
        what = f"{recipe} {stage}".strip()
        target = labels_of(out, name, what, seed)
        target.parent.mkdir(exist_ok=True)
        np.save(target, labels.astype(np.int16))
        line = {"set": name, "recipe": recipe, "what": what, "seed": seed, "seconds": seconds}
        if truth is not None:
            line |= agreement(labels, truth)
        if truth is not None and probability is not None:
            known = (labels >= 0) & (truth >= 0)
            table = overlap(labels, truth)
            right = table.is_right(labels[known], truth[known])
            line["calibration_error"] = reliability(right, probability[known]).error
        lines.append(line)
    return lines


def labels_of(out: Path, name: str, what: str, seed: int) -> Path:
    return out.with_suffix(".labels") / f"{name.replace(':', '_')} {what} {seed}.npy"


def run(todo: list[tuple], out: Path, jobs: int) -> None:
    """Do what is left, and write every result as it comes."""
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    work = joblib.Parallel(jobs, return_as="generator_unordered")
    for lines in work(joblib.delayed(measure)(*task, out) for task in todo):
        for line in lines:
            with out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            values = "  ".join(f"{key} {line.get(key, 0):.3f}" for key in ("nmi", "accuracy"))
            what = f"{line['set']:<9} {line['what']:<22} {line['seed']}"
            print(f"{what}  {values}  {line['seconds']:.0f} s", flush=True)


# ---- tables and figure --------------------------------------------------------------------------


def read(out: Path) -> pd.DataFrame:
    columns = ["set", "recipe", "what", "seed", "nmi", "accuracy", "ari", "calibration_error"]
    found = pd.read_json(out, lines=True) if out.exists() else pd.DataFrame()
    return found.reindex(columns=list(dict.fromkeys([*found.columns, *columns])))


def stability(lines: pd.DataFrame, out: Path) -> float:
    """Mean adjusted Rand index between the labels of any two seeds of one recipe on one set."""
    paths = [labels_of(out, line.set, line.what, line.seed) for line in lines.itertuples()]
    labels = [np.load(path) for path in paths if path.exists()]
    pairs = [adjusted_rand_score(a, b) for a, b in combinations(labels, 2)]
    return float(np.mean(pairs)) if pairs else float("nan")


def table(out: Path, key: str = "nmi") -> str:
    """Mean and range of every recipe on every set, in Markdown; the mean over sets last."""
    lines = read(out)
    sets = [name for name in SETS if (lines["set"] == name).any()]
    rows = []
    for what, own in lines.groupby("what", sort=False):
        if key == "calibration_error" and own[key].isna().all():  # k-means has no probability
            continue
        groups = {name: own[own["set"] == name] for name in sets}
        steady = pd.Series({name: stability(group, out) for name, group in groups.items()})
        means = pd.Series({name: group[key].mean() for name, group in groups.items()})
        cells = []
        for name, group in groups.items():
            low, high = group[key].min(), group[key].max()
            cell = "" if np.isnan(means[name]) else f"{means[name]:.3f}"
            cell += f" ({low:.2f}-{high:.2f})" if cell and len(group) > 1 else ""
            cells.append(f"{steady[name]:.2f}" if name == "rutford" and len(group) else cell)
        mean = means.drop("rutford", errors="ignore").mean(skipna=False)
        rows.append([what, *cells, mean, steady.mean()])
    if not rows:
        return ""
    rows.sort(key=lambda cells: -np.nan_to_num(cells[-2], nan=-1))
    body = [[key, *sets, "mean", "stability"], ["---"] * len(rows[0]), *rows]
    texts = [
        ["" if x != x else f"{x:.3f}" if isinstance(x, float) else x for x in cells]  # noqa: PLR0124
        for cells in body
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in texts)


def leave_one_out(out: Path, old: str, new: str) -> str:
    """Whether a new default passes: the mean gain with each set left out, and the largest loss."""
    lines = read(out)
    means = lines[lines["what"].isin([old, new])].pivot_table("nmi", "set", "what")
    gain = (means[new] - means[old]).dropna()
    others = (gain.sum() - gain) / (len(gain) - 1)
    passed = others.min() > 0 and gain.min() >= -MAX_LOSS
    rows = [f"| {name} | {gain[name]:+.3f} | {others[name]:+.3f} |" for name in gain.index]
    return "\n".join([
        f"| {new} against {old} | gain | mean gain of the other sets |", "|---|---|---|", *rows,
        f"{new} {'passes' if passed else 'does not pass'}: mean {gain.mean():+.3f}, "
        f"worst {gain.min():+.3f} on {gain.idxmin()}",
    ])  # fmt: skip


def plot(out: Path, target: Path, key: str = "nmi") -> None:
    """A panel a set: mean and range of every recipe there, those of this package in colour."""
    from matplotlib.figure import Figure

    lines = read(out).dropna(subset=[key])
    sets = [name for name in SETS if (lines["set"] == name).any()]
    names = list(lines["what"].unique())[::-1]
    figure = Figure(figsize=(2.1 * len(sets) + 2, 0.24 * len(names) + 1), layout="constrained")
    panels = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, sets, strict=True):
        for what, values in lines[lines["set"] == name].groupby("what")[key]:
            place = names.index(what)
            colour = next((c for start, c in COLOURS.items() if what.startswith(start)), "grey")
            panel.plot([values.min(), values.max()], [place, place], color=colour, lw=1.5)
            panel.plot(values.mean(), place, "o", color=colour, ms=5)
        panel.set(title=name, xlabel=key.upper())
        panel.grid(alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    figure.savefig(target)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--data", type=Path, help="folder of the labelled files")
    options.add_argument("--sets", default=",".join(SETS))
    options.add_argument("--recipes", default="", help="names, several with commas; else all")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    options.add_argument("--out", type=Path, default=Path("Outputs/recipes.jsonl"))
    options.add_argument("--report", action="store_true", help="only the table of what is there")
    options.add_argument("--plot", type=Path, metavar="PNG", help="draw what is there")
    options.add_argument("--rule", nargs=2, metavar=("OLD", "NEW"), help="names in the table")
    given = options.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    if not given.report:
        names = given.recipes.split(",") if given.recipes else list(recipes())
        done = set(read(given.out)[["set", "recipe", "seed"]].itertuples(index=False, name=None))
        paths = {s: path_of(s, given.data, given.out.parent) for s in given.sets.split(",")}
        todo = [
            (name, recipe, seed, path)
            for seed in range(given.seeds)
            for name, path in paths.items()
            for recipe in names
            if path and (name, recipe, seed) not in done
        ]
        run(todo, given.out, given.jobs)
    for key in ("nmi", "accuracy", "ari", "calibration_error"):
        print(table(given.out, key), end="\n\n")
    if given.rule:
        print(leave_one_out(given.out, *given.rule))
    if given.plot:
        plot(given.out, given.plot)


if __name__ == "__main__":
    main()
