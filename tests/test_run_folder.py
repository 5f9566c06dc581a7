"""States of a stage, its provenance, its stored settings, and commands in messages."""

import shlex
from itertools import count
from pathlib import Path

import pytest

from RISCluster.errors import CheckpointError, RunError, SettingsError
from RISCluster.io import write_text
from RISCluster.run_folder import StageFolder, load_run_settings
from RISCluster.settings import first_command, run_name, stage_command


@pytest.fixture
def stage(tmp_path):
    return StageFolder(tmp_path / "run", "AEC")


def finish(stage, inputs, text="w"):
    stage.begin(inputs, "")
    (stage.path / "model.pt").write_text(text)
    stage.complete(["model.pt"], {})


def test_new_then_resume_then_done_then_resume_where_a_result_is_lost(stage):
    write_text(stage.path / "provenance.json.partial", "{")  # of a killed process
    assert stage.begin({"a": 1}, "[run]\n") == "new"
    assert (stage.path / "config.ini").read_text() == "[run]\n"
    for name in ("last.pt.partial", ".latent.npy.lock"):
        (stage.path / name).write_text("half")
    assert stage.begin({"a": 1}, "") == "resume"
    assert sorted(path.name for path in stage.path.iterdir()) == ["config.ini", "provenance.json"]
    finish(stage, {"a": 1})
    assert stage.is_done({"a": 1})
    new = {"a": 1, "dec.tol": 0.003, "data.axes": ["sample", "frequency", "time"]}
    assert stage.is_done(new)  # these settings are of a later version, and have their defaults
    assert not stage.is_done(new | {"dec.tol": 0.1})
    assert not stage.is_done({"a": 2})
    provenance = stage.provenance()
    assert {"torch", "numpy", "RISCluster"} <= provenance["versions"].keys()
    assert all(provenance[name] for name in ("command", "git", "directory", "machine", "started"))
    (stage.path / "model.pt").unlink()
    assert not stage.is_done({"a": 1})
    assert stage.begin({"a": 1}, "") == "resume"


def test_results_of_other_settings_or_programs_are_renamed_with_their_figures(stage):
    finish(stage, {"aec.lr": 0.1, "data": "abc"}, "0.1")
    figures = stage.run_folder / "figures"
    for name in ("AEC_a.png", "AEC_b.png", "GMM_gallery.png"):
        write_text(figures / name, "figure")
    changes = "new: aec.lr was 0.1, is 0.2; the samples of data.file changed; the existing results "
    assert stage.begin({"aec.lr": 0.2, "data": "def"}, "").startswith(f"{changes}are now in ")
    assert [path.name for path in figures.iterdir()] == ["GMM_gallery.png"]
    for lr in (0.2, 0.3, 0.4):  # within a second
        finish(stage, {"aec.lr": lr}, str(lr))
    found = sorted(stage.run_folder.glob("AEC_*"))
    assert {path.name for path in (found[0] / "figures").iterdir()} == {"AEC_a.png", "AEC_b.png"}
    texts = [path.read_text() for path in stage.run_folder.glob("AEC_*/model.pt")]
    assert sorted(texts) == ["0.1", "0.2", "0.3"]
    other = StageFolder(stage.run_folder, "GMM")  # of another program
    write_text(other.path / "thesis.txt", "mine")
    assert other.begin({}, "").startswith("new: the existing results are now in")
    assert [path.read_text() for path in stage.run_folder.glob("GMM_*/thesis.txt")] == ["mine"]


def test_a_stage_that_is_missing_unfinished_changed_or_of_other_inputs(stage):
    def refused(text, inputs=None, error=RunError):
        with pytest.raises(error, match=text):
            stage.require_complete(inputs)

    refused("run python AEC_train.py run.name=run run.folder=.* first")
    stage.begin({"aec.lr": 0.1, "aec.initial": "abc"}, "")
    refused("unfinished")
    finish(stage, {"aec.lr": 0.1, "aec.initial": "abc"})
    assert stage.require_complete({"aec.lr": 0.1})["status"] == "complete"
    refused(r": aec.lr was 0.1, is 0.2; run .*another run.name$", {"aec.lr": 0.2})
    refused("the AEC stage has other inputs: aec.initial changed; run", {"aec.initial": "def"})
    (stage.path / "model.pt").write_text("tampered")
    refused("has changed since it was written", error=CheckpointError)
    for text in ("[]", "{}", '{"inputs": 1}', "\xff"):
        (stage.path / "provenance.json").write_text(text, encoding="latin-1")
        refused("provenance.json: ", error=CheckpointError)


