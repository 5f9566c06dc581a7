"""States of a stage, its provenance, its stored settings, and commands in messages."""

import json
import shlex
from pathlib import Path

import pytest

from RISCluster.cli import first_command, run_name, stage_command
from RISCluster.errors import CheckpointError, RunError, SettingsError
from RISCluster.io import locked
from RISCluster.run_folder import StageFolder, load_run_settings, load_stage_settings
from RISCluster.settings import load_settings


@pytest.fixture
def stage(tmp_path):
    return StageFolder(tmp_path / "run", "AEC")


def finish(stage, inputs, text="w"):
    stage.begin(inputs, "")
    (stage.path / "model.pt").write_text(text)
    stage.complete(["model.pt"], {})


def renamed(stage) -> list[Path]:
    return sorted(stage.run_folder.glob("AEC_*"))


# ---- starting -----------------------------------------------------------------------------------


def test_new_then_resume_then_done_then_resume_where_a_result_is_lost(stage):
    assert stage.begin({"a": 1}, "[run]\n").state == "new"
    assert (stage.path / "config.ini").read_text() == "[run]\n"
    assert stage.begin({"a": 1}, "").state == "resume"
    finish(stage, {"a": 1})
    assert stage.begin({"a": 1}, "").state == "done"
    (stage.path / "model.pt").unlink()
    assert stage.begin({"a": 1}, "").state == "resume"


def test_results_of_other_settings_are_renamed_with_their_figures(stage, monkeypatch):
    finish(stage, {"aec.lr": 0.1, "same": 1}, "precious")
    stage.figures.mkdir()
    for name in ("AEC_a.png", "AEC_b.png", "GMM_gallery.png"):
        (stage.figures / name).write_text("figure")
    with monkeypatch.context() as patched:  # killed before the folder is renamed
        patched.setattr("pathlib.Path.rename", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stage.begin({"aec.lr": 0.2, "same": 1}, "")
    text = str(stage.begin({"aec.lr": 0.2, "same": 1}, ""))
    assert text.startswith("new: aec.lr was 0.1, is 0.2; the existing results are now in ")
    (found,) = renamed(stage)
    assert (found / "model.pt").read_text() == "precious"
    assert {path.name for path in (found / "figures").iterdir()} == {"AEC_a.png", "AEC_b.png"}
    assert [path.name for path in stage.figures.iterdir()] == ["GMM_gallery.png"]
    assert not (stage.path / "model.pt").exists()


def test_several_changes_within_a_second_lose_nothing(stage):
    for value in range(4):
        finish(stage, {"a": value}, str(value))
    assert [(path / "model.pt").read_text() for path in renamed(stage)] == ["0", "1", "2"]


@pytest.mark.parametrize("is_folder", [True, False])
def test_files_of_another_program_are_renamed(stage, is_folder):
    mine = stage.path / "thesis.txt" if is_folder else stage.path
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert "the existing results are now in" in stage.begin({}, "").reason
    (found,) = renamed(stage)
    assert (found / "thesis.txt" if is_folder else found).read_text() == "mine"


def test_folders_that_cannot_be_made(stage, tmp_path):
    with pytest.raises(RunError, match="File name too long"):
        StageFolder(tmp_path / ("x" * 300), "AEC").begin({}, "")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="can't be made or read"):
        StageFolder(tmp_path / "file" / "run", "AEC").begin({}, "")


def test_killed_at_the_start_leaves_nothing_to_rename(stage):
    stage.path.mkdir(parents=True)
    (stage.path / "provenance.json.partial").write_text("{")
    assert stage.begin({"a": 1}, "[run]\n").state == "new"
    (stage.path / "config.ini").unlink()  # killed before it was written
    (stage.path / "last.pt.partial").write_text("half")
    assert stage.begin({"a": 1}, "[run]\n").state == "resume"
    assert sorted(path.name for path in stage.path.iterdir()) == ["config.ini", "provenance.json"]
    assert [path.name for path in stage.run_folder.iterdir()] == ["AEC"]


def test_locks_that_a_killed_process_left_are_removed(stage):
    stage.begin({"a": 1}, "")
    for name in (".latent.npy.lock", "../.lock"):
        (stage.path / name).write_text("")
    used = stage.path / ".labels.csv.lock"
    with locked(used, used):
        assert stage.begin({"a": 1}, "").state == "resume"
        assert used.exists()
    assert not (stage.path / ".latent.npy.lock").exists()
    stage.complete([], {})
    assert stage.is_done({"a": 1})
    assert not (stage.run_folder / ".lock").exists()
    with stage.lock():
        assert stage.is_done({"a": 1})
        with pytest.raises(RunError, match="run: in use by another process"):
            stage.lock().__enter__()


# ---- reading ------------------------------------------------------------------------------------


