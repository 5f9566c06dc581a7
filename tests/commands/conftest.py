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
