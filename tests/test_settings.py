import re
from pathlib import Path

import pytest

from RISCluster.errors import SettingsError
from RISCluster.settings import (
    SECTIONS,
    Settings,
    as_text,
    describe,
    load_settings,
    read_stored,
    sentences,
    takes_sweep,
)
from tests.conftest import ROOT


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.ini"
    path.write_text(text)
    return path


def error_of(path: Path, *overrides: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(path, overrides)
    return str(caught.value)


def test_shipped_file_holds_every_key_with_its_default_and_what_is_allowed():
    text = (ROOT / "config.ini").read_text()
    assert load_settings(ROOT / "config.ini") == Settings()
    described = sentences()
    assert list(described) == [
        (name, key) for name, keys in SECTIONS.items() for key in keys.__dataclass_fields__
    ]
    assert all(sentence.endswith(".") for sentence in described.values())
    plain = " ".join(text.replace("\n#", "").split())
    for (section, key), sentence in described.items():
        item = SECTIONS[section].__dataclass_fields__[key]
        allowed = describe(item.type, item.metadata["limits"], item.metadata["allowed"])
        several = "list of " * takes_sweep(item.type)
        assert f"{sentence} [{several}{allowed}] {key} = {as_text(item.default)}" in plain


def test_every_key_is_read_by_some_code():
    code = "\n".join(path.read_text() for path in (ROOT / "RISCluster").rglob("*.py"))
    for section, keys in SECTIONS.items():
        for key in keys.__dataclass_fields__:
            by_name = rf"\b(?:{section}|settings|data)\.{key}\b"
            assert re.search(by_name, code), f"[{section}] {key} is read nowhere"


def test_values_have_their_types(tmp_path):
    path = write(tmp_path, "[aec]\nlr = 1e-4  ; a comment\nbatch_size = 64, 128\n[run]\nfigures=no")
    settings = load_settings(path, ["gmm.n_clusters=2-4, 8", "data.cpu_threads=3"])
    assert settings.aec.lr == 1e-4
    assert settings.aec.batch_size == (64, 128)
    assert settings.run.figures is False
    assert settings.gmm.n_clusters == (2, 3, 4, 8)
    assert settings.data.cpu_threads == 3
    assert settings.dec.n_clusters == "auto"


def test_override_wins_over_file_and_later_over_earlier(tmp_path):
    path = write(tmp_path, "[aec]\npatience = 3\n")
    assert load_settings(path, ["aec.patience=4", "aec.patience=5"]).aec.patience == 5


def test_unknown_key_names_file_section_key_and_nearest(tmp_path):
    message = error_of(write(tmp_path, "[aec]\nbatchsize = 64\n"))
    assert "c.ini" in message
    assert "[aec] has no key 'batchsize'; did you mean 'batch_size'?" in message
    assert "patience" in message


def test_key_of_another_section_is_pointed_out(tmp_path):
    message = error_of(write(tmp_path, ""), "aec.gamma=1")
    assert "did you mean [dec] gamma?" in message
    assert message.startswith("command line")


def test_unknown_section_names_the_nearest(tmp_path):
    assert "unknown section [dce]; did you mean 'dec'?" in error_of(
        write(tmp_path, "[dce]\nlr = 1\n")
    )


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        ("aec.lr=0", "a number above 0"),
        ("aec.lr=nan", "a number above 0"),
        ("aec.lr=fast", "a number above 0"),
        ("aec.lr=", "a number above 0"),
        ("aec.batch_size=64,x", "several with commas are a sweep"),
        ("aec.n_epochs=1.5", "a whole number, 0 or more"),
        ("data.validation_fraction=1", "a number above 0 to below 1"),
        ("data.amplitude=cubic", "linear | sqrt | log"),
        ("run.device=gpu", "auto | cpu | cuda | cuda:N"),
        ("run.device=cuda:", "auto | cpu | cuda | cuda:N"),
        ("run.figures=maybe", "yes | no"),
        ("run.name=a/b", "a folder name"),
        ("run.name=..", "a folder name"),
        ("run.name=a\tb", "a folder name"),
        ("run.name=-o", "a folder name"),
        ("gmm.n_clusters=20-2", "numbers of clusters"),
        ("gmm.n_clusters=0-3", "numbers of clusters"),
        ("gmm.n_clusters=2-", "numbers of clusters"),
        ("gmm.n_clusters=2-2000000000", "numbers of clusters"),
        ("dec.n_clusters=1", "auto, or a whole number"),
    ],
)
def test_value_not_allowed_says_what_is(tmp_path, word, allowed):
    message = error_of(write(tmp_path, ""), word)
    section, _, rest = word.partition(".")
    key, _, value = rest.partition("=")
    assert f"[{section}] {key} = {value or '(empty)'} is not allowed" in message
    assert allowed in message


def test_word_that_is_no_setting(tmp_path):
    assert "write section.key=value" in error_of(write(tmp_path, ""), "fast")
    path = write(tmp_path, "")
    assert "'name=x' is not a setting; did you mean run.name=x?" in error_of(path, "name=x")
    assert "'d/s.h5' is not a setting; did you mean data.file=d/s.h5?" in error_of(path, "d/s.h5")
    assert "unknown section [AEC]; did you mean 'aec'?" in error_of(path, "AEC.lr=1")


