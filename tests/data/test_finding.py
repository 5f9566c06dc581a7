import pytest

from RISCluster.data.storage import find_files
from RISCluster.errors import DataError


@pytest.fixture
def archive(tmp_path):
    for name in ("a/2020.001.msd", "a/b/2020.002", "a/notes.txt", "a/.hidden", "c.mseed", "s.xml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


def names(archive, *words):
    found = find_files([str(archive / word) for word in words])
    return [str(path.relative_to(archive)) for path in found]


def test_folders_patterns_and_files(archive):
    assert names(archive, "a") == ["a/2020.001.msd", "a/b/2020.002"]
    assert names(archive, "*.mseed") == ["c.mseed"]
    assert names(archive, "**/2020*") == ["a/2020.001.msd", "a/b/2020.002"]
    assert names(archive, "c.mseed", "a", "c.mseed") == [
        "a/2020.001.msd", "a/b/2020.002", "c.mseed",
    ]  # fmt: skip
    assert names(archive, "a/notes.txt") == ["a/notes.txt"], "a file that is named is taken"


def test_nothing_there(archive):
    with pytest.raises(DataError, match="no such file, no file in this folder, or of this pattern"):
        find_files([str(archive / "z*")])
    with pytest.raises(DataError, match="no data among these files"):
        find_files([str(archive / "*.xml")])
