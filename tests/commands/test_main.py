import pytest

from RISCluster.__main__ import main
from RISCluster.commands.arguments import COMMANDS


def test_overview_and_unknown_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)
    assert main(["biuld"]) == 2
    assert "no command 'biuld'; did you mean build?" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"python -m RISCluster {name}" in capsys.readouterr().out
