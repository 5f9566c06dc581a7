"""The three stages on a small set of known classes, called as the scripts call them."""

import csv
import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from RISCluster.clustering import fit as fits
from RISCluster.data.loading import draw_split
from RISCluster.errors import CheckpointError, DataError, RISClusterError, RunError
from RISCluster.settings import load_settings
from RISCluster.stages import cluster as gmm
from RISCluster.stages import pretrain as aec
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec
from tests.conftest import blobs, quick_settings, write_samples, write_small_file

STAGES = (run_aec, run_gmm, run_dec)


def run_all(settings) -> Path:
    for stage in STAGES:
        stage(settings)
    return settings.run_folder


def table(path: Path) -> list[dict]:
    with path.open() as file:
        return list(csv.DictReader(file))


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def content(folder: Path) -> dict[str, bytes]:
    """Bytes of every result but those that tell the time."""
    names = [
        "AEC/model.pt", "AEC/split.npz", "GMM/model.npz", "GMM/selection.csv", "GMM/labels.csv",
        "DEC/model.pt", "DEC/labels.csv", "DEC/latent.npy", "DEC/soft_assignments.npy",
        "DEC/cluster_performance.csv", "GMM/metrics.json", "DEC/metrics.json",
    ]  # fmt: skip
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    path = write_small_file(folder / "small.h5")
    return run_all(quick_settings(folder, f"data.file={path}"))


@pytest.fixture
def finished(finished_once, small_file, make_settings):
    """Settings of a run that is done, and its folder, a copy."""
    settings = make_settings(f"data.file={small_file}")
    return settings, Path(shutil.copytree(finished_once, settings.run_folder))


def test_run_folder_is_as_designed(finished):
    _, folder = finished
    expected = {
        "AEC": {"model.pt", "last.pt", "history.csv", "split.npz"},
        "GMM": {"model.npz", "selection.csv", "labels.csv", "latent.npy", "novelty.npz"},
        "DEC": {
            "model.pt", "last.pt", "history.csv", "labels.csv", "latent.npy",
            "soft_assignments.npy", "cluster_performance.csv", "novelty.npz",
        },
    }  # fmt: skip
    common = {"metrics.json", "config.ini", "provenance.json"}
    for stage, names in expected.items():
        assert {path.name for path in (folder / stage).iterdir()} == names | common
    header = "epoch,train_mse,validation_mse,learning_rate,seconds,samples_per_second"
    assert (folder / "AEC/history.csv").read_text().splitlines()[0] == header
    header = "epoch,mse,kl,loss,label_change,learning_rate,seconds,samples_per_second"
    assert (folder / "DEC/history.csv").read_text().splitlines()[0] == header
    header = "n_clusters,bic,aic,silhouette,inertia,gap,gap_std,stability,stability_std"
    assert (folder / "GMM/selection.csv").read_text().splitlines()[0] == header
    gmm = {
        "n_samples",
        "n_clusters",
        "cluster_sizes",
        "silhouette_latent",
        "accuracy",
        "nmi",
        "ari",
    }
    assert gmm <= metrics(folder / "GMM").keys()
    assert gmm | {"label_change_from_gmm"} <= metrics(folder / "DEC").keys()
    aec = {"mse", "validation_mse", "samples_per_second", "n_samples"}
    assert aec <= metrics(folder / "AEC").keys()


def test_labels_are_a_row_a_sample_in_the_files_order(finished):
    _, folder = finished
    soft = np.load(folder / "DEC/soft_assignments.npy")
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-5)
    for stage in ("GMM", "DEC"):
        rows = table(folder / stage / "labels.csv")
        assert list(rows[0]) == ["index", "label", "probability", "starttime", "trace_id"]
        assert [int(row["index"]) for row in rows] == list(range(96))
        assert rows[61]["starttime"] == "2016-01-01T00:01:01.000000Z"
        assert rows[61]["trace_id"] == "XH.DR01..HHZ"
    assert [int(row["label"]) for row in rows] == soft.argmax(1).tolist()
    assert float(rows[3]["probability"]) == pytest.approx(soft[3].max(), abs=1e-6)
    sizes = metrics(folder / "DEC")["cluster_sizes"]
    assert sum(sizes) == 96
    performance = table(folder / "DEC/cluster_performance.csv")
    assert [int(row["size"]) for row in performance[:-1]] == sizes