def test_reading_a_stage_that_is_missing_or_unfinished(stage, tmp_path):
    with pytest.raises(RunError, match="run python AEC_train.py run.name=run run.folder=.* first"):
        stage.require_complete()
    stage.begin({}, "")
    with pytest.raises(RunError, match="unfinished"):
        stage.require_complete()
    with pytest.raises(RunError, match="no run 'rum'; did you mean run.name=run?"):
        StageFolder(tmp_path / "rum", "AEC").require_begun()


def test_reading_a_stage_with_other_inputs_names_the_difference(stage):
    stage.begin({"data": "abc", "aec.n_features": 9}, "", {"data": "old.h5"})
    stage.complete([], {})
    stage.require_match({"data": "abc", "aec.n_features": 9})
    with pytest.raises(RunError, match=r"aec.n_features was 9, is 12; .*another run.name$"):
        stage.require_match({"data": "abc", "aec.n_features": 12})
    with pytest.raises(RunError, match=r"data was old.h5, is new.h5; "):
        stage.require_match({"data": "def"}, {"data": "new.h5"})


def test_reading_a_changed_result_is_refused(stage):
    finish(stage, {})
    (stage.path / "model.pt").write_text("tampered")
    with pytest.raises(CheckpointError, match="has changed since it was written"):
        stage.require_complete()
    (stage.path / "model.pt").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        stage.require_complete()


def test_provenance_has_what_is_needed_to_repeat_a_stage(stage):
    finish(stage, {"run.seed": 1})
    provenance = json.loads((stage.path / "provenance.json").read_text())
    assert {"torch", "numpy", "RISCluster"} <= provenance["versions"].keys()
    assert all(provenance[name] for name in ("command", "git", "directory", "machine"))
    assert provenance["started"].endswith("Z")
    assert provenance["inputs"] == {"run.seed": 1}
    assert len(provenance["results"]["model.pt"]) == 64


def test_provenance_of_an_earlier_version(stage):
    finish(stage, {"gmm.prior": 2})
    path = stage.path / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["depends"] = provenance.pop("inputs")
    path.write_text(json.dumps(provenance))
    assert stage.require_complete()["inputs"] == {"gmm.covariance_shrinkage": 2}
    del provenance["checksum"]
    path.write_text(json.dumps(provenance))
    assert stage.is_done({"gmm.covariance_shrinkage": 2})


@pytest.mark.parametrize("text", ["[]", "{}", '{"inputs": 1}', "[" * 100_000, "\xff", "{"])
def test_provenance_that_is_none(stage, text):
    finish(stage, {})
    (stage.path / "provenance.json").write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match="provenance.json: "):
        stage.begin({}, "")


