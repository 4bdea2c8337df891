"""Finds what has no effect in a request: values of the command line, presets of the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.config.compose import conf_dir
from harness.config.device import ClockKind, Simulator
from harness.config.schema import Config
from harness.config.sources import key_and_value
from harness.config.strategy import beyond_tiles
from harness.config.workload import FullEncoder
from harness.kernel.folders import own_preset_folders, shown

OF_VARYING_PASSES = ("most_repeats", "most_s", "width")
"""Keys of `measure` that have an effect only where times vary."""
CACHE_CHECK = "measure.cache_check"


def unused_presets(choices: Mapping[str, str | None]) -> list[str]:
    """A line about each preset of the user whose name selects a preset of the harness.

    choices: the option of each group in a request. Two folders with a name: the harness's counts.
    """
    lines = list[str]()
    for group, option in choices.items():
        name = f"{group}/{option}.yaml"
        for folder in own_preset_folders() if (conf_dir() / name).is_file() else ():
            if (path := folder / name).is_file():
                lines.append(
                    f"{group}={option}: the preset of the harness is used, not {shown(path)}; "
                    "rename yours"
                )
    return lines


def without_effect(config: Config, overrides: Sequence[str]) -> list[str]:
    """A line about each value that has no effect; values of presets give none.

    config: the effective request, which may differ from what was asked for.
    """
    lines = list[str]()
    # A pass of an encoder has more calls than tiles.
    if not isinstance(config.workload, FullEncoder):
        lines += beyond_tiles(config.strategy, config.workload.tiles, overrides)
    return lines + _of_measure(config, overrides)


def _of_measure(config: Config, overrides: Sequence[str]) -> list[str]:
    lines = list[str]()
    repeats, is_exact = config.measure.repeats, config.device.is_exact
    names = [*["least_repeats"] * bool(repeats), *OF_VARYING_PASSES * bool(repeats or is_exact)]
    typed = {key_and_value(text)[0]: text for text in overrides}
    unused = [typed[key] for name in names if (key := f"measure.{name}") in typed]
    if unused:
        reason = "in virtual time without noise all passes take the same time"
        if repeats:
            reason = f"measure.repeats={repeats} times exactly {repeats} passes"
        lines.append(f"{' '.join(unused)}: no effect, because {reason}")
    is_virtual = isinstance(config.device, Simulator) and config.device.clock is ClockKind.virtual
    if is_virtual and config.measure.cache_check and CACHE_CHECK in typed:
        lines.append(f"{typed[CACHE_CHECK]}: no effect, because virtual time shows no cache")
    return lines