def test_known_classes_are_found(small_file, make_settings):
    folder = run_all(
        make_settings(
            f"data.file={small_file}",
            "aec.n_epochs=60",
            "aec.lr=0.003",
            "dec.n_epochs=10",
            "gmm.n_clusters=3",
        )  # fmt: skip
    )
    assert metrics(folder / "AEC")["validation_mse"] < 0.3
    assert metrics(folder / "GMM")["accuracy"] > 0.95
    assert metrics(folder / "DEC")["accuracy"] > 0.95


def test_labels_are_never_read_by_training(tmp_path, make_settings):
    spectrogram, classes = blobs(96)
    folders = []
    for name, labels in (("a", classes), ("b", classes[::-1].copy()), ("c", None)):
        columns = {} if labels is None else {"labels": labels}
        path = write_samples(tmp_path / f"{name}.h5", spectrogram, **columns)
        folders.append(run_all(make_settings(f"data.file={path}", f"run.name={name}")))
    first, *others = (content(folder) for folder in folders)
    for other in others:
        for name in ("DEC/labels.csv", "DEC/soft_assignments.npy", "GMM/model.npz"):
            assert other[name] == first[name]
    assert "accuracy" not in metrics(folders[2] / "DEC")


@pytest.mark.parametrize("mode", ["disk", "ram"])
def test_results_do_not_depend_on_loadmode(small_file, make_settings, mode, request):
    names = ("first", mode)
    folders = [
        run_all(
            make_settings(f"data.file={small_file}", f"run.name={name}", f"data.loadmode={load}")
        )
        for name, load in zip(names, ("auto", mode), strict=True)
    ]
    assert content(folders[0]) == content(folders[1])


def test_unusable_samples_are_left_out_and_labelled_minus_one(tmp_path, make_settings, capsys):
    spectrogram, classes = blobs(96)
    spectrogram[5, 1, 1], spectrogram[40], spectrogram[95, 0, 0] = np.nan, 0, -np.inf
    path = write_samples(tmp_path / "holes.h5", spectrogram, labels=classes)
    folder = run_all(make_settings(f"data.file={path}"))
    assert "3 of 96 samples are unusable" in capsys.readouterr().out
    for stage in ("GMM", "DEC"):
        rows = table(folder / stage / "labels.csv")
        assert [i for i, row in enumerate(rows) if row["label"] == "-1"] == [5, 40, 95]
        assert metrics(folder / stage)["n_unusable"] == 3
    latents = np.load(folder / "DEC/latent.npy")
    assert np.flatnonzero(np.isnan(latents).any(1)).tolist() == [5, 40, 95]
    assert np.isnan(np.load(folder / "DEC/soft_assignments.npy")).sum() == 3 * len(
        metrics(folder / "DEC")["cluster_sizes"]
    )


def test_samples_that_were_not_trained_on_are_labelled_too(small_file, make_settings):
    folder = run_all(make_settings(f"data.file={small_file}", "data.train_samples=40"))
    assert metrics(folder / "AEC")["n_train"] == 32
    assert all(int(row["label"]) >= 0 for row in table(folder / "DEC/labels.csv"))


def test_run_again_unchanged_does_nothing(finished, capsys):
    settings, folder = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    capsys.readouterr()
    run_all(settings)
    assert capsys.readouterr().out.count("done already") == 3
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_edit_of_settings_starts_anew_and_keeps_the_old(finished, make_settings, small_file):
    _, folder = finished
    old = content(folder)
    run_dec(make_settings(f"data.file={small_file}", "dec.gamma=0.5"))
    kept = [path for path in folder.glob("DEC_*") if path.is_dir()]
    assert len(kept) == 1
    assert (kept[0] / "model.pt").read_bytes() == old["DEC/model.pt"]
    assert (folder / "DEC/model.pt").read_bytes() != old["DEC/model.pt"]
    assert (folder / "GMM/model.npz").read_bytes() == old["GMM/model.npz"]


