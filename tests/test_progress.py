import pytest

from RISCluster.progress import count


@pytest.mark.parametrize(
    ("n", "words", "text"),
    [
        (0, ("trace",), "0 traces"),
        (1, ("trace",), "1 trace"),
        (1200, ("trace",), "1,200 traces"),
        (1, ("window at a gap", "windows at gaps"), "1 window at a gap"),
        (2, ("window at a gap", "windows at gaps"), "2 windows at gaps"),
    ],
)
def test_numbers_with_their_noun(n, words, text):
    assert count(n, *words) == text
