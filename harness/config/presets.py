"""The options that a request can name, with a description of each: presets and kernels."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.config.compose import conf_dir
from harness.errors import HarnessError
from harness.kernel import Declaration, KernelSpec, declarations, load_kernel
from harness.kernel.folders import own_preset_folders, shown

GROUPS = {
    "device": "devices",
    "strategy": "strategies",
    "workload": "workloads",
    "phase": "phases",
    "measure": "measures",
    "tracking": "trackings",
    "experiment": "experiments",
}
"""Groups of presets that a request chooses from -> plural. Other groups of conf/ are internal."""
KERNELS = "kernels"
LONG = 100
"""Characters of a description above which it ends at its first colon."""
NO_DESCRIPTION = ("@package", "python -m harness")
"""Beginnings of comment lines that are directives or commands."""


@dataclass(frozen=True)
class Preset:
    """One option. own: it comes from a folder of the user. folder: that folder."""

    name: str
    description: str
    own: bool = False
    folder: str = ""


def presets(group: str) -> list[Preset]:
    """The options of a group, by name, the user's too.

    Where several folders have a name, the harness's own preset counts, as it does for Hydra.
    """
    options: dict[str, Preset] = {}
    for folder in (conf_dir(), *own_preset_folders()):
        for path in (folder / group).glob("*.yaml"):
            if path.stem not in options:
                own = folder != conf_dir()
                options[path.stem] = Preset(path.stem, _description(path), own, shown(folder))
    return [options[name] for name in sorted(options)]


def phase_settings(name: str) -> dict[str, Any]:
    """The keys of one of the harness's own phases, as its preset sets them."""
    return _phase((conf_dir() / "phase" / f"{name}.yaml").read_text())


def kernels() -> list[Preset]:
    """The kernels, variants included. Where two have a name, the user's counts."""
    return [_kernel(each) for each in declarations().values()]


def _kernel(declared: Declaration) -> Preset:
    name, path = declared.name, declared.path
    if path.suffix == ".yaml":
        description = _description(path)
    elif path.parent.name == name:
        description = _docstring(path)
    else:
        description = f"{path.parent.name} with other sizes: {_sizes(name)}"
    return Preset(name, description, declared.own, shown(path.parents[1]))


def _description(path: Path) -> str:
    """The first sentence of a preset's comment, else the goal of its phase."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read ({error})"
    sentence = _first_sentence(" ".join(_comment(text)))
    goal = str(_phase(text).get("goal") or "")
    return sentence or goal[:1].upper() + goal[1:]


def _comment(text: str) -> Iterator[str]:
    """Lines of the comment at the top, up to a blank line, a command after text, or YAML."""
    begun = False
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        content = line.lstrip("#").strip()
        skipped = not content or content.startswith(NO_DESCRIPTION)
        if skipped and begun:
            return
        if not skipped:
            begun = True
            yield content


def _phase(text: str) -> dict[str, Any]:
    """The node `phase` of a preset; empty without one."""
    try:
        # Broken YAML is not an error of a list; Hydra reports its place when the option is used.
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    phase = content.get("phase") if isinstance(content, dict) else None
    return phase if isinstance(phase, dict) else {}


def _docstring(path: Path) -> str:
    """The first sentence of a `spec.py`."""
    try:
        # Parsed, not run: the docstring is there even if the kernel cannot be loaded.
        documentation = ast.get_docstring(ast.parse(path.read_text())) or ""
    except (OSError, SyntaxError, ValueError) as error:
        return f"cannot be read ({error})"
    return _first_sentence(" ".join(documentation.partition("\n\n")[0].split()))


def _first_sentence(text: str) -> str:
    sentence = text.partition(". ")[0].rstrip(".")
    return sentence.partition(": ")[0] if len(sentence) > LONG else sentence


def _sizes(name: str) -> str:
    """The arrays of a kernel: `a 64x64, b 64x64 -> out 64x64`."""
    try:
        spec: KernelSpec = load_kernel(name)
    except HarnessError as error:
        return str(error)
    inputs = ", ".join(f"{part.name} {_shape(part.shape)}" for part in spec.parts)
    outputs = ", ".join(f"{part.name} {_shape(part.shape)}" for part in spec.output.parts)
    return f"{inputs} -> {outputs}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