def test_how_the_work_is_done_is_no_edit(finished, make_settings, small_file, capsys):
    moved = small_file.rename(small_file.with_name("moved.h5"))
    capsys.readouterr()
    run_all(make_settings(f"data.file={moved}", "data.loadmode=disk", "run.figures=yes"))
    assert capsys.readouterr().out.count("done already") == 3


def refused(work, *arguments) -> str:
    with pytest.raises(RISClusterError) as caught:
        work(*arguments)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_stages_in_the_wrong_order(small_file, make_settings):
    settings = make_settings(f"data.file={small_file}")
    first = f"run.name=test run.folder={settings.run.folder} first"
    assert f"run python AEC_train.py {first}" in refused(run_gmm, settings)
    assert f"run python AEC_train.py {first}" in refused(run_dec, settings)
    run_aec(settings)
    assert f"run python GMM_centroids.py {first}" in refused(run_dec, settings)


def test_other_data_or_network_or_an_older_stage_is_refused(finished, make_settings, tmp_path):
    settings, folder = finished
    before = content(folder)
    other = write_samples(tmp_path / "other.h5", blobs(96, seed=5)[0])
    message = refused(run_gmm, make_settings(f"data.file={other}"))
    shape = r"\(96 samples of 16 x 20, written 20..-.{14}Z\)"
    assert re.search(rf"data was \S+/small.h5 {shape}, is \S+/other.h5 {shape}; ", message)
    same = f"data.file={settings.data.file}"
    message = refused(run_dec, make_settings(same, "aec.n_features=4"))
    assert "aec.n_features was 3, is 4; run python AEC_train.py run.name=test" in message
    message = refused(run_gmm, make_settings(same, "data.amplitude=linear"))
    assert "data.amplitude was sqrt, is linear" in message
    assert content(folder) == before
    run_aec(make_settings(same, "aec.lr=0.01"))
    message = refused(run_dec, make_settings(same, "aec.lr=0.01"))
    assert re.search("AEC/model.pt was that of 20..-.{14}Z, is that of 20..-.{14}Z; run", message)
    assert re.search("run python GMM_centroids.py run.name=test run.folder=.* again$", message)


def test_checkpoint_from_elsewhere_or_damaged_is_refused(finished, make_settings):
    settings, folder = finished
    model = folder / "AEC/model.pt"
    original = model.read_bytes()
    model.write_bytes(original[:-100])
    assert "has changed since it was written" in refused(run_gmm, settings)
    model.write_bytes(original)
    (folder / "AEC/provenance.json").write_text("{")
    assert "provenance.json: can't be read" in refused(run_gmm, settings)


def test_network_that_does_not_fit_the_file(finished, tmp_path):
    from RISCluster.data.layouts import open_spectrograms
    from RISCluster.models.checkpoint import load_model

    path = write_samples(tmp_path / "wide.h5", np.ones((3, 16, 33), np.float32))
    with (
        open_spectrograms(path) as file,
        pytest.raises(
            CheckpointError, match="takes spectrograms of 16 x 20, and .*wide.h5 has 16 x 33"
        ),
    ):
        load_model(finished[1] / "AEC/model.pt", "AEC", file)


def test_fewer_samples_than_clusters(tmp_path, make_settings, capsys):
    path = write_samples(tmp_path / "few.h5", blobs(6)[0])
    run_aec(make_settings(f"data.file={path}"))
    message = refused(run_gmm, make_settings(f"data.file={path}", "gmm.n_clusters=8-9"))
    assert "asks for 8 clusters and more, and only 6 samples are in the file" in message
    run_gmm(make_settings(f"data.file={path}", "gmm.n_clusters=2-9"))
    assert "K is tried up to 6" in capsys.readouterr().out


def test_number_of_clusters_that_was_not_fitted(finished, make_settings):
    same = f"data.file={finished[0].data.file}"
    message = refused(run_dec, make_settings(same, "dec.n_clusters=7"))
    assert "no such mixture was fitted; allowed: auto, 2, 3, 4" in message
    run_dec(make_settings(same, "dec.n_clusters=4"))
    assert metrics(finished[1] / "DEC")["n_clusters"] == 4


