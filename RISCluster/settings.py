"""config.ini to frozen, typed, checked settings; the keys themselves are in `sections`."""

import configparser
import dataclasses
import difflib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .recipes import RECIPES
from .setting_sections import (
    RENAMED,
    SECTIONS,
    AecSettings,
    BuildSettings,
    CubeSettings,
    DataSettings,
    DecSettings,
    GmmSettings,
    RecordsSettings,
    ReportSettings,
    RunSettings,
)

COMMAND_LINE = "command line"
CONFIG = "config.ini"
Names = tuple[str, str]  # section and key


@dataclass(frozen=True)
class Settings:
    """All settings of a run, as resolved from file and overrides.

    Attributes
    ----------
    run, data, cube, aec, gmm, dec, build, records, report
        One object a section.
    config : str or None
        Settings file that was named on the command line.
    from_run : tuple of str
        ``section.key = value`` of what the run's stored settings changed.
    """

    run: RunSettings = RunSettings()
    data: DataSettings = DataSettings()
    cube: CubeSettings = CubeSettings()
    aec: AecSettings = AecSettings()
    gmm: GmmSettings = GmmSettings()
    dec: DecSettings = DecSettings()
    build: BuildSettings = BuildSettings()
    records: RecordsSettings = RecordsSettings()
    report: ReportSettings = ReportSettings()
    config: str | None = field(default=None, compare=False)
    from_run: tuple[str, ...] = field(default=(), compare=False)

    @property
    def run_folder(self) -> Path:
        """Folder of this run, ``<run.folder>/<run.name>``."""
        return Path(self.run.folder).expanduser() / self.run.name

    def affecting(self, section: str, *affects: str) -> dict[str, Any]:
        """Keys of a section whose effect is among `affects`, as ``section.key: value``."""
        values = getattr(self, section)
        return {
            f"{section}.{key.name}": _plain(getattr(values, key.name))
            for key in dataclasses.fields(values)
            if key.metadata["affects"] in affects
        }

    def changed(self, section: str) -> list[str]:
        """``section.key=value`` words for what differs from the defaults."""
        values, defaults = getattr(self, section), SECTIONS[section]()
        return [
            f"{section}.{key.name}={_as_text(getattr(values, key.name))}"
            for key in dataclasses.fields(values)
            if getattr(values, key.name) != getattr(defaults, key.name)
        ]

    def sweep(self, section: str) -> list[tuple[str, "Settings"]]:
        """Every combination of a section's lists.

        Parameters
        ----------
        section : {"aec", "dec"}

        Returns
        -------
        list of (str, Settings)
            A folder name such as ``batch_size=64,lr=0.001``, and settings without lists in that
            section. One pair with an empty name where there is no list.
        """
        values = getattr(self, section)
        lists = {
            key.name: getattr(values, key.name)
            for key in dataclasses.fields(values)
            if isinstance(getattr(values, key.name), tuple)
        }
        combinations = []
        for choice in itertools.product(*lists.values()):
            chosen = dict(zip(lists, choice, strict=True))
            name = ",".join(f"{key}={_as_text(value)}" for key, value in chosen.items())
            section_settings = dataclasses.replace(values, **chosen)
            combinations.append((name, dataclasses.replace(self, **{section: section_settings})))
        return combinations

    def as_ini(self) -> str:
        """The settings as the text of a config.ini that gives the same settings."""
        lines = []
        for section in SECTIONS:
            lines.append(f"[{section}]")
            values = getattr(self, section)
            for key in dataclasses.fields(values):
                lines.append(f"{key.name} = {_as_text(getattr(values, key.name))}")
            lines.append("")
        return "\n".join(lines)


# ---- reading ------------------------------------------------------------------------------------


def load_settings(
    path: str | Path | None,
    overrides: Sequence[str] = (),
    stored: Callable[[Path], Mapping[Names, str]] | None = None,
) -> Settings:
    """Read a config.ini and apply overrides.

    A value is that of `overrides`, or else of the file where that differs from the default, or
    else the stored one, or else the default. A recipe replaces what is then left at its default,
    unless it is in `overrides`.

    Parameters
    ----------
    path : path or None
        File with sections and keys as in the `Settings` classes; what it leaves out has its
        default, as has everything where there is no file.
    overrides : sequence of str
        ``section.key=value`` words, taken in order.
    stored : callable or None
        Gives texts by section and key that stand in for the defaults, for the run folder.

    Returns
    -------
    Settings

    Raises
    ------
    SettingsError
        For a missing or unreadable file, an unknown section or key, or a value that is not
        allowed; the message names file, section, key, value, what is allowed and, for a name
        that is not known, the nearest that is.
    """
    values = {} if path is None else _read_ini(Path(path))
    for word in overrides:
        section, key, value = _split_override(word)
        values[section, key] = (value, COMMAND_LINE)
    from_run = []
    if stored is not None:
        from_run = _apply_stored(values, stored(_resolve(values).run_folder))
    _apply_recipe(values)
    return dataclasses.replace(_resolve(values), from_run=tuple(from_run))


def load_found_settings(config: str | None, overrides: Sequence[str], **others: Any) -> Settings:
    """`load_settings` of the file that is named, or of config.ini if it is there."""
    found = CONFIG if config is None and Path(CONFIG).exists() else config
    return dataclasses.replace(load_settings(found, overrides, **others), config=config)


