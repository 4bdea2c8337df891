"""Speed-ups of stored runs over the baseline of their own sweep."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.commands.resume import Run, resumed
from harness.errors import HarnessError
from harness.measure.stats import Ratio
from harness.results.find import sweep_of
from harness.results.record import Record
from harness.results.speedup import speedups


def sweep_speedups(runs: Sequence[Run]) -> list[Ratio | None]:
    """The speed-up of every run over the baseline of its sweep, as the sweep's table shows it.

    A single run has no baseline but itself. A sweep that resumed another has the runs that it did
    not repeat.
    """
    groups = dict[Path, list[int]]()
    for index, (_, folder) in enumerate(runs):
        groups.setdefault(sweep_of(folder) or folder, []).append(index)
    ratios: list[Ratio | None] = [None] * len(runs)
    for sweep, indices in groups.items():
        records = [runs[index][0] for index in indices] + _not_repeated(sweep)
        for index, ratio in zip(indices, speedups(records), strict=False):
            ratios[index] = ratio
    return ratios


def _not_repeated(sweep: Path) -> list[Record]:
    records = []
    for folder in resumed(sweep)[1]:
        with suppress(HarnessError):
            records.append(Record.load(folder))
    return records
