import re

import pytest

from RISCluster.__main__ import main


@pytest.fixture
def refused(capsys):
    """``refused(words, text)``: the command ends with code 2 and one line that has the text."""

    def check(words, text):
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        message = capsys.readouterr().err
        assert re.search(text, message) or text in message, message
        assert message.count("\n") == 1

    return check


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The test's folder as working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(made_run):
    """A finished run, and the file that it was trained on; not to be changed."""
    return made_run, made_run.parent.parent / "small.h5"
