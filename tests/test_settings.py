import re
from typing import Literal, Union, get_args, get_origin

import pytest

from RISCluster.errors import SettingsError
from RISCluster.settings import (
    COMPARISONS,
    KEYS,
    RENAMED,
    Settings,
    as_text,
    load_settings,
    read_stored,
    sentences,
    takes_sweep,
)
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


def test_shipped_file_holds_every_key_with_its_default_and_what_is_allowed():
    text = (ROOT / "config.ini").read_text()
    assert load_settings(ROOT / "config.ini") == Settings()
    described = sentences()
    assert list(described) == list(KEYS)
    plain = " ".join(text.replace("\n#", "").split())
    for names, sentence in described.items():
        key, limits = KEYS[names], KEYS[names].metadata["limits"]
        assert sentence.endswith(".")
        found = re.search(rf"{re.escape(sentence)} \[(.+?)\] {names[1]} = (\S.*)", plain)
        assert found[2].startswith(as_text(key.default))
        assert found[1].startswith("list of ") == takes_sweep(key)
        assert all(f"{limits[end]:,}" in found[1] for end in COMPARISONS if end in limits), names
        assert choices(key.type) <= set(re.findall(r"[\w,]*\w", found[1])), names


def test_every_key_is_read_by_some_code():
    code = "\n".join(path.read_text() for path in (ROOT / "RISCluster").rglob("*.py"))
    for section, key in KEYS:
        by_name = rf"\b(?:{section}|settings|data)\.{key}\b"
        assert re.search(by_name, code), f"[{section}] {key} is read nowhere"


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
    "report.seasons": ("11-3,4-10", ((11, 3), (4, 10))),
}


def test_values_of_words_and_files_and_written_again(write):
    words = [f"{name}={text}" for name, (text, _) in WORDS.items()]
    settings = load_settings(None, words)
    for name, (_, value) in WORDS.items():
        section, key = name.split(".")
        assert getattr(getattr(settings, section), key) == value
    assert load_settings(write(settings.as_ini())) == settings
    lr = load_settings(None, ["aec.lr=1e-4,0.00123456789"])
    assert load_settings(write(lr.as_ini())) == lr


def test_words_replace_the_file_and_later_words_earlier_ones(write):
    path = write(b"\xef\xbb\xbf[aec]\npatience = 3  ; a comment\n")  # as Windows editors write
    assert load_settings(path).aec.patience == 3
    assert load_settings(path, ["aec.patience=4", "aec.patience=5"]).aec.patience == 5


def test_seasons_include_the_turn_of_the_year():
    winter = Settings().report.seasons[0]
    assert [month for month in range(1, 13) if month in winter] == [1, 2, 12]


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
        ("run.recipe=rutford", "none | paper"),
    ],
)  # fmt: skip
def test_value_not_allowed_says_what_is(word, allowed):
    section, _, rest = word.partition(".")
    key, _, value = rest.partition("=")
    message = error_of(None, word)
    assert f"[{section}] {key} = {value or '(empty)'} is not allowed; allowed: " in message
    assert allowed in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[aec]\nbatchsize = 64\n", "[aec] has no key 'batchsize'; did you mean 'batch_size'?"),
        ("[aec]\ngamma = 1\n", "did you mean [dec] gamma?"),
        ("[dce]\nlr = 1\n", "unknown section [dce]; did you mean 'dec'?"),
        ("lr = 1\n", "not a settings file"),
        ("[aec]\nlr\n", "not a settings file"),
        ("[aec]\nlr=1\nlr=2\n", "not a settings file"),
        ("[aec]\n[aec]\n", "not a settings file"),
        (b"\xff\xfe\x00", "not a settings file"),
    ],
)
def test_fault_in_a_file_names_it(write, text, message):
    found = error_of(write(text))
    assert "c.ini: " in found
    assert message in found


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fast", "'fast' is not a setting; write section.key=value"),
        ("name=x", "'name=x' is not a setting; did you mean run.name=x?"),
        ("d/s.h5", "'d/s.h5' is not a setting; did you mean data.file=d/s.h5?"),
        ("AEC.lr=1", "unknown section [AEC]; did you mean 'aec'?"),
    ],
)
def test_word_that_is_no_setting(tmp_path, word, message):
    assert error_of(None, word).startswith(f"command line: {message}")
    assert "no such settings file" in error_of(tmp_path / "none.ini", word)


@pytest.mark.parametrize("names", RENAMED)
def test_old_name_of_a_key_names_the_new_one(write, names):
    section, old = names
    text = f"[{section}] {old} is now called {RENAMED[names]}"
    path = write(f"[{section}]\n{old} = 3\n")
    assert text in error_of(path)
    assert text in error_of(None, f"{section}.{old}=3")
    assert read_stored(path) == {(section, RENAMED[names]): "3"}


def test_recipe_replaces_what_is_left_at_its_default(write):
    text = (ROOT / "config.ini").read_text().replace("gamma = 1\n", "gamma = 0.5\n")
    path = write(text.replace("recipe = none", "recipe = paper"))
    settings = load_settings(path, ["gmm.covariance_shrinkage=2"])
    assert settings.aec.latent_activation == "relu"
    assert settings.dec.keep == "refined"
    assert settings.dec.gamma == 0.5  # another value than the default in the file
    assert settings.gmm.covariance_shrinkage == 2  # the default, set by a word
    assert load_settings(write(settings.as_ini(), "again.ini")) == settings
    assert load_settings(None, ["run.recipe=paper"]).dec.gamma == 0.001
