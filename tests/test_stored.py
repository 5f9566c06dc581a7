"""What a run remembers of its settings, without running a stage."""

import pytest

from RISCluster.errors import SettingsError
from RISCluster.run_folder import StageFolder, load_run_settings, load_stage_settings
from RISCluster.settings import load_settings


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Begin a stage of the run x with the settings that its words and the run give."""
    monkeypatch.chdir(tmp_path)
    clock = iter(range(100))
    monkeypatch.setattr(
        "RISCluster.run_folder.timestamp", lambda *_: f"2026-01-01T00:00:{next(clock):02}Z"
    )

    def begin(stage, *words):
        settings = load_run_settings(None, ["run.name=x", *words], stage)
        depends = {"words": [stage, *words]}
        StageFolder(settings.run_folder, stage).begin(depends, settings.as_ini())
        return settings

    return begin


def of(stage, *words):
    return load_run_settings(None, ["run.name=x", *words], stage)


def test_stored_settings_stand_in_for_the_defaults(begin):
    begin("AEC", "data.file=y.h5", "aec.lr=0.01", "gmm.n_clusters=5", "run.seed=1")
    for stage in ("AEC", "GMM", "DEC"):
        settings = of(stage)
        assert settings.data.file == "y.h5"
        assert (settings.aec.lr, settings.gmm.n_clusters, settings.run.seed) == (0.01, (5,), 1)
        assert settings.run.name == "x"
    assert set(settings.from_run) == {
        "data.file = y.h5", "aec.lr = 0.01", "gmm.n_clusters = 5", "run.seed = 1"
    }  # fmt: skip
    assert load_run_settings(None, ["run.name=other"], "GMM").data.file == "Data/demo.h5"
    assert load_run_settings(None, ["run.name=other"], "GMM").from_run == ()


def test_order_of_defaults_run_file_and_words(begin, tmp_path):
    begin("AEC", "data.file=y.h5", "aec.lr=0.01", "aec.patience=3", "aec.batch_size=32")
    (tmp_path / "config.ini").write_text("[aec]\nlr = 0.02\npatience = 10\nbatch_size = 64\n")
    settings = of("AEC", "aec.batch_size=64")
    assert settings.aec.lr == 0.02  # of the file
    assert settings.aec.patience == 3  # of the run: the file has the default
    assert settings.aec.batch_size == 64  # the default, but asked for
    assert set(settings.from_run) == {"data.file = y.h5", "aec.patience = 3"}
    (tmp_path / "my.ini").write_text("[run]\nname = x\n[aec]\nlr = 0.03\n")
    assert load_run_settings("my.ini", [], "AEC").aec.lr == 0.03
    assert load_run_settings("my.ini", [], "AEC").config == "my.ini"


def test_the_stage_that_a_key_belongs_to_decides(begin):
    begin("AEC", "data.file=y.h5", "aec.lr=0.01", "run.precision=fp32")
    begin("GMM", "gmm.n_init=7", "data.file=moved.h5")
    begin("DEC", "dec.gamma=0.5", "dec.lr=0.1,0.2", "run.precision=bf16", "run.device=cpu")
    assert of("AEC").run.precision == "fp32"  # or it would be made anew
    assert of("DEC").run.precision == "bf16"
    assert of("AEC").data.file == "moved.h5"  # where it was last
    assert of("AEC").run.device == "cpu"
    assert of("DEC").dec.lr == (0.1, 0.2)
    begin("AEC", "data.file=z.h5", "data.amplitude=log", "aec.lr=0.02", "dec.gamma=9",
          "run.seed=5")  # fmt: skip
    for stage in ("GMM", "DEC"):
        settings = of(stage)
        assert (settings.data.file, settings.data.amplitude) == ("z.h5", "log")
        assert settings.run.seed == 5
        assert (settings.aec.lr, settings.gmm.n_init, settings.dec.gamma) == (0.02, 7, 0.5)


def test_a_stage_that_gave_other_words_to_an_earlier_one_does_not_change_it(begin, tmp_path):
    begin("AEC", "aec.lr=0.01", "data.file=y.h5")
    folder = StageFolder(tmp_path / "Outputs/x", "GMM")  # as of versions that did not remember
    folder.begin({}, load_settings(None, ["run.name=x", "data.file=y.h5"]).as_ini())
    assert of("AEC").aec.lr == 0.01


def test_recipes_of_a_run(begin, tmp_path):
    begin("AEC", "run.recipe=paper", "dec.gamma=0.1")
    settings = of("GMM")
    assert (settings.gmm.covariance_shrinkage, settings.dec.gamma) == (0, 0.1)
    assert of("GMM", "gmm.covariance_shrinkage=2").gmm.covariance_shrinkage == 2
    (tmp_path / "config.ini").write_text("[run]\nrecipe = paper\n")
    assert of("GMM").dec.gamma == 0.1


def test_run_without_stored_settings_and_of_another_version(begin, tmp_path):
    begin("AEC", "data.file=y.h5")
    path = tmp_path / "Outputs/x/AEC/config.ini"
    text = path.read_text()
    path.write_text(text.replace("[aec]\n", "[aec]\nforgotten = 3\n") + "[gone]\nkey = 1\n")
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
    begin("AEC", "data.file=y.h5", "report.stations=gone.csv")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    settings = of("GMM", f"run.folder={tmp_path / 'Outputs'}")
    assert settings.data.file == str(tmp_path / "y.h5")
    assert settings.report.stations == "gone.csv"