@pytest.mark.parametrize(
    ("spectrogram", "text"),
    [
        (np.zeros((9, 8, 8)), "all 9 samples are unusable"),
        (np.full((9, 8, 8), np.nan), "all 9 samples are unusable"),
        (np.ones((9, 8, 8)), "nothing to cluster"),
        (np.ones((1, 8, 8)), "two samples at least"),
        (-np.ones((9, 8, 8)), "has negative values"),
    ],
    ids=["zero", "nan", "constant", "one", "negative"],
)
def test_data_that_cannot_be_trained_on(tmp_path, make_settings, spectrogram, text):
    path = write_samples(tmp_path / "bad.h5", spectrogram.astype(np.float32))
    assert text in refused(run_aec, make_settings(f"data.file={path}"))


def test_integers_duplicates_and_extreme_amplitudes(tmp_path, make_settings):
    spectrogram, _ = blobs(32)
    sets = {
        "integers": (spectrogram * 100).astype(np.int16),
        "duplicates": np.repeat(spectrogram[:2], 16, axis=0),
        "tiny": spectrogram * 1e-30,
        "huge": spectrogram * np.float32(1e30),
    }
    for name, values in sets.items():
        path = write_samples(tmp_path / f"{name}.h5", values)
        folder = run_all(make_settings(f"data.file={path}", f"run.name={name}"))
        assert all(int(row["label"]) >= 0 for row in table(folder / "DEC/labels.csv")), name


def test_sweep_runs_every_combination_and_takes_the_best(small_file, make_settings):
    words = (f"data.file={small_file}", "aec.lr=0.00001,0.003", "dec.gamma=0,0.5", "aec.n_epochs=6")
    folder = run_all(make_settings(*words))
    scores = {
        row["combination"]: float(row["validation_mse"]) for row in table(folder / "AEC/sweep.csv")
    }
    assert set(scores) == {"lr=1e-05", "lr=0.003"}
    assert scores["lr=0.003"] < scores["lr=1e-05"]
    best = folder / "AEC/sweep/lr=0.003/model.pt"
    assert (folder / "AEC/model.pt").read_bytes() == best.read_bytes()
    assert metrics(folder / "AEC")["sweep_best"] == "lr=0.003"
    rows = table(folder / "DEC/sweep.csv")
    assert len(rows) == 2
    scores = {name: metrics(folder / "DEC/sweep" / name) for name in ("gamma=0", "gamma=0.5")}
    chosen = max(scores, key=lambda name: scores[name]["calinski_harabasz_data"])
    assert metrics(folder / "DEC")["sweep_best"] == chosen


def test_sweep_goes_on_where_it_stopped(small_file, make_settings, monkeypatch):
    settings = make_settings(f"data.file={small_file}", "aec.lr=0.001,0.003")
    from RISCluster.stages import pretrain as module

    train, calls = module._train, []

    def dying(*arguments):
        if len(calls) == 1:
            raise RunError("power cut")
        calls.append(1)
        train(*arguments)

    monkeypatch.setattr(module, "_train", dying)
    with pytest.raises(RunError):
        run_aec(settings)
    first = settings.run_folder / "AEC/sweep/lr=0.001/model.pt"
    before = first.stat().st_mtime_ns
    monkeypatch.setattr(module, "_train", train)
    run_aec(settings)
    assert first.stat().st_mtime_ns == before
    assert len(table(settings.run_folder / "AEC/sweep.csv")) == 2


def test_gmm_goes_on_after_the_last_k(small_file, make_settings, monkeypatch):
    settings = make_settings(f"data.file={small_file}")
    whole = make_settings(f"data.file={small_file}", "run.name=whole")
    run_aec(whole)
    run_gmm(whole)
    run_aec(settings)
    fit, fitted = fits.fit_number, []

    def dying(inputs, path):
        k = inputs[-1]
        fitted.append(k)
        if fitted == [2, 3, 4]:
            raise DataError("power cut")
        return fit(inputs, path)

    monkeypatch.setattr(fits, "fit_number", dying)
    with pytest.raises(DataError):
        run_gmm(settings)
    monkeypatch.setattr(fits.Basis, "draw", None)  # not called: it is there
    run_gmm(settings)
    assert fitted == [2, 3, 4, 4]
    for name in ("model.npz", "labels.csv", "selection.csv"):
        a, b = (s.run_folder / "GMM" / name for s in (settings, whole))
        assert a.read_bytes() == b.read_bytes()
    folder = settings.run_folder / "GMM"
    there = sorted(folder.iterdir())
    assert not [path for path in there if "fits" in path.name]
    (folder / "fits.parts").mkdir()  # as of a process that was killed when the stage was done
    (folder / "fits.npz").write_bytes(b"")
    run_gmm(settings)
    assert sorted(folder.iterdir()) == there


