import re
from dataclasses import replace

import pytest

from RISCluster.errors import SettingsError
from RISCluster.settings import FORMS, KEYS, PRESETS, Settings, as_text, load_settings
from RISCluster.waveforms.windows import make_grid
from tests.conftest import ROOT

TEXTS = ("path", "a folder", "the path", "codes", "names", "NET.STA.LOC.CHA", "a pattern")


@pytest.fixture
def write(tmp_path):
    """Write a settings file; its path."""

    def write(text):
        path = tmp_path / "c.ini"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def error_of(path, *overrides):
    with pytest.raises(SettingsError) as caught:
        load_settings(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_key_of_the_shipped_file_is_described_and_read_by_some_code():
    text = (ROOT / "config.ini").read_text()
    assert text == (ROOT / "RISCluster/config.ini").read_text()  # the copy that users change
    assert load_settings(ROOT / "config.ini").as_ini() == Settings().as_ini()  # types too
    assert len(re.findall(r"^\w+ = ", text, re.M)) == len(KEYS)
    code = "\n".join(path.read_text() for path in (ROOT / "RISCluster").rglob("*.py"))
    for name, key in KEYS.items():
        section, _, short = name.partition(".")
        assert key.sentence.endswith(".")
        default = as_text(getattr(getattr(Settings(), section), short))
        assert re.search(rf"^{short} = {re.escape(default)}$", text, re.M)
        assert re.search(rf"\b(?:{section}|settings|data)\.{short}\b", code), f"{name} is not read"
        assert key.words or key.form, name
        assert key.form is None or key.form.startswith((*FORMS, *TEXTS)), name


WORDS = {
    "aec.lr": ("1e-4", 1e-4), "dec.lr": ("1e-4,0.00123456789", (1e-4, 0.00123456789)),
    "run.scheduler": ("tcp://host:8786",) * 2, "run.device": ("cuda:1",) * 2,
    "data.axes": ("time, channel,frequency", ("time", "channel", "frequency")),
    "data.after": ("2015-06-01T12:00",) * 2, "gmm.n_clusters": ("2-4, 8", (2, 3, 4, 8)),
    "gmm.n_resamples": ("none", None), "dec.n_clusters": ("auto, 7", ("auto", 7)),
    "build.bandpass": ("0.5-20", (0.5, 20)), "build.components": ("ZNE", ("Z", "N", "E")),
    "build.detrend": ("none", "none"), "build.traces": ("yes", True),
    "build.pre_filter": ("0.01, 0.02,20,25", (0.01, 0.02, 20, 25)),
    "cube.channels": ("-5::2", (-5, None, 2)), "cube.times": (":9", (None, 9, None)),
    "records.chunks": ("9,8,7", (9, 8, 7)), "report.seasons": ("11-3,4-10", ((11, 3), (4, 10))),
    "report.moments": ("2016-04-10T12:00 storm, 2017-01-01",) * 2,
    "report.samples": ("12, 500-502,12", (12, 500, 501, 502)),
}  # fmt: skip


def test_values_of_words_and_of_files_that_were_written(write):
    settings = load_settings(None, [f"{name}={text}" for name, (text, _) in WORDS.items()])
    for name, (_, value) in WORDS.items():
        assert settings.values(name.split(".")[0])[name] == value
    assert (settings.dec.lr, settings.dec.n_clusters) == (0.0001, "auto")  # first of a sweep
    assert load_settings(write(settings.as_ini())) == settings
    assert "n_clusters = 2-20\n" in Settings().as_ini()
    winter = Settings().report.seasons[0]
    assert [month for month in range(1, 13) if month in winter] == [1, 2, 12]


def test_words_replace_the_file_and_later_words_earlier_ones(write):
    path = write(b"\xef\xbb\xbf[aec]\npatience = 3  ; a comment\n")  # as Windows editors write
    assert load_settings(path).aec.patience == 3
    assert load_settings(path, ["aec.patience=4", "AEC.patience=5"]).aec.patience == 5
    assert load_settings(path, ["aec.patience=10"]).aec.patience == 10  # the default


@pytest.mark.parametrize(("name", "texts", "allowed"), [
    ("aec.lr", ("0", "nan", "fast", "", "1,x"), "a number above 0; several with commas are"),
    ("aec.n_epochs", ("1.5", "-1"), "a whole number from 0"),
    ("aec.n_features", ("4097",), "a whole number from 1 to 4,096"),
    ("data.validation_fraction", ("0", "1"), "a number above 0 to below 1"),
    ("data.amplitude", ("cubic",), "linear | sqrt | log"),
    ("data.after", ("noon",), "a time such as"),
    ("run.device", ("gpu", "cuda:"), "auto | cpu | cuda, or cuda:N"),
    ("run.name", ("a/b", "..", "a\tb", "-o"), "a folder name"),
    ("gmm.n_clusters", ("20-2", "0-3", "2-", "2-2000000000"), "numbers of clusters"),
    ("build.bandpass", ("20-3", "3", "-1-3", "a-b"), "low-high in Hz"),
    ("build.pre_filter", ("1,2,3", "1,2,4,3", "1,2,3,4,5"), "four ascending frequencies"),
    ("build.components", ("Z", "ZZ"), "letters"),
    ("cube.channels", ("5", "1:2:3:4", "1:2:0", "a:"), "start:stop:step"),
    ("records.order", ("time",), "auto | time,channel | channel,time"),
    ("report.samples", ("-1", "5-3", "a", "0-200"), "none, or indices from 0"),
    ("report.seasons", ("12-2,1-3",), "seasons without a month in common"),
    ("report.span", ("2016", "20170101/20160101", "2016-01-01/2017-01-01T00Z"), "two times"),
    ("report.moments", ("storm", ","), "times and names"),
])  # fmt: skip
def test_the_error_of_a_value_names_what_is_allowed(name, texts, allowed):
    section, key = name.split(".")
    for text in texts:
        message = error_of(None, f"{name}={text}")
        assert f"[{section}] {key} = {text or '(empty)'} is not allowed; allowed: " in message
        assert allowed in message


def test_the_error_of_a_file_or_word_names_it(write, tmp_path):
    for text in ("lr = 1\n", "[aec]\nlr\n", "[aec]\nlr=1\nlr=2\n", b"\xff\xfe\x00"):
        assert "c.ini: can't be read as settings" in error_of(write(text))
    assert "none.ini: can't be read as settings: No such" in error_of(tmp_path / "none.ini")
    assert "no setting 'aec.lrr' (did you mean aec.lr?)" in error_of(write("[aec]\nlrr = 64\n"))
    assert "'gmm.prior' (did you mean gmm.covariance_shrinkage?)" in error_of(None, "gmm.prior=3")
    for word in ("fast", "x" * 5000, "d/s.h5", "acc.lr=1"):
        assert f"command line: no setting '{word.partition('=')[0]}'" in error_of(None, word)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_replaces_defaults_of_build_and_its_windows_fit(preset):
    build = load_settings(None, [f"build.preset={preset}", "build.on=12.5"]).build
    assert (build.preset, build.on) == (preset, 12.5)
    assert (build == replace(Settings().build, on=12.5)) is (preset == "ris")
    assert build.dead_time >= build.length  # no windows overlap
    rate = 1000.0 if build.sampling_rate == "auto" else build.sampling_rate
    grid = make_grid(build, rate)
    assert (len(grid.time), 40 < len(grid.rows) < 100) == (100, True)
    assert build.bandpass == build.frequencies
    assert build.bandpass.high < rate / 2


def test_a_recipe_replaces_defaults(write):
    text = (ROOT / "config.ini").read_text().replace("gamma = 1\n", "gamma = 0.5\n")
    path = write(text.replace("recipe = none", "recipe = paper"))
    settings = load_settings(path, ["gmm.covariance_shrinkage=2"])
    assert (settings.aec.latent_activation, settings.dec.keep) == ("relu", "refined")
    assert settings.dec.gamma == 0.5  # another value than the default in the file
    assert settings.gmm.covariance_shrinkage == 2  # the default, set by a word
    assert load_settings(write(settings.as_ini())) == settings
    assert load_settings(None, ["run.recipe=paper"]).dec.gamma == 0.001
