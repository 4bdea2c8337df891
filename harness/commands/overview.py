"""What `harness --help` prints: commands, groups with their options, flags, examples."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import shorten

from harness.config.presets import GROUPS, presets

WIDTH = 80
EXAMPLES = (
    "strategy=pipelined depth=3",
    "-m strategy=baseline,pooled,pipelined,batch",
    "workload=whisper_base strategy=stacked strategy.batch=8",
)
"""Arguments of commands that work on any machine, in this order."""


def overview(commands: Mapping[str, str]) -> str:
    """The help, at most 30 lines of 80 characters. commands: name -> what it does."""
    lines = [
        "usage: python -m harness [COMMAND] [ARGUMENTS]   (COMMAND --help explains one)",
        *(f"  {name:<12} {text}" for name, text in commands.items()),
        "Groups: GROUP=OPTION, GROUP.KEY=VALUE. Keys: depth=2 seed=0 verify=all resume=on",
    ]
    # From the folders, so that a preset of the user's own is listed too.
    options = {group: ", ".join(preset.name for preset in presets(group)) for group in GROUPS}
    # Two short lists in one line, because the help fits a screen.
    options["measure"] += f"; tracking: {options.pop('tracking')}"
    for group, names in options.items():
        lines.append(f"  {group:<12} {shorten(names, WIDTH - 15, placeholder=' ...')}")
    lines += [
        "Flags: -m (sweep), -q, -v, --csv, --json, --markdown, --cfg job, --hydra-help",
        "Exit codes: 0 right; 1 failed, or not stored; 2 wrong request; 130, 143 stopped",
        *(f"  python -m harness {example}" for example in EXAMPLES),
    ]
    return "\n".join(lines)
