"""Links, command lines, settings, versions and packages that the documentation names."""

import contextlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from RISCluster.commands.arguments import make_parsers
from RISCluster.settings import KEYS, SECTIONS
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HELP = {name: parser.format_help() for name, parser in make_parsers()[1].items()}
HELP |= dict.fromkeys(("COMMAND", "--help"), "--help")  # of the package
SCRIPTS = {"AEC_train.py": "pretrain", "GMM_centroids.py": "cluster", "DEC_train.py": "refine"}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(name: str | Path) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands_of(text: str) -> list[list[str]]:
    """Command lines of this package in blocks of shell and in code within text, as words."""
    blocks = re.findall(r"^```sh\n(.+?)^```", text, re.M | re.S)
    prose = re.sub(r"^```.+?^```", "", text, flags=re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose)
    found = []
    for part in (part for line in lines for part in re.split(r"&&|>", line)):
        if re.search(r"-m RISCluster |\briscluster |\w+\.py\b", part) and not part.startswith("#"):
            with contextlib.suppress(ValueError):  # an apostrophe in a sentence
                found.append(shlex.split(part, comments=True))
    return [words for words in found if len(words) > 1]


def help_and_arguments(words: list[str]) -> tuple[str, list[str]]:
    """Help of a program, for some scripts their text, and the words after its name."""
    for place, word in enumerate(words, 1):
        if word in ("RISCluster", "riscluster"):
            return HELP[words[place]], words[place + 1 :]
        if word.endswith(".py"):
            return HELP[SCRIPTS[word]] if word in SCRIPTS else text_of(word), words[place:]
    raise AssertionError(f"no program in {words}")


@each_page
def test_links_lead_somewhere(page):
    for target in LINK.findall(text_of(page)):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not target.startswith("https:"):
            assert path.exists(), target
            titles = re.findall(r"^#+ (.+)$", text_of(path), re.M) if anchor else []
            anchors = [re.sub(r"[^\w -]", "", x.lower()).replace(" ", "-") for x in titles]
            assert not anchor or anchor in anchors, target


@each_page
def test_options_and_settings_that_are_named_exist(page):
    text = text_of(page)
    for words in commands_of(text):
        help_text, arguments = help_and_arguments(words)
        for word in arguments:
            option = re.match(r"--?[a-zA-Z][\w-]*", word)
            assert not option or re.search(rf"{option[0]}\b", help_text), words
    if page.name in ("commands.md", "settings.md"):
        options = re.findall(r"[ `](--[a-z][\w-]*)", text)
        assert not [x for x in options if not re.search(rf"{x}\b", " ".join(HELP.values()))]
    named = re.findall(r"\b([a-z]+\.[a-z]\w*)=", text)
    named += re.findall(rf"`((?:{'|'.join(SECTIONS)})\.[a-z]\w*)`", text)
    assert {name for name in named if not re.match(r"section\.|\w+\.html", name)} <= KEYS.keys()


def test_commands_pages_versions_and_dependencies_are_named():
    documented = text_of("docs/commands.md")
    assert not [name for name in make_parsers()[1] if f"`{name}`" not in documented]
    linked = [Path(x.partition("#")[0]).name for x in LINK.findall(text_of("README.md"))]
    assert not [page for page in PAGES if page.name not in ("README.md", *linked)]
    gate = text_of(".ci/run").splitlines()[-1]  # its first screen has it
    assert gate.endswith("-n 2 --dist worksteal")
    assert gate in text_of("README.md").split("\n## ")[0]
    version = PROJECT["tool"]["setuptools_scm"]["fallback_version"]
    assert f'__version__ = "{version}"' in text_of("RISCluster/__init__.py")
    assert re.search(rf"^version: {version}$", text_of("CITATION.cff"), re.M)
    assert f"\n## {version} - " in text_of("CHANGELOG.md")
    for file, torch in (("CPU", "pytorch-cpu"), ("CUDA", "pytorch-gpu")):
        names = {requirement.split(">=")[0] for requirement in PROJECT["project"]["dependencies"]}
        names = names - {"torch", "matplotlib"} | {torch, "matplotlib-base", "obspy", "zarr"}
        assert names <= set(re.findall(r"- ([\w-]+)>=", text_of(f"RISCluster_{file}.yml")))
