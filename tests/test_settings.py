import re
from dataclasses import replace
from typing import Literal, Union, get_args, get_origin

import pytest

from RISCluster.errors import SettingsError
from RISCluster.settings import (
    COMPARISONS,
    KEYS,
    PRESETS,
    RENAMED,
    Settings,
    as_text,
    descriptions,
    load_settings,
    read_stored,
    takes_sweep,
)
from RISCluster.waveforms.windows import make_grid
from tests.conftest import ROOT


@pytest.fixture
def write(tmp_path):
    """Write a settings file; its path."""

    def write(text, name="c.ini"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def error_of(path, *overrides):
    with pytest.raises(SettingsError) as caught:
        load_settings(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def choices(kind) -> set[str]:
    """Words among the values of a type."""
    parts = get_args(kind) if get_origin(kind) in (Union, type(int | str)) else (kind,)
    return {word for part in parts if get_origin(part) is Literal for word in get_args(part)}


def test_shipped_file_has_every_key_with_its_default_and_allowed_values():
    text = (ROOT / "config.ini").read_text()
    assert load_settings(ROOT / "config.ini") == Settings()
    assert list(descriptions()) == list(KEYS)
    plain = " ".join(text.replace("\n#", "").split())
    for name, (sentence, allowed) in descriptions().items():
        key, limits = KEYS[name], KEYS[name].metadata["limits"]
        assert sentence.endswith(".")
        assert f"[{allowed}] {name.partition('.')[2]} = {as_text(key.default)}" in plain
        assert allowed.startswith("list of ") == takes_sweep(key)
        assert all(f"{limits[end]:,}" in allowed for end in COMPARISONS if end in limits), name
        assert choices(key.type) <= set(re.findall(r"[\w,]*\w", allowed)), name


def test_every_key_is_read_by_some_code():
    code = "\n".join(path.read_text() for path in (ROOT / "RISCluster").rglob("*.py"))
    for name in KEYS:
        section, key = name.split(".")
        assert re.search(rf"\b(?:{section}|settings|data)\.{key}\b", code), (
            f"{name} is read nowhere"
        )


WORDS = {
    "aec.lr": ("1e-4", 1e-4),
    "aec.batch_size": ("64, 128", (64, 128)),
    "run.figures": ("no", False),
    "gmm.n_clusters": ("2-4, 8", (2, 3, 4, 8)),
    "gmm.n_resamples": ("none", None),
    "data.cpu_threads": ("3", 3),
    "dec.n_clusters": ("auto, 7", ("auto", 7)),
    "build.bandpass": ("0.5-20", (0.5, 20)),
    "build.pre_filter": ("0.01, 0.02,20,25", (0.01, 0.02, 20, 25)),
    "build.inventory": ("none", None),
    "build.water_level": ("none", None),
    "cube.channels": ("-5::2", (-5, None, 2)),
    "cube.times": (":9", (None, 9, None)),
    "records.sampling_rate": ("250", 250),
    "report.moments": ("2016-04-10T12:00 storm, 2017-01-01",) * 2,
    "report.seasons": ("11-3,4-10", ((11, 3), (4, 10))),
}


def test_values_of_words_and_of_files_that_were_written(write):
    settings = load_settings(None, [f"{name}={text}" for name, (text, _) in WORDS.items()])
    for name, (_, value) in WORDS.items():
        section, key = name.split(".")
        assert getattr(getattr(settings, section), key) == value
    assert load_settings(write(settings.as_ini())) == settings
    assert "n_clusters = 2-20\n" in Settings().as_ini()
    lr = load_settings(None, ["aec.lr=1e-4,0.00123456789"])
    assert load_settings(write(lr.as_ini())) == lr


def test_words_replace_the_file_and_later_words_earlier_ones(write):
    path = write(b"\xef\xbb\xbf[aec]\npatience = 3  ; a comment\n")  # as Windows editors write
    assert load_settings(path).aec.patience == 3
    assert load_settings(path, ["aec.patience=4", "AEC.patience=5"]).aec.patience == 5
    assert load_settings(path, ["aec.patience=10"]).aec.patience == 10  # the default


def test_seasons_include_the_turn_of_the_year():
    winter = Settings().report.seasons[0]
    assert [month for month in range(1, 13) if month in winter] == [1, 2, 12]


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        *((f"aec.lr={text}", "a number above 0") for text in ("0", "nan", "fast", "")),
        ("aec.batch_size=64,x", "several with commas are a sweep"),
        ("aec.n_epochs=1.5", "a whole number, 0 or more"),
        ("data.validation_fraction=1", "a number above 0 to below 1"),
        ("data.amplitude=cubic", "linear | sqrt | log"),
        *((f"run.device={text}", "auto | cpu | cuda | cuda:N") for text in ("gpu", "cuda:")),
        ("run.figures=maybe", "yes | no"),
        *((f"run.name={name}", "a folder name") for name in ("a/b", "..", "a\tb", "-o")),
        *((f"gmm.n_clusters={text}", "numbers of clusters") for text in (
            "20-2", "0-3", "2-", "2-2000000000"
        )),
        ("dec.n_clusters=1", "auto, or a whole number"),
        *((f"build.bandpass={text}", "low-high in Hz") for text in ("20-3", "3", "-1-3", "a-b")),
        *((f"build.pre_filter={text}", "four ascending frequencies") for text in (
            "1,2,3", "1,2,4,3", "1,2,3,4,5"
        )),
        *((f"cube.channels={text}", "start:stop:step") for text in ("5", "1:2:3:4", "1:2:0", "a:")),
        ("build.overlap=1", "a number from 0 to below 1"),
        ("records.order=time", "auto | time,channel | channel,time"),
        ("report.seasons=12-2,1-3", "seasons without a month in common"),
        *((f"report.span={text}", "two times") for text in ("2016", "2016-03/2016-02", "a/b")),
        ("report.moments=storm", "times and names"),
        ("run.recipe=rutford", "none | paper"),
    ],
)  # fmt: skip
def test_the_error_of_a_value_names_what_is_allowed(word, allowed):
    name, _, value = word.partition("=")
    section, key = name.split(".")
    message = error_of(None, word)
    assert f"[{section}] {key} = {value or '(empty)'} is not allowed; allowed: " in message
    assert allowed in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[aec]\nbatchsize = 64\n", "[aec] has no key 'batchsize'; did you mean aec.batch_size?"),
        ("[aec]\ngamma = 1\n", "did you mean dec.gamma?"),
        ("[dce]\nlr = 1\n", "[dce] has no key 'lr'; did you mean dec.lr?"),
        *((text, "can't be read as settings") for text in (
            "lr = 1\n", "[aec]\nlr\n", "[aec]\nlr=1\nlr=2\n", "[aec]\n[aec]\n", b"\xff\xfe\x00"
        )),
    ],
)  # fmt: skip
def test_the_error_of_a_file_names_it(write, text, message):
    found = error_of(write(text))
    assert "c.ini: " in found
    assert message in found


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fast", "'fast' is not a setting; write section.key=value"),
        ("x" * 5000, f"'{'x' * 5000}' is not a setting; write section.key=value"),
        ("name=x", "'name=x' is not a setting; did you mean run.name=x?"),
        ("d/s.h5", "'d/s.h5' is not a setting; did you mean data.file=d/s.h5?"),
        ("acc.lr=1", "[acc] has no key 'lr'; did you mean aec.lr?"),
    ],
)
def test_the_error_of_a_word_that_is_no_setting(tmp_path, word, message):
    assert error_of(None, word).startswith(f"command line: {message}")
    assert "none.ini: can't be read as settings: No such" in error_of(tmp_path / "none.ini", word)