def test_run_folder_that_cannot_be_written(small_file, make_settings, tmp_path):
    (tmp_path / "file").write_text("")
    settings = make_settings(f"data.file={small_file}", f"run.folder={tmp_path / 'file'}")
    assert "the run folder can't be made or read" in refused(run_aec, settings)


def test_figures_of_every_stage_and_none_stops_a_run(
    small_file, make_settings, monkeypatch, capsys
):
    words = ("run.figures=yes", "run.figure_format=svg")
    folder = run_all(make_settings(f"data.file={small_file}", *words))
    drawn = {path.name for path in (folder / "figures").iterdir()}
    assert (folder / "report.html").exists()
    ends = re.findall(r"  made: (.*)\n\S+  sure: (.*)\n\S+  next: (.*)\n", capsys.readouterr().out)
    assert [made.rpartition(f", in {folder}")[2] for made, _, _ in ends] == [
        "/AEC", "/GMM/labels.csv", "/DEC/labels.csv"
    ]  # fmt: skip
    assert all("silhouette " in sure for _, sure, _ in ends[1:])
    assert [after.split()[1] for _, _, after in ends] == ["GMM_centroids.py", "DEC_train.py", "-m"]
    assert {name.rpartition(".")[2] for name in drawn} == {"svg"}
    assert {name for name in drawn if not name.startswith("report_")} == {
        "AEC_loss.svg", "AEC_reconstructions.svg", "GMM_selection.svg", "GMM_gallery.svg",
        "GMM_embedding.svg", "DEC_history.svg", "DEC_gallery.svg", "DEC_embedding.svg",
    }  # fmt: skip
    from RISCluster.report import figures

    monkeypatch.setattr(figures, "_gallery", lambda *_: 1 / 0)
    monkeypatch.setattr(gmm, "contradictions", lambda rows, chosen, by: [f"K of {len(rows)}", by])
    run_gmm(make_settings(f"data.file={small_file}", "run.figures=yes", "gmm.n_init=2"))
    said = capsys.readouterr().out
    assert "figures could not be drawn: ZeroDivisionError" in said
    assert "  K of 3\n" in said
    assert "  bic\n" in said


def test_relu_that_kills_features_is_said(small_file, make_settings, monkeypatch, capsys):
    from RISCluster.stages import pretrain as module

    initialise = module.initialise

    def dead(model, seed):
        initialise(model, seed)
        model.encoder.encoder[-2].bias.data[:] = -1e3

    monkeypatch.setattr(module, "initialise", dead)
    run_aec(make_settings(f"data.file={small_file}", "aec.latent_activation=relu", "run.name=dead"))
    said = capsys.readouterr().out
    assert "3 of 3 latent features are dead" in said
    assert "learnt no more than the mean spectrogram" in said


def test_paper_recipe_can_be_expressed(small_file, make_settings):
    paper = (
        "data.amplitude=linear", "data.transform=vec_norm", "data.standardize=no",
        "aec.latent_activation=relu", "aec.schedule=constant", "dec.latent_scale=none",
        "dec.gamma=0.001", "dec.tol=0.003", "gmm.init=kmeans", "gmm.covariance_shrinkage=0",
        "dec.labels=student", "dec.keep=refined", "aec.n_components=0",
    )  # fmt: skip
    folder = run_all(make_settings(f"data.file={small_file}", *paper))
    latents = np.load(folder / "DEC/latent.npy")
    assert (latents >= 0).all()
    history = table(folder / "DEC/history.csv")[0]
    total = float(history["mse"]) + 0.001 * float(history["kl"])
    assert float(history["loss"]) == pytest.approx(total, rel=1e-4)


