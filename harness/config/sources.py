"""Where the values of a request come from: overrides as the user typed them, and YAML files.

Messages show the override as it was typed (`+depth=1e3`), or name the file that sets the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.kernel.folders import shown as shown

_SETTING = re.compile(r"([\w.]+)(?:=(\S*))?: ")
"""Start of a message about a key, and its value if the message shows it."""
_GLOBAL = "# @package _global_"


@dataclass(frozen=True)
class Sources:
    """overrides: as typed, flags left out. conf: folder of the harness's presets. own: the user's.

    sources = Sources(("strategy=mine", "depth=1e3"), conf_dir(), (Path("my_conf"),))
    sources.typed("depth", "1000.0")  # "depth=1e3"
    sources.file("strategy/mine")  # "my_conf/strategy/mine.yaml"
    """

    overrides: tuple[str, ...] = ()
    conf: Path | None = None
    own: tuple[Path, ...] = ()

    def typed(self, key: str, value: str) -> str:
        """The override that gives `key` this value, as typed; `key=value` if there is none.

        Of several values of a sweep, only the one that equals `value`.
        """
        # If a key is given twice, Hydra takes the last.
        for text in reversed(self.overrides):
            name, _, given = text.partition("=")
            # What an interpolation resolves to was not typed.
            if name.lstrip("+") != key or "${" in given:
                continue
            if "," not in given or given.startswith(("[", "{")):
                return text
            # Messages show the converted value, 1000.0 for 1e3.
            same = (each for each in given.split(",") if _number(each) == _number(value))
            return f"{name}={next(same, value)}"
        return f"{key}={value}"

    def annotated(self, message: str) -> str:
        """A message about a key, with the override as typed, or after the user's file that sets it.

        Other messages do not change.
        """
        match = _SETTING.match(message)
        if not match:
            return message
        key, value = match.groups()
        if any(key_and_value(text)[0] == key for text in self.overrides):
            # A message about a member of a list shows that member only.
            typed = self.typed(key, value) if value is not None else "["
            return message if "[" in typed else f"{typed}: {message[match.end() :]}"
        files = [path for path, group in self._chosen() if _sets(path, group, key)]
        return f"{shown(files[-1])}: {message}" if files else message

    def file(self, preset: str) -> str:
        """The file of a preset such as `strategy/mine`; empty if no folder has it."""
        for folder in self._folders():
            path = folder / f"{preset}.yaml"
            if path.is_file():
                return shown(path)
        return ""

    def file_that_names(self, preset: str) -> str:
        """The user's file whose defaults list has this preset; empty if there is none."""
        files = [path for path, group in self._chosen() if preset in _defaults(path, group)]
        return shown(files[-1]) if files else ""

    def undecodable(self) -> str:
        """The first of the user's chosen files that is not UTF-8 text; empty if there is none."""
        for path, _ in self._chosen():
            try:
                path.read_text()
            except UnicodeDecodeError:
                return shown(path)
        return ""

    def options(self, group: str) -> list[str]:
        """The options of a group."""
        paths = (path for folder in self._folders() for path in (folder / group).glob("*.yaml"))
        return list(dict.fromkeys(path.stem for path in paths))

    def _folders(self) -> tuple[Path, ...]:
        return (*([self.conf] if self.conf else []), *self.own)

    def _chosen(self) -> Iterator[tuple[Path, str]]:
        """The user's files that the overrides choose, and those in their defaults; with groups."""
        names = []
        for text in self.overrides:
            group, options = key_and_value(text)
            names += [f"{group}/{option}" for option in options.strip("[]").split(",")]
        seen = set()
        while names:
            name = names.pop(0)
            paths = [path for folder in self.own if (path := folder / f"{name}.yaml").is_file()]
            # Two defaults lists may name each other.
            if name not in seen and paths:
                seen.add(name)
                path, group = paths[0], name.rpartition("/")[0]
                names += _defaults(path, group)
                yield path, group


def key_and_value(override: str) -> tuple[str, str]:
    """The two sides of an override, without its plus signs: `+depth=3` gives `depth` and `3`."""
    key, _, value = override.lstrip("+").partition("=")
    return key, value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _content(path: Path) -> dict[str, Any]:
    """The keys of a YAML file; none if it cannot be read: Hydra's own error says why."""
    import yaml  # tests/contract runs in a Python without it

    with suppress(OSError, ValueError, yaml.YAMLError):
        content = yaml.safe_load(path.read_text())
        if isinstance(content, dict):
            return content
    return {}


def _defaults(path: Path, group: str) -> list[str]:
    """The presets in the defaults list of a file, as `group/option`."""
    entries = _content(path).get("defaults")
    names = []
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, str):
            name = entry.partition("@")[0].removeprefix("/")
            names.append(name if "/" in name else f"{group}/{name}")
        elif isinstance(entry, dict):
            for key, option in entry.items():
                name = str(key).removeprefix("override ").partition("@")[0].strip("/ ")
                names.append(f"{name}/{option}")
    return names


def _sets(path: Path, group: str, key: str) -> bool:
    """Whether a file sets a key of the configuration."""
    try:
        is_global = _GLOBAL in path.read_text()
    except (OSError, ValueError):
        return False
    value: Any = _content(path) if is_global else {group: _content(path)}
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True
