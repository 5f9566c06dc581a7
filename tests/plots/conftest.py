import pytest


@pytest.fixture
def drawn(tmp_path):
    def draw(figure):
        figure.savefig(tmp_path / "f.png")
        return figure

    return draw
