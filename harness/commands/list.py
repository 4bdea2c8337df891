"""List the options of a request: kernels, and the presets of each group, with descriptions."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from harness.commands.hydra_argv import check_config_dir
from harness.commands.parser import Parser, presentation_of
from harness.commands.terminal import Presentation, show
from harness.config.keys import Key, keys_of
from harness.config.presets import GROUPS, KERNELS, Preset, kernels, presets
from harness.errors import RequestError, nearest
from harness.kernel.folders import looking_in
from harness.report.tables import NOTHING, Cell, Part, Sheet, left

HELP = "describe kernels, workloads, strategies and the other options"
OWN = "*"
KEYS_FLAG = "--keys"
SINGULAR = {KERNELS: "kernel", **{plural: group for group, plural in GROUPS.items()}}
PLURAL = {group: plural for plural, group in SINGULAR.items()}


def _parser() -> Parser:
    parser = Parser(
        "list",
        description="List what a run can name, with a description of each.",
        epilog=f"Groups: {', '.join(PLURAL)}; the plural works too.",
        tables=True,
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="what to list (all groups)")
    parser.add_argument(
        KEYS_FLAG, action="store_true", help="the keys of the groups in place of their options"
    )
    parser.add_argument(
        *("--config-dir", "-cd"),
        type=Path,
        metavar="FOLDER",
        help=f"folder of your own presets and kernels, as a run takes it; they are marked {OWN}, "
        "as are those in conf/ and kernels/ of the current folder",
    )
    return parser


def sheet(group: str, options: Sequence[Preset]) -> Sheet:
    """A row per option; a mark in front of the user's own, if there are any."""
    marked = any(option.own for option in options)
    heading = SINGULAR[group]
    columns = [left("", "own"), left(heading, "name"), left("description")]
    result = Sheet(group, *columns[0 if marked else 1 :])
    for option in options:
        mark = [Cell(OWN if option.own else "", option.own)] if marked else []
        result.add(*mark, option.name, option.description)
    return result


def key_sheet(group: str, keys: Sequence[Key]) -> Sheet:
    """A row per key of a group."""
    with_kinds = any(key.kinds for key in keys)
    columns = [left("key"), *[left("device")] * with_kinds, left("allowed"), left("meaning")]
    result = Sheet(f"keys of {group}", *columns)
    for key in keys:
        kinds = [", ".join(key.kinds)] * with_kinds
        result.add(key.name, *kinds, key.limits or NOTHING, key.meaning)
    return result


def _key_parts(groups: Sequence[str]) -> list[Part]:
    """The tables of the keys; RequestError if a group that is named has none."""
    parts: list[Part] = []
    for name in groups or PLURAL:
        group = _singular(name)
        if keys := keys_of(group):
            parts += [*([""] if parts else []), key_sheet(group, keys)]
        elif groups:
            raise RequestError(
                f"{KEYS_FLAG} {name}: has no keys; {', '.join(filter(keys_of, PLURAL))} have some"
            )
    return parts


def main(arguments: Sequence[str]) -> int:
    """Print a table for each group."""
    options = _parser().parse_intermixed_args(arguments)
    presentation, own_dir = presentation_of(options), options.config_dir
    for name in options.groups:
        if name not in PLURAL and name not in SINGULAR:
            raise RequestError(f"{name}: no such group; {nearest(name, PLURAL)}")
    check_config_dir(own_dir)
    with looking_in(own_dir):
        return _list(options, presentation)


def _list(options: Namespace, presentation: Presentation) -> int:
    if options.keys:
        show(_key_parts(options.groups), "list", presentation)
        return 0
    parts, listed = list[Part](), list[list[Preset]]()
    # A group that is named twice, also as singular and plural, is listed once.
    for name in dict.fromkeys(PLURAL.get(name, name) for name in options.groups or PLURAL):
        if parts:
            parts.append("")
        rows = kernels() if name == KERNELS else presets(SINGULAR[name])
        listed.append(rows)
        parts.append(sheet(name, rows))
    if any(row.own for rows in listed for row in rows):
        folders = dict.fromkeys(row.folder for rows in listed for row in rows if row.own)
        parts += ["", f"{OWN} from {', '.join(folders)}"]
    named = [group for group in map(_singular, options.groups) if keys_of(group)]
    if named and presentation.for_readers:
        parts.append(f"harness list {named[0]} {KEYS_FLAG} lists the keys of {named[0]}")
    show(parts, "list", presentation)
    return 0


def _singular(name: str) -> str:
    return SINGULAR.get(name, name)