def test_file_that_changed_its_content_is_other_data(finished):
    settings, folder = finished
    with h5py.File(settings.data.file, "a") as file:
        file["spectrogram"][0] = 1.0
    assert "data was" in refused(run_dec, settings)


def test_initial_weights_of_ours_and_of_the_reference(finished, make_settings, tmp_path, capsys):
    settings, folder = finished
    same = f"data.file={settings.data.file}"
    ours = folder / "AEC/model.pt"
    run_aec(make_settings(same, "run.name=w", f"aec.initial_weights={ours}", "aec.n_epochs=0"))
    taken = settings.run_folder.parent / "w"
    first, again = (torch.load(path / "AEC/model.pt")["state"] for path in (folder, taken))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert metrics(taken / "AEC")["validation_mse"] == pytest.approx(
        metrics(folder / "AEC")["validation_mse"], rel=1e-6
    )
    run_gmm(make_settings(same, "run.name=w", f"aec.initial_weights={ours}", "aec.n_epochs=0"))
    bare = tmp_path / "reference.pt"
    torch.save({f"module.{name}": value for name, value in first.items()}, bare)
    run_aec(make_settings(same, "run.name=r", f"aec.initial_weights={bare}", "aec.n_epochs=1"))
    words = (same, "run.name=x", f"aec.initial_weights={bare}", "aec.n_features=4")
    assert "encoder.encoder.11.weight has shape (3," in refused(run_aec, make_settings(*words))
    assert "no such file" in refused(run_aec, make_settings(same, "aec.initial_weights=none.pt"))
    assert "set aec.initial_weights" in refused(run_aec, make_settings(same, "aec.n_epochs=0"))


def test_mixed_precision_is_for_gpus(small_file, make_settings):
    words = (f"data.file={small_file}", "run.precision=bf16")
    message = refused(run_aec, make_settings(*words))
    assert "precision = bf16 needs a GPU" in message


