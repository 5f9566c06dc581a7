import sys
import tomllib

import pytest

from RISCluster.errors import MissingPackage
from RISCluster.io import EXTRAS, need
from RISCluster.runtime import count
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("n", "words", "text"),
    [
        (0, ("trace",), "0 traces"),
        (1, ("trace",), "1 trace"),
        (1200, ("trace",), "1,200 traces"),
        (2, ("window at a gap", "windows at gaps"), "2 windows at gaps"),
    ],
)
def test_numbers_with_their_noun(n, words, text):
    assert count(n, *words) == text


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_package_is_named_as_it_is_installed(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    extra, name, _ = EXTRAS[package]
    with pytest.raises(MissingPackage, match=f"pip install {name}, .* the extra '{extra}'"):
        need(package)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = declared["optional-dependencies"][extra]
    assert any(package.startswith(f"{name}>=") for package in packages)
