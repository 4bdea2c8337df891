"""Parses each YAML text once for a process: half of what a command's composition takes."""

from __future__ import annotations

import copy
from typing import Any

import yaml


def install() -> None:
    """Let `yaml.load` parse each text once; it still returns an object of its own each time."""
    if getattr(yaml.load, "parses_once", False):
        return
    parse, parsed = yaml.load, dict[tuple[str, str], Any]()

    def load(stream: Any, Loader: type) -> Any:
        is_text = isinstance(stream, str | bytes)
        text = stream if is_text else stream.read()
        key = text, Loader.__name__  # OmegaConf makes a new class of this name for each text.
        if key not in parsed:
            if not is_text:
                stream.seek(0)  # An error names the file.
            parsed[key] = parse(stream, Loader=Loader)
        return copy.deepcopy(parsed[key])

    load.parses_once = True
    yaml.load = load
