import pytest

from RISCluster.__main__ import main
from RISCluster.commands.arguments import make_parsers

COMMANDS = make_parsers()[1]


def test_help_and_an_unknown_command(capsys):
    overview = [f"    {name}" for name in COMMANDS]
    one = {name: [f"python -m RISCluster {name}"] for name in COMMANDS}
    for words, texts in ({"": overview} | one).items():
        with pytest.raises(SystemExit, match="0"):
            main([*words.split(), "--help"])
        out = capsys.readouterr().out
        assert [text for text in texts if text not in out] == []
    assert main([]) == main(["biuld"]) == 2
    assert "invalid choice: 'biuld' (choose from" in capsys.readouterr().err