def _resolve(values: Mapping[Names, tuple[str, str]]) -> Settings:
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for (section, key), (text, place) in values.items():
        sections[section][key] = _parse_value(section, key, text, place)
    return Settings(**{name: SECTIONS[name](**sections[name]) for name in SECTIONS})


def _apply_stored(values: dict[Names, tuple[str, str]], stored: Mapping[Names, str]) -> list[str]:
    """Replace what is left at its default by stored values, in place; what that changed."""
    changed = []
    for (section, key), text in stored.items():
        if _is_left(values, section, key) and not _is_default(section, key, text):
            values[section, key] = (text, "settings stored with the run")
            changed.append(f"{section}.{key} = {text}")
    return changed


def _apply_recipe(values: dict[Names, tuple[str, str]]) -> None:
    """Replace what is left at its default by what ``run.recipe`` says, in place.

    The recipe itself is not kept: the keys have its values.
    """
    text, place = values.pop(("run", "recipe"), ("none", ""))
    for (section, key), value in RECIPES[_parse_value("run", "recipe", text, place)].items():
        if _is_left(values, section, key):
            values[section, key] = (value, f"recipe {text}")


def _is_left(values: Mapping[Names, tuple[str, str]], section: str, key: str) -> bool:
    """Whether a key has its default, and no word of the command line asked for that."""
    if (section, key) not in values:
        return True
    text, place = values[section, key]
    return place != COMMAND_LINE and _is_default(section, key, text)


def _is_default(section: str, key: str, text: str) -> bool:
    """Whether a text says what the default does; what is not allowed is left for its error."""
    metadata = SECTIONS[section].__dataclass_fields__[key].metadata
    try:
        return metadata["kind"].parse(text) == metadata["kind"].parse(metadata["default"])
    except ValueError:
        return False


def read_stored(path: Path) -> dict[Names, str]:
    """Texts by section and key of a file that a stage has written.

    Keys of earlier versions have their new names; those that this version does not have are left
    out.

    Raises
    ------
    SettingsError
        The file can't be read.
    """
    found = {}
    for (section, key), (text, _) in _read_ini(path, check=False).items():
        key = RENAMED.get((section, key), key)
        if section in SECTIONS and key in SECTIONS[section].__dataclass_fields__:
            found[section, key] = text
    return found


def _read_ini(path: Path, check: bool = True) -> dict[Names, tuple[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"))
    try:
        with path.open(encoding="utf-8-sig") as file:  # Windows editors put a mark first
            parser.read_file(file)
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: no such settings file; give one with --config FILE, or start in the folder "
            "that holds config.ini"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path}: can't be read as a settings file: {error}; give another with --config FILE"
        ) from None
    except configparser.Error as error:
        reason = " ".join(str(error).split())
        raise SettingsError(
            f"{path}: not a settings file: {reason}; allowed: lines as '[section]' or 'key = value'"
        ) from None
    values = {}
    for section in parser.sections():
        for key, text in parser.items(section):
            if check:
                _check_known(section, key, str(path))
            values[section, key] = (text.strip(), str(path))
    return values


def _split_override(word: str) -> tuple[str, str, str]:
    name, equals, value = word.partition("=")
    section, dot, key = name.strip().partition(".")
    if not equals or not dot:
        raise SettingsError(
            f"command line: '{word}' is not a setting{_meant(word, name.strip().lower())}; write "
            "section.key=value, as aec.lr=1e-4"
        )
    _check_known(section, key.lower(), COMMAND_LINE)
    return section, key.lower(), value.strip()


def _meant(word: str, name: str) -> str:
    """Hint for a key without its section, and for a file without its key."""
    sections = [section for section, keys in SECTIONS.items() if name in keys.__dataclass_fields__]
    if "=" in word and sections:
        return f"; did you mean {sections[0]}.{word}?"
    if "=" not in word and (Path(word).suffix or Path(word).exists()):
        return f"; did you mean data.file={word}?"
    return ""


def _check_known(section: str, key: str, place: str) -> None:
    if section not in SECTIONS:
        near = _nearest(section, SECTIONS)
        raise SettingsError(
            f"{place}: unknown section [{section}]{near}; allowed: {', '.join(SECTIONS)}"
        )
    if (section, key) in RENAMED:
        raise SettingsError(
            f"{place}: [{section}] {key} is now called {RENAMED[section, key]}; rename it"
        )
    known = [key.name for key in dataclasses.fields(SECTIONS[section])]
    if key not in known:
        elsewhere = [name for name, keys in SECTIONS.items() if key in keys.__dataclass_fields__]
        near = f"; did you mean [{elsewhere[0]}] {key}?" if elsewhere else _nearest(key, known)
        raise SettingsError(
            f"{place}: [{section}] has no key '{key}'{near}; allowed: {', '.join(known)}"
        )


def _nearest(word: str, known: Sequence[str] | dict[str, Any]) -> str:
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def _parse_value(section: str, key: str, text: str, place: str) -> Any:
    kind = SECTIONS[section].__dataclass_fields__[key].metadata["kind"]
    try:
        return kind.parse(text)
    except ValueError:
        raise SettingsError(
            f"{place}: [{section}] {key} = {text or '(empty)'} is not allowed; "
            f"allowed: {kind.allowed}"
        ) from None


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return ", ".join(_as_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _plain(value: Any) -> Any:
    """As JSON would give it back, so that stored and current values compare equal."""
    return list(value) if isinstance(value, tuple) else value
