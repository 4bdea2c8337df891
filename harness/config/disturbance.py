"""Keys of a simulated device that disturb its runs: noise on its times, and faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.config.setting import Schema, setting

MOST_COUNT = 4096
"""Largest value of a count or a factor of a device."""


def _executions(meaning: str, remedy: str = "executions count from 0") -> Any:
    return setting(list, meaning, least=0, remedy=remedy)


@dataclass(frozen=True)
class Noise(Schema):
    """Random factors on the times of executions and completions.

    The defaults follow published samples of a Phoenix NPU; harness/sim/noise.py names the source.
    """

    group = "device.noise."

    enabled: bool = setting(False, "whether times vary")
    seed: int = setting(0, "seed of the factors", least=0)
    tight_pct: float = setting(
        2.0,
        "median absolute deviation of the tight mode, in % of its centre",
        least=0,
        most=20,
        unit="%",
    )
    fast_pct: float = setting(
        3.0, "share of executions that are fast outliers", least=0, most=20, unit="%"
    )
    burst_pct: float = setting(
        18.0, "share of executions in bursts of slow ones", least=0, most=50, unit="%"
    )


@dataclass(frozen=True)
class Faults(Schema):
    """Faults to inject, by the number of the execution: from 0, since the machine was created."""

    group = "device.faults."

    hang: list[int] = _executions("executions that hang until the watchdog ends them")
    error: list[int] = _executions("executions that end in state ERROR")
    abort: list[int] = _executions("executions that end in state ABORT")
    corrupt: list[int] = _executions(
        "executions with one flipped bit in their output, unless verify=off"
    )
    slow: list[int] = _executions("executions that take `slow_factor` times as long")
    slow_factor: int = setting(
        20, "how many times as long a slow execution takes", least=1, most=MOST_COUNT
    )
    lost: int = setting(
        -1,
        "execution at whose start the device is lost; -1: never",
        least=-1,
        remedy="-1 is never",
    )
    refuse_context: list[int] = _executions("context openings that are refused, counted from 0")
