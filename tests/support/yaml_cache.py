"""Parses each YAML text once for a process, and writes YAML in C.

Parsing is half of what a command's composition takes; a job writes three files of YAML.
tests/config/test_yaml_cache.py compares what is written with OmegaConf's.
"""

from __future__ import annotations

import copy
from typing import Any

import yaml
from omegaconf import omegaconf
from omegaconf._utils import get_omega_conf_dumper


class CDumper(yaml.CDumper):
    """OmegaConf's dumper in C, which folds long quoted text at other places."""


def install() -> None:
    """Let `yaml.load` parse each text once, and OmegaConf write with `CDumper`.

    `yaml.load` still returns an object of its own each time.
    """
    CDumper.add_representer(str, get_omega_conf_dumper().str_representer)
    omegaconf.get_omega_conf_dumper = lambda: CDumper
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
