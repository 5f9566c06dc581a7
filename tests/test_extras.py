import sys
import tomllib
from pathlib import Path

import pytest

from RISCluster.errors import MissingPackage
from RISCluster.extras import EXTRAS, need

ROOT = Path(__file__).parent.parent


def test_every_package_is_declared():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, name, _ in EXTRAS.values():
        packages = declared["optional-dependencies"][extra]
        assert any(package.startswith(f"{name}>=") for package in packages), name


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_package_is_named_as_it_is_installed(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    extra, name, _ = EXTRAS[package]
    with pytest.raises(MissingPackage, match=f"pip install {name}, .* the extra '{extra}'"):
        need(package)