@pytest.mark.parametrize("wanted", ["yes", "no"])
def test_deterministic_algorithms_for_the_time_of_a_stage(
    make_settings, small_file, monkeypatch, wanted
):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    seen = []
    fit = aec.pretrain

    def look(*arguments):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return fit(*arguments)

    monkeypatch.setattr(aec, "pretrain", look)
    words = (f"data.file={small_file}", "aec.n_epochs=2", "dec.n_epochs=1", "gmm.n_init=2")
    run_all(make_settings(*words, f"run.deterministic={wanted}"))
    assert seen == [wanted == "yes"]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_same_bytes_twice_on_a_gpu(make_settings, small_file):
    found = []
    for name in ("a", "b"):
        words = (f"data.file={small_file}", f"run.name={name}", "run.device=cuda")
        settings = make_settings(*words, "run.deterministic=yes", "aec.n_epochs=10")
        run_all(settings)
        found.append(content(settings.run_folder))
    assert found[0] == found[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_mixed_precision_gives_about_the_same(small_file, make_settings):
    scores = []
    for precision in ("fp32", "bf16"):
        words = (f"run.name={precision}", f"run.precision={precision}", "run.device=cuda")
        folder = run_all(make_settings(f"data.file={small_file}", "aec.n_epochs=10", *words))
        scores.append(metrics(folder / "AEC")["validation_mse"])
    assert scores[1] == pytest.approx(scores[0], rel=0.1)
    assert scores[1] != scores[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_logs_when_asked(small_file, make_settings):
    pytest.importorskip("tensorboard")
    folder = run_all(make_settings(f"data.file={small_file}", "run.tensorboard=yes"))
    for stage in ("AEC", "DEC"):
        assert list((folder / stage / "tensorboard").glob("events.*"))


def test_provenance_and_settings_are_kept(finished, tmp_path):
    settings, folder = finished
    for stage in ("AEC", "GMM", "DEC"):
        provenance = json.loads((folder / stage / "provenance.json").read_text())
        assert provenance["status"] == "complete"
        assert provenance["inputs"]["run.seed"] == settings.run.seed
        assert len(provenance["inputs"]["data"]) == 32
        kept = load_settings(folder / stage / "config.ini")
        assert (kept.aec, kept.gmm, kept.dec) == (settings.aec, settings.gmm, settings.dec)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("mode", ["device", "ram", "disk"])
def test_gpu_runs_every_stage(small_file, make_settings, mode):
    words = ("run.device=cuda", f"data.loadmode={mode}", "aec.n_epochs=30", "aec.lr=0.003")
    folder = run_all(make_settings(f"data.file={small_file}", "gmm.n_clusters=3", *words))
    assert metrics(folder / "DEC")["accuracy"] > 0.95


def test_bad_input_leaves_a_finished_stage_where_it_is(finished, make_settings, tmp_path):
    settings, folder = finished
    before = content(folder)
    same = f"data.file={settings.data.file}"
    other = tmp_path / "other.pt"
    torch.save({"encoder.encoder.11.weight": torch.zeros(3, 3)}, other)
    for stage, words in (
        (run_aec, ("data.loadmode=device", "aec.lr=0.01")),
        (run_aec, (f"aec.initial_weights={other}",)),
        (run_gmm, ("gmm.n_clusters=500",)),
        (run_dec, ("dec.n_clusters=9",)),
        (run_dec, ("dec.n_clusters=2,9",)),
    ):
        refused(stage, make_settings(same, *words))
        assert content(folder) == before
        assert {path.name for path in folder.iterdir()} == {"AEC", "GMM", "DEC"}


def test_sweep_goes_on_past_a_combination_that_diverges(small_file, make_settings, capsys):
    words = (f"data.file={small_file}", "run.figures=yes")
    run_aec(make_settings(*words, "aec.lr=1e30,0.003"))
    folder = make_settings().run_folder
    assert "lr=1e+30 failed and is left out" in capsys.readouterr().out
    assert metrics(folder / "AEC")["sweep_best"] == "lr=0.003"
    assert (folder / "figures/AEC_loss.png").exists()
    run_gmm(make_settings(*words, "aec.lr=1e30,0.003"))
    run_dec(make_settings(*words, "aec.lr=1e30,0.003", "dec.tol=0,0.1"))
    assert (folder / "figures/DEC_history.png").exists()
    assert "could not be drawn" not in capsys.readouterr().out


@pytest.mark.parametrize("epochs", [1, 3])
def test_training_that_diverges_is_one_line_and_no_bad_state(small_file, make_settings, epochs):
    words = (f"data.file={small_file}", "aec.lr=1e30", f"aec.n_epochs={epochs}")
    message = refused(run_aec, make_settings(*words, "aec.batch_size=96"))
    assert "lower aec.lr" in message
    assert not (make_settings().run_folder / "AEC/last.pt").exists()


def test_changed_labels_are_scored_anew(finished, capsys):
    settings, folder = finished
    with h5py.File(settings.data.file, "a") as file:
        file["labels"][:] = 0
        file["labels"][0] = 1
    run_aec(settings)
    assert "done already" in capsys.readouterr().out
    assert "labels, times and ids" in refused(run_dec, settings)
    run_gmm(settings)
    run_dec(settings)
    assert metrics(folder / "DEC")["accuracy"] < 0.9


def test_damaged_result_is_made_anew(finished):
    settings, folder = finished
    before = content(folder)
    (folder / "AEC/model.pt").write_bytes(before["AEC/model.pt"][:-10])
    run_aec(settings)
    assert content(folder) == before


def test_one_cluster_is_not_refined(finished, make_settings):
    same = f"data.file={finished[0].data.file}"
    run_gmm(make_settings(same, "gmm.n_clusters=1"))
    message = refused(run_dec, make_settings(same, "gmm.n_clusters=1"))
    assert "one cluster was selected" in message


def test_negative_sample_outside_the_training_set_costs_itself_alone(tmp_path, make_settings):
    spectrogram, _ = blobs(96)
    drawn = draw_split(96, 40, 0.2, 2009).both
    left_out = int(np.setdiff1d(np.arange(96), drawn)[0])
    spectrogram[left_out] *= -1
    path = write_samples(tmp_path / "n.h5", spectrogram)
    folder = run_all(make_settings(f"data.file={path}", "data.train_samples=40"))
    rows = table(folder / "DEC/labels.csv")
    assert [i for i, row in enumerate(rows) if row["label"] == "-1"] == [left_out]
