"""Links, command lines, settings and versions that the documentation names."""

import configparser
import contextlib
import io
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest

from RISCluster.__main__ import main
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SETTING = re.compile(r"\b([a-z]+)\.([a-z]\w*)=")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SCRIPTS = {"AEC_train.py": "pretrain", "GMM_centroids.py": "cluster", "DEC_train.py": "refine"}


def anchors(path: Path) -> set[str]:
    """Names by which headings of a page are linked."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


def links(text: str) -> list[str]:
    """Names of the files that a page links to."""
    return [Path(target.partition("#")[0]).name for target in LINK.findall(text)]


def commands_of(text: str) -> list[list[str]]:
    """Command lines of this package in blocks of shell and in code within text, as words."""
    blocks = re.findall(r"^```sh\n(.+?)^```", text, re.M | re.S)
    inline = re.findall(
        r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.+?^```", "", text, flags=re.M | re.S)
    )
    lines = [line for block in blocks for line in block.splitlines()] + inline
    parts = [part for line in lines for part in re.split(r"&&|>", line)]
    found = []
    for part in parts:
        if re.search(r"-m RISCluster |\briscluster |\w+\.py\b", part) and not part.startswith("#"):
            with contextlib.suppress(ValueError):  # a quote that is none, as in a sentence
                found.append(shlex.split(part, comments=True))
    return [words for words in found if len(words) > 1]


@cache
def usage(command: str) -> str:
    """What --help of a command prints; empty where there is no such command."""
    with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as ended:
        raise SystemExit(main([command, "--help"]))
    return "" if ended.value.code else out.getvalue()


def program_and_rest(words: list[str]) -> tuple[str, str, list[str]]:
    """Name of a program, its help, and the words that it gets."""
    for place, word in enumerate(words):
        if word in ("RISCluster", "riscluster"):
            return words[place + 1], usage(words[place + 1]), words[place + 2 :]
        if word in SCRIPTS:
            return word, usage(SCRIPTS[word]), words[place + 1 :]
        if word.endswith(".py"):
            file = ROOT / word
            return word, file.read_text() if file.is_file() else "", words[place + 1 :]
    raise AssertionError(f"no program in {words}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in LINK.findall(text):
        if target.startswith("https:"):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_have_options_that_exist(page):
    for words in commands_of(page.read_text(encoding="utf-8")):
        program, text, rest = program_and_rest(words)
        if program in ("COMMAND", "--help"):
            continue
        assert text, f"no program {program}"
        for word in rest:
            option = re.match(r"--?[a-zA-Z][\w-]*", word)
            assert not option or re.search(rf"{option[0]}\b", text), f"{program} {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_named_are_there(page):
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "config.ini", encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    named = SETTING.findall(text)
    sections = "|".join(settings.sections())
    named += re.findall(rf"`({sections})\.([a-z]\w*)`", text)
    for section, key in named:
        if section != "section" and key != "html":
            assert key in settings[section], f"{section}.{key}"


def test_every_command_and_page_is_in_the_documentation():
    from RISCluster.commands.arguments import COMMANDS

    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert not [name for name in COMMANDS if f"`{name}`" not in text]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [page for page in PAGES if page.name not in ("README.md", *links(readme))]


def test_versions_without_git_are_the_same():
    scm = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"]
    version = scm["fallback_version"]
    assert f'__version__ = "{version}"' in (ROOT / "RISCluster/__init__.py").read_text()
    assert re.search(rf"^version: {version}$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert f"\n## {version} - " in (ROOT / "CHANGELOG.md").read_text()
