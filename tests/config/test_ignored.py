"""A key that has no effect in its request is reported, and only if it was typed."""

from __future__ import annotations

import pytest

from harness.config.compose import load
from harness.config.ignored import without_effect

EXACT = "in virtual time without noise all passes take the same time"
FIXED = "measure.repeats=7 times exactly 7 passes"
NOISE = "device.noise.enabled=true"


@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        ("measure.width=0.01", [f"measure.width=0.01: no effect, because {EXACT}"]),
        (
            "measure.most_s=1 measure.most_repeats=9",
            [f"measure.most_repeats=9 measure.most_s=1: no effect, because {EXACT}"],
        ),
        ("measure.least_repeats=9", []),
        ("measure=rigorous", []),
        (f"{NOISE} measure.width=0.01", []),
        (
            f"{NOISE} measure.repeats=7 measure.width=0.01 measure.least_repeats=2",
            [f"measure.least_repeats=2 measure.width=0.01: no effect, because {FIXED}"],
        ),
        (f"{NOISE} measure.repeats=7", []),
        (
            f"{NOISE} measure.cache_check=true",
            ["measure.cache_check=true: no effect, because virtual time shows no cache"],
        ),
        ("measure.cache_check=false", []),
        ("device.clock=wall measure.cache_check=true", []),
        ("workload.tiles=3 strategy.batch=4", ["strategy.batch=4: at most 3 per submission, "]),
        ("workload=whisper_tiny workload.tiles=3 strategy.batch=4", []),
    ],
)
def test_what_has_no_effect(overrides: str, lines: list[str]) -> None:
    words = overrides.split()
    found = without_effect(load(*words), words)
    assert len(found) == len(lines)
    for line, begin in zip(found, lines, strict=True):
        assert line.startswith(begin)
