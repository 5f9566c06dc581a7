import h5py
import numpy as np
import pytest

from RISCluster.__main__ import main


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_text_and_picture(small_file, tmp_path, capsys):
    assert main(["info", str(small_file)]) == 0
    out = capsys.readouterr().out
    assert "96 of 16 x 20 (frequency x time), float32" in out
    assert out.endswith("picture: small_samples.png\n")
    assert (tmp_path / "small_samples.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_is_what_its_name_says(small_file, tmp_path):
    assert main(["info", str(small_file), "--picture", "x.svg"]) == 0
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")
    assert main(["info", str(small_file), "run.figure_format=pdf"]) == 0
    assert (tmp_path / "small_samples.pdf").read_bytes().startswith(b"%PDF")


def test_picture_elsewhere_or_none(small_file, tmp_path, capsys):
    assert main(["info", str(small_file), "--picture", "new/x.png"]) == 0
    assert (tmp_path / "new/x.png").exists()
    assert main(["info", str(small_file), "--no-picture"]) == 0
    assert not (tmp_path / "small_samples.png").exists()
    assert "picture" not in capsys.readouterr().out.splitlines()[-1]


def test_file_of_the_settings(small_file, tmp_path, capsys):
    (tmp_path / "mine.ini").write_text(f"[data]\nfile = {small_file}\ntrain_samples = 50\n")
    assert main(["info", "--no-picture", "--config", "mine.ini"]) == 0
    assert "64 kB of memory for 50 samples" in capsys.readouterr().out


def test_settings_say_what_a_sample_is(tmp_path, capsys):
    with h5py.File("cube.h5", "w") as file:
        file["data"] = np.random.default_rng(0).random((40, 3, 8)).astype(np.float32)
    words = ["info", "cube.h5", "cube.window=10", "cube.stride=5", "--no-picture"]
    assert main(words) == 0
    assert "21 of 8 x 10 (frequency x time)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["missing.h5"], "DataError: missing.h5: no such file"),
        (["text.h5"], "DataError: text.h5: can't be opened as HDF5"),
        (["small.h5", "data.dataset=nothing"], "no data set 'nothing' in this file"),
        (["small.h5", "other.h5"], "small.h5 other.h5: one file at a time"),
        (["small.h5", "data.layuot=cube"], "has no key 'layuot'; did you mean 'layout'?"),
        (["small.h5", "--picture", "small.h5/x.png"], "can't be written"),
        (["small.h5", "--picture", "x.png", "--no-picture"], "are both given"),
        (["small.h5", "--picture", "x.gif"], "--picture x.gif: allowed: a name that ends with"),
        (["cut.h5"], "cut.h5: "),
    ],
)
def test_errors_are_one_line(small_file, tmp_path, capsys, words, text):
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "cut.h5").write_bytes(small_file.read_bytes()[:3000])
    assert main(["info", *words]) == 2
    message = capsys.readouterr().err
    assert text in message
    assert message.count("\n") == 1


def test_damaged_bytes_are_one_line(tmp_path, capsys):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        x = np.random.default_rng(0).random((64, 8, 8)).astype(np.float32)
        data = file.create_dataset("spectrogram", data=x, chunks=(8, 8, 8), compression="gzip")
        place = data.id.get_chunk_info(5).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 200] = b"\xff" * 200
    path.write_bytes(content)
    assert main(["info", str(path), "--no-picture"]) == 2
    text = capsys.readouterr().err
    assert "samples 0 to 63 of spectrogram can't be read" in text
    assert text.count("\n") == 1
