import pytest

from RISCluster.__main__ import main
from RISCluster.commands.arguments import make_parsers

COMMANDS = make_parsers()[1]


def test_overview_and_unknown_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(f"    {name}" in out for name in COMMANDS)
    assert main([]) == main(["biuld"]) == 2
    assert "invalid choice: 'biuld' (choose from" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"python -m RISCluster {name}" in capsys.readouterr().out
