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
        (["small.h5", "x.h5", "--picture", "x.png"], "one picture, and there are several files"),
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


def test_a_bad_file_among_several_costs_itself_alone(small_file, tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/small.h5").write_bytes(small_file.read_bytes())
    (tmp_path / "bad.h5").write_text("no HDF5")
    assert main(["info", "small.h5", "bad.h5", "a/small.h5"]) == 0
    said = capsys.readouterr()
    assert said.out.count("96 of 16 x 20") == 2
    assert "bad.h5: can't be opened as HDF5" in said.out + said.err
    assert len({path.name for path in tmp_path.glob("*_small_samples.png")}) == 2
    assert main(["info", "bad.h5", "missing.h5", "--no-picture"]) == 2
    assert "none of 2 files can be read" in capsys.readouterr().err


def test_packed_values_and_names_of_axes_are_shown_as_they_are(tmp_path, capsys):
    with h5py.File("p.nc", "w") as file:
        stored = np.full((40, 6, 8), 1000, np.int16)
        stored[3, 2], stored[:, :, 4] = -32767, 3000
        data = file.create_dataset("data", data=stored)
        data.attrs.update(
            {"scale_factor": 0.001, "add_offset": 5.0, "_FillValue": np.int16(-32767)}
        )
        for axis, name in enumerate(("time", "channel", "frequency")):
            scale = file.create_dataset(name, data=np.arange(stored.shape[axis]))
            scale.make_scale(name)
            data.dims[axis].attach_scale(scale)
        file["frequency"].attrs["units"] = "kHz"
        file["time"].attrs["units"] = "hours since 2020-01-01 00:00:00 -6:00"
    assert main(["info", "p.nc", "--no-picture"]) == 0
    out = capsys.readouterr().out
    assert "peak                   8         8         8         8         8" in out
    assert "1 not finite (first: sample 2)" in out
    assert "frequency     0 to 7000 Hz, step 1000 Hz" in out
    assert "2020-01-01T06:00:00.000000Z to 2020-01-02T18:00:00.000000Z" in out
    assert "scale_factor = 0.001" in out
    assert "DIMENSION_LIST" not in out