# ---- stored settings ----------------------------------------------------------------------------


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Begin a stage of the run x with the settings of its words and of the run."""
    monkeypatch.chdir(tmp_path)
    clock = iter(range(100))
    monkeypatch.setattr(
        "RISCluster.run_folder.timestamp", lambda *_: f"2026-01-01T00:00:{next(clock):02}Z"
    )

    def begin(stage, *words):
        settings = of(stage, *words)
        inputs = {"words": [stage, *words]}
        StageFolder(settings.run_folder, stage).begin(inputs, settings.as_ini())
        return settings

    return begin


def of(stage, *words):
    return load_run_settings(None, ["run.name=x", *words], stage)


def test_stored_settings_replace_the_defaults(begin):
    begin("AEC", "data.file=y.h5", "aec.lr=0.01", "gmm.n_clusters=5", "run.seed=1")
    for stage in ("AEC", "GMM", "DEC"):
        settings = of(stage)
        assert (settings.run.name, settings.data.file) == ("x", "y.h5")
        assert (settings.aec.lr, settings.gmm.n_clusters, settings.run.seed) == (0.01, (5,), 1)
    assert set(settings.from_run) == {
        "data.file = y.h5", "aec.lr = 0.01", "gmm.n_clusters = 5", "run.seed = 1"
    }  # fmt: skip
    other = load_run_settings(None, ["run.name=other"], "GMM")
    assert (other.data.file, other.from_run) == ("Data/demo.h5", ())


def test_order_of_defaults_run_file_and_words(begin, tmp_path):
    begin("AEC", "data.file=y.h5", "aec.lr=0.01", "aec.patience=3", "aec.batch_size=32")
    (tmp_path / "config.ini").write_text("[aec]\nlr = 0.02\npatience = 10\nbatch_size = 64\n")
    settings = of("AEC", "aec.batch_size=64")
    assert settings.aec.lr == 0.02  # of the file
    assert settings.aec.patience == 3  # of the run: the file has the default
    assert settings.aec.batch_size == 64  # the default, set by a word
    assert set(settings.from_run) == {"data.file = y.h5", "aec.patience = 3"}
    (tmp_path / "my.ini").write_text("[run]\nname = x\n[aec]\nlr = 0.03\n")
    settings = load_run_settings("my.ini", [], "AEC")
    assert (settings.aec.lr, settings.config) == (0.03, "my.ini")


def test_the_stage_of_a_key_decides(begin):
    begin("AEC", "data.file=y.h5", "aec.lr=0.01", "run.precision=fp32")
    begin("GMM", "gmm.n_init=7", "data.file=moved.h5")
    begin("DEC", "dec.gamma=0.5", "dec.lr=0.1,0.2", "run.precision=bf16", "run.device=cpu")
    assert of("AEC").run.precision == "fp32"  # or it would be made again
    assert of("DEC").run.precision == "bf16"
    assert of("AEC").data.file == "moved.h5"  # of the latest stage
    assert of("AEC").run.device == "cpu"
    assert of("DEC").dec.lr == (0.1, 0.2)
    begin("AEC", "data.file=z.h5", "data.amplitude=log", "aec.lr=0.02", "dec.gamma=9",
          "run.seed=5")  # fmt: skip
    for stage in ("GMM", "DEC"):
        settings = of(stage)
        assert (settings.data.file, settings.data.amplitude) == ("z.h5", "log")
        assert settings.run.seed == 5
        assert (settings.aec.lr, settings.gmm.n_init, settings.dec.gamma) == (0.02, 7, 0.5)


def test_settings_of_an_earlier_stage_stored_by_a_later_one_do_not_change_it(begin, tmp_path):
    begin("AEC", "aec.lr=0.01", "data.file=y.h5")
    folder = StageFolder(tmp_path / "Outputs/x", "GMM")
    folder.begin({}, load_settings(None, ["run.name=x", "data.file=y.h5"]).as_ini())
    assert of("AEC").aec.lr == 0.01


def test_recipe_of_a_run(begin, tmp_path):
    begin("AEC", "run.recipe=paper", "dec.gamma=0.1")
    settings = of("GMM")
    assert (settings.gmm.covariance_shrinkage, settings.dec.gamma) == (0, 0.1)
    assert of("GMM", "gmm.covariance_shrinkage=2").gmm.covariance_shrinkage == 2
    (tmp_path / "config.ini").write_text("[run]\nrecipe = paper\n")
    assert of("GMM").dec.gamma == 0.1


def test_stored_settings_of_another_version_with_a_fault_or_missing(begin, tmp_path):
    begin("AEC", "data.file=y.h5")
    path = tmp_path / "Outputs/x/AEC/config.ini"
    text = path.read_text()
    path.write_text(text.replace("[aec]\n", "[aec]\nforgotten = 3\n") + "[other]\nkey = 1\n")
    assert of("GMM").data.file == "y.h5"
    stage = StageFolder(tmp_path / "Outputs/x", "AEC")
    assert load_stage_settings(stage, ["report.interval=day"]).report.interval == "day"
    path.write_text(text.replace("amplitude = sqrt", "amplitude = cubic"))
    with pytest.raises(SettingsError, match="settings stored with the run: .data. amplitude"):
        of("GMM")
    path.unlink()
    assert of("GMM").data.file == "Data/demo.h5"


def test_files_are_found_from_another_folder(begin, tmp_path, monkeypatch):
    (tmp_path / "y.h5").write_text("")
    begin("AEC", "data.file=y.h5", "report.stations=missing.csv")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = of("GMM", f"run.folder={tmp_path / 'Outputs'}")
    assert settings.data.file == str(tmp_path / "y.h5")
    assert settings.report.stations == "missing.csv"


# ---- commands in messages -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("AEC_train.py", "python GMM_centroids.py run.name=x"),
        ("../code/AEC_train.py", "python ../code/GMM_centroids.py run.name=x"),
        ("/usr/bin/riscluster", "riscluster cluster run.name=x"),
        ("/a/RISCluster/__main__.py", "python -m RISCluster cluster run.name=x"),
        ("/usr/bin/pytest", "python GMM_centroids.py run.name=x"),
    ],
)
def test_command_of_a_stage_is_in_the_form_of_this_process(monkeypatch, program, command):
    monkeypatch.setattr("sys.argv", [program])
    assert stage_command("GMM", Path("Outputs/x")) == command


def test_commands_have_all_that_they_need(monkeypatch, tmp_path):
    words = stage_command("DEC", Path("/other runs/a b"), "my settings.ini")
    assert words.startswith("python DEC_train.py ")
    given = shlex.split(words)[2:]
    assert given == ["--config", "my settings.ini", "run.name=a b", "run.folder=/other runs"]
    monkeypatch.setattr("sys.argv", ["/usr/bin/riscluster"])
    assert first_command("d/my set.h5") == (
        "python AEC_train.py run.name=my_set 'data.file=d/my set.h5'"
    )
    monkeypatch.chdir(tmp_path)  # not a checkout
    assert first_command("fibre.zarr", "my.ini") == (
        "riscluster pretrain --config my.ini run.name=fibre data.file=fibre.zarr"
    )
    assert [run_name(name) for name in ("..", "a:b*.h5", "2020.01.h5")] == ["run", "a_b", "2020.01"]