@pytest.mark.parametrize(
    "text", ["lr = 1\n", "[aec]\nlr\n", "[aec]\nlr=1\nlr=2\n", "[aec]\n[aec]\n"]
)
def test_broken_file_is_one_line(tmp_path, text):
    message = error_of(write(tmp_path, text))
    assert "not a settings file" in message
    assert "\n" not in message


def test_missing_and_unreadable_file(tmp_path):
    assert "no such settings file" in error_of(tmp_path / "none.ini")
    marked = tmp_path / "notepad.ini"
    marked.write_bytes(b"\xef\xbb\xbf[aec]\npatience = 3\n")
    assert load_settings(marked).aec.patience == 3
    path = tmp_path / "binary.ini"
    path.write_bytes(b"\xff\xfe\x00")
    assert "can't be read" in error_of(path)


def test_sweep_is_every_combination(tmp_path):
    settings = load_settings(write(tmp_path, ""), ["aec.batch_size=32,64", "aec.lr=1e-3,1e-4"])
    combinations = settings.sweep("aec")
    assert [name for name, _ in combinations] == [
        "batch_size=32,lr=0.001",
        "batch_size=32,lr=0.0001",
        "batch_size=64,lr=0.001",
        "batch_size=64,lr=0.0001",
    ]
    assert combinations[2][1].aec.batch_size == 64
    assert Settings().sweep("aec") == [("", Settings())]


def test_as_ini_gives_the_same_settings_back(tmp_path):
    words = ["aec.lr=1e-4,0.00123456789", "gmm.n_clusters=3,5", "run.tensorboard=yes"]
    settings = load_settings(write(tmp_path, ""), words)
    again = tmp_path / "again.ini"
    again.write_text(settings.as_ini())
    assert load_settings(again) == settings


def test_bands_corners_and_slices():
    settings = load_settings(
        None,
        [
            "build.bandpass=0.5-20",
            "build.pre_filter=0.01, 0.02,20,25",
            "build.inventory=none",
            "cube.channels=-5::2",
        ],
    )
    assert settings.build.bandpass == (0.5, 20)
    assert settings.build.pre_filter == (0.01, 0.02, 20, 25)
    assert settings.build.inventory is None
    assert settings.cube.channels == (-5, None, 2)


@pytest.mark.parametrize(
    "word",
    [
        "build.bandpass=20-3", "build.bandpass=3", "build.bandpass=-1-3", "build.bandpass=a-b",
        "build.pre_filter=1,2,3", "build.pre_filter=1,2,4,3", "build.pre_filter=1,2,3,4,5",
        "cube.channels=5", "cube.channels=1:2:3:4", "cube.channels=1:2:0", "cube.times=a:b",
        "build.on=nan", "build.overlap=1", "records.order=time",
    ],
)  # fmt: skip
def test_values_of_new_kinds_that_are_not_allowed(word):
    with pytest.raises(SettingsError, match="is not allowed; allowed: "):
        load_settings(None, [word])


def test_settings_survive_being_written(tmp_path):
    words = ["build.bandpass=0.5-20", "build.pre_filter=0.01,0.02,20,25", "cube.channels=:9",
             "records.sampling_rate=250", "build.water_level=none"]  # fmt: skip
    settings = load_settings(None, words)
    assert load_settings(write(tmp_path, settings.as_ini())) == settings


def test_recipe_replaces_what_is_left_at_its_default(tmp_path):
    text = (ROOT / "config.ini").read_text().replace("gamma = 1\n", "gamma = 0.5\n")
    path = write(tmp_path, text.replace("recipe = none", "recipe = paper"))
    settings = load_settings(path, ["gmm.covariance_shrinkage=2"])
    assert settings.aec.latent_activation == "relu"
    assert settings.dec.keep == "refined"
    assert settings.dec.gamma == 0.5  # another value than the default in the file
    assert settings.gmm.covariance_shrinkage == 2  # the default, but asked for
    assert load_settings(write(tmp_path, settings.as_ini())) == settings
    assert load_settings(None, ["run.recipe=paper"]).dec.gamma == 0.001
    assert "none | paper" in error_of(path, "run.recipe=rutford")


RENAMED = [
    ("data", "workers", "cpu_threads", "3"),
    ("gmm", "start", "init", "kmeans"),
    ("gmm", "prior", "covariance_shrinkage", "5"),
    ("gmm", "stability", "n_resamples", "none"),
]


@pytest.mark.parametrize(("section", "old", "new", "value"), RENAMED)
def test_old_name_of_a_key_names_the_new_one(tmp_path, section, old, new, value):
    text = f"[{section}] {old} is now called {new}"
    assert text in error_of(write(tmp_path, f"[{section}]\n{old} = {value}\n"))
    assert text in error_of(write(tmp_path, ""), f"{section}.{old}={value}")
    assert read_stored(write(tmp_path, f"[{section}]\n{old} = {value}\n")) == {
        (section, new): value
    }