@pytest.mark.parametrize("name", RENAMED)
def test_the_error_of_an_old_key_names_the_present_one(write, name):
    section, old = name.split(".")
    text = f"[{section}] {old} is now called {RENAMED[name].partition('.')[2]}"
    path = write(f"[{section}]\n{old} = 3\n")
    assert text in error_of(path)
    assert text in error_of(None, f"{name}=3")
    assert read_stored(path) == {RENAMED[name]: "3"}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_replaces_defaults_of_build_and_its_windows_fit(preset):
    build = load_settings(None, [f"build.preset={preset}", "build.on=7.5"]).build
    assert (build.preset, build.on) == (preset, 7.5)
    assert (build == replace(Settings().build, on=7.5)) is (preset == "ris")
    assert build.dead_time >= build.length  # no windows overlap
    rate = 1000.0 if build.sampling_rate == "auto" else build.sampling_rate
    grid = make_grid(build, rate)
    assert grid.n_columns == 100
    assert 40 < grid.n_rows < 100
    assert build.bandpass == build.frequencies
    assert build.bandpass.high < rate / 2


def test_a_recipe_replaces_defaults(write):
    text = (ROOT / "config.ini").read_text().replace("gamma = 1\n", "gamma = 0.5\n")
    path = write(text.replace("recipe = none", "recipe = paper"))
    settings = load_settings(path, ["gmm.covariance_shrinkage=2"])
    assert settings.aec.latent_activation == "relu"
    assert settings.dec.keep == "refined"
    assert settings.dec.gamma == 0.5  # another value than the default in the file
    assert settings.gmm.covariance_shrinkage == 2  # the default, set by a word
    assert load_settings(write(settings.as_ini(), "again.ini")) == settings
    assert load_settings(None, ["run.recipe=paper"]).dec.gamma == 0.001