@pytest.fixture
def begin(here, monkeypatch):
    """Begin a stage of the run x with the settings of its words and of the run."""
    clock = count(1000)
    monkeypatch.setattr("RISCluster.run_folder.timestamp", lambda: str(next(clock)))

    def begin(stage, *words):
        settings = of_run(*words)
        inputs = {"words": [stage, *words]}
        StageFolder(settings.run_folder, stage).begin(inputs, settings.as_ini())

    return begin


def of_run(*words):
    return load_run_settings(None, ["run.name=x", *words])


def test_order_of_defaults_run_file_and_words(begin, tmp_path):
    begin("AEC", "data.file=y.h5", "aec.lr=0.01", "aec.patience=3", "aec.n_features=3")
    (tmp_path / "config.ini").write_text("[aec]\nlr = 0.02\npatience = 10\n")
    settings = of_run("aec.n_features=9")
    aec = settings.aec
    # Of the file; of the run, as the file has the default; the default, set by a word.
    assert (aec.lr, aec.patience, aec.n_features) == (0.02, 3, 9)
    assert set(settings.from_run) == {"data.file = y.h5", "aec.patience = 3"}
    (tmp_path / "my.ini").write_text("[run]\nname = x\n[aec]\nlr = 0.03\n")
    settings = load_run_settings("my.ini", [])
    assert (settings.aec.lr, settings.config) == (0.03, "my.ini")
    assert load_run_settings(None, ["run.name=other"]).data.file == "Data/demo.h5"


def test_the_stage_that_was_started_last_has_the_settings_of_all(begin):
    begin("AEC", "data.file=y.h5", "aec.lr=0.01")
    begin("GMM", "gmm.n_init=7", "data.file=moved.h5")
    begin("DEC", "dec.lr=0.1,0.2")
    begin("AEC", "data.amplitude=log", "aec.lr=0.02", "run.backend=dask")
    settings = of_run()
    assert (settings.data.file, settings.data.amplitude) == ("moved.h5", "log")
    assert (settings.aec.lr, settings.gmm.n_init, settings.sweep["dec.lr"]) == (0.02, 7, (0.1, 0.2))
    assert settings.run.backend == "processes"  # of one command


def test_stored_settings_of_a_recipe_or_another_version_or_wrong_or_missing(begin, tmp_path):
    begin("AEC", "data.file=y.h5", "run.recipe=paper", "dec.gamma=0.1")
    path = tmp_path / "Outputs/x/AEC/config.ini"
    text = path.read_text()
    path.write_text(text.replace("[aec]\n", "[aec]\nforgotten = 3\n") + "[other]\nkey = 1\n")
    settings = of_run("dec.gamma=1")
    assert (settings.data.file, settings.dec.gamma) == ("y.h5", 1)
    assert settings.gmm.covariance_shrinkage == 0
    path.write_text(text.replace("amplitude = linear", "amplitude = cubic"))
    with pytest.raises(SettingsError, match="settings stored with the run: .data. amplitude"):
        of_run()
    path.unlink()
    assert of_run().data.file == "Data/demo.h5"


def test_files_are_found_from_another_folder(begin, tmp_path, monkeypatch):
    (tmp_path / "y.h5").write_text("")
    begin("AEC", "data.file=y.h5", "report.stations=missing.csv")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = of_run(f"run.folder={tmp_path / 'Outputs'}")
    assert settings.data.file == str(tmp_path / "y.h5")
    assert settings.report.stations == "missing.csv"


def test_commands_are_complete_quoted_and_in_the_form_of_this_process(monkeypatch):
    for program, command in (
        ("../code/AEC_train.py", "python ../code/GMM_centroids.py run.name=x"),
        ("/usr/bin/riscluster", "riscluster cluster run.name=x"),
        ("/a/RISCluster/__main__.py", "python -m RISCluster cluster run.name=x"),
        ("/usr/bin/pytest", "python GMM_centroids.py run.name=x"),
    ):
        monkeypatch.setattr("sys.argv", [program])
        assert stage_command("GMM", Path("Outputs/x")) == command
    words = stage_command("DEC", Path("/other runs/a b"), "my settings.ini")
    given = ["--config", "my settings.ini", "run.name=a b", "run.folder=/other runs"]
    assert shlex.split(words) == ["python", "DEC_train.py", *given]
    assert first_command("d/my set.h5", "my.ini") == (
        "python AEC_train.py --config my.ini run.name=my_set 'data.file=d/my set.h5'"
    )
    assert [run_name(name) for name in ("..", "a:b*.h5", "2020.01.h5")] == ["run", "a_b", "2020.01"]
