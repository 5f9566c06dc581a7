import json
import shlex
from pathlib import Path

import pytest

from RISCluster.cli import first_command, run_name, stage_command
from RISCluster.errors import CheckpointError, RunError
from RISCluster.run_folder import StageFolder


@pytest.fixture
def stage(tmp_path):
    return StageFolder(tmp_path / "run", "AEC")


def finish(stage, depends, text="w"):
    stage.begin(depends, "")
    (stage.path / "model.pt").write_text(text)
    stage.complete(["model.pt"], {})


def test_new_then_resume_then_done(stage):
    assert stage.begin({"a": 1}, "[run]\n").state == "new"
    assert (stage.path / "config.ini").read_text() == "[run]\n"
    assert stage.begin({"a": 1}, "").state == "resume"
    finish(stage, {"a": 1})
    assert stage.begin({"a": 1}, "").state == "done"


def test_done_with_a_lost_result_is_resumed(stage):
    finish(stage, {"a": 1})
    (stage.path / "model.pt").unlink()
    assert stage.begin({"a": 1}, "").state == "resume"


def test_other_settings_keep_the_old_under_a_dated_name(stage):
    finish(stage, {"aec.lr": 0.1, "same": 1}, "precious")
    stage.figures.mkdir()
    (stage.figures / "AEC_loss.png").write_text("figure")
    (stage.figures / "GMM_gallery.png").write_text("other stage")
    said = str(stage.begin({"aec.lr": 0.2, "same": 1}, ""))
    assert said.startswith("new: aec.lr was 0.1, is 0.2; what was there is kept in ")
    kept = [path for path in stage.run_folder.glob("AEC_*") if path.is_dir()]
    assert len(kept) == 1
    assert (kept[0] / "model.pt").read_text() == "precious"
    assert (kept[0] / "figures/AEC_loss.png").exists()
    assert (stage.figures / "GMM_gallery.png").exists()
    assert not (stage.path / "model.pt").exists()


def test_two_edits_within_a_second_lose_nothing(stage):
    for value in range(4):
        finish(stage, {"a": value}, str(value))
    kept = sorted(path for path in stage.run_folder.glob("AEC_*"))
    assert sorted((path / "model.pt").read_text() for path in kept) == ["0", "1", "2"]


def test_foreign_folder_is_kept(stage):
    stage.path.mkdir(parents=True)
    (stage.path / "thesis.txt").write_text("mine")
    assert stage.begin({}, "").kept is not None
    kept = next(stage.run_folder.glob("AEC_*"))
    assert (kept / "thesis.txt").read_text() == "mine"


def test_reading_a_stage_that_is_not_there_or_unfinished(stage):
    with pytest.raises(RunError, match="run python AEC_train.py run.name=run run.folder=.* first"):
        stage.require_complete()
    stage.begin({}, "")
    with pytest.raises(RunError, match="unfinished"):
        stage.require_complete()


def test_reading_a_stage_made_otherwise_names_the_difference(stage):
    finish(stage, {"data": "abc", "aec.n_features": 9, "aec.lr": 1})
    stage.require_match({"data": "abc", "aec.n_features": 9})
    with pytest.raises(RunError, match="aec.n_features was 9, is 12"):
        stage.require_match({"data": "abc", "aec.n_features": 12})


def test_reading_a_changed_result_is_refused(stage):
    finish(stage, {})
    (stage.path / "model.pt").write_text("tampered")
    with pytest.raises(CheckpointError, match="has changed since it was written"):
        stage.require_complete()
    (stage.path / "model.pt").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        stage.require_complete()


def test_provenance_says_what_one_needs_to_redo_it(stage):
    finish(stage, {"run.seed": 1})
    provenance = json.loads((stage.path / "provenance.json").read_text())
    assert {"torch", "numpy", "RISCluster"} <= provenance["versions"].keys()
    assert provenance["command"]
    assert provenance["git"]
    assert provenance["started"].endswith("Z")
    assert provenance["inputs"] == {"run.seed": 1}
    assert len(provenance["results"]["model.pt"]) == 64


def test_killed_as_it_began_leaves_nothing_to_be_kept(stage):
    stage.path.mkdir(parents=True)
    (stage.path / "provenance.json.partial").write_text("{")
    assert stage.begin({"a": 1}, "[run]\n").state == "new"
    (stage.path / "config.ini").unlink()  # killed before it was written
    (stage.path / "last.pt.partial").write_text("half")
    assert stage.begin({"a": 1}, "[run]\n").state == "resume"
    assert sorted(path.name for path in stage.path.iterdir()) == ["config.ini", "provenance.json"]
    assert [path.name for path in stage.run_folder.iterdir()] == ["AEC"]


def test_killed_as_it_set_an_older_stage_aside(stage, monkeypatch):
    finish(stage, {"a": 1}, "precious")
    stage.figures.mkdir()
    for name in ("AEC_a.png", "AEC_b.png"):
        (stage.figures / name).write_text("figure")
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.rename", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stage.begin({"a": 2}, "")
    assert str(stage.begin({"a": 2}, "")).startswith("new: a was 1, is 2")
    kept = next(path for path in stage.run_folder.glob("AEC_*"))
    assert (kept / "model.pt").read_text() == "precious"
    assert sorted(path.name for path in (kept / "figures").iterdir()) == ["AEC_a.png", "AEC_b.png"]
    assert not list(stage.figures.iterdir())


def test_file_in_place_of_the_stage_is_kept_and_long_names_refused(stage, tmp_path):
    stage.run_folder.mkdir()
    stage.path.write_text("mine")
    assert stage.begin({}, "").kept is not None
    assert next(stage.run_folder.glob("AEC_*")).read_text() == "mine"
    with pytest.raises(RunError, match="File name too long"):
        StageFolder(tmp_path / ("x" * 300), "AEC").begin({}, "")


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="can't be made or read"):
        StageFolder(tmp_path / "file" / "run", "AEC").begin({}, "")


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


def test_command_of_a_stage_has_all_that_it_needs():
    words = stage_command("DEC", Path("/other runs/a b"), "my settings.ini")
    assert words.startswith("python DEC_train.py ")
    given = shlex.split(words)[2:]
    assert given == ["--config", "my settings.ini", "run.name=a b", "run.folder=/other runs"]


def test_first_command_names_the_run_after_the_file(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["/usr/bin/riscluster"])
    assert first_command("d/my set.h5") == (
        "python AEC_train.py run.name=my_set 'data.file=d/my set.h5'"
    )
    monkeypatch.chdir(tmp_path)  # no checkout
    assert first_command("fibre.zarr", "my.ini") == (
        "riscluster pretrain --config my.ini run.name=fibre data.file=fibre.zarr"
    )
    assert [run_name(name) for name in ("..", "a:b*.h5", "2020.01.h5")] == ["run", "a_b", "2020.01"]
