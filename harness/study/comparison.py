"""Compares runs by their records: which belong together, whether they may be, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from harness.device.backend import VIRTUAL
from harness.device.host.state import changes
from harness.errors import RequestError
from harness.measure.comparison import Comparison, Limits, compare, invalid
from harness.results.record import Record
from harness.study.differences import (
    NOISE_SEED,
    Differences,
    differences,
    flat,
    settings,
    varying,
)

ALLOWED_CHANGES = ("firmware", "driver")
"""Changes of the machine between two runs whose effect may be the question."""
TILE_MS, TOTAL_MS = "time/tile_ms", "time/total_ms"


@dataclass(frozen=True)
class Row:
    """Two settings to compare, and their runs: those with the same index are a pair.

    name: what tells the candidate from the other rows. reference_name: that of the reference.
    """

    name: str
    reference: tuple[Record, ...]
    candidate: tuple[Record, ...]
    reference_name: str = ""

    @property
    def records(self) -> tuple[Record, ...]:
        """All runs of the row."""
        return (*self.reference, *self.candidate)


@dataclass(frozen=True)
class Result:
    """A row with its comparison. reference_ms, candidate_ms: median times, None without one.

    unit: the metric of the two times.
    """

    row: Row
    comparison: Comparison
    differences: Differences
    unit: str
    reference_ms: float | None
    candidate_ms: float | None


def is_exact(record: Record) -> bool:
    """Whether the times of a run do not vary: virtual time without noise."""
    is_virtual = record.config["device"].get("clock") == VIRTUAL
    return is_virtual and not flat(record.config).get("device.noise.enabled")


def kind_of(record: Record) -> str:
    """What measured the time of a run; times of different kinds have no ratio."""
    return kind_name(record.device, record.config["device"].get("clock"))


def kind_name(device: str, clock: str | None) -> str:
    """The name of a kind of device, with its clock if it has one."""
    return device + (f" in {clock} time" if clock else "")


def refuse_mixture(records: Sequence[Record]) -> None:
    """RequestError for runs of different kinds of device or clock."""
    refuse_kinds(map(kind_of, records))


def refuse_kinds(names: Iterable[str]) -> None:
    """RequestError for several kinds of device, as `kind_name` names them."""
    kinds = list(dict.fromkeys(names))
    if len(kinds) > 1:
        raise RequestError(
            f"{kinds[0]} and {kinds[1]}: their times have no common ratio; compare runs of one "
            "kind of device"
        )


def judge(row: Row, limits: Limits) -> Result:
    """Compare the two sides of a row."""
    unit = TILE_MS if all(each.metrics.get(TILE_MS) for each in row.records) else TOTAL_MS
    times = [[each.metrics.get(unit) for each in side] for side in (row.reference, row.candidate)]
    old, new = ([float(each) for each in side if each] for side in times)
    pairs = len(row.reference)
    reason = broken_rule(row) or ("" if len(old) == len(new) == pairs else "a run has no time")
    if not pairs:
        comparison = invalid(0, "no pair of runs has ended")
    elif reason:
        comparison = invalid(pairs, reason)
    else:
        comparison = compare(old, new, limits, exact=all(map(is_exact, row.records)))
    differ = differences(row.reference, row.candidate)
    return Result(row, comparison, differ, unit, _median(old), _median(new))


def broken_rule(row: Row) -> str:
    """The first rule that the runs of a row break; empty if they may be compared."""
    wrong = [each for each in row.records if not each.ok]
    if wrong:
        counts = Counter(each.verdict.value for each in wrong)
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        reason = f" ({wrong[0].reason})" if wrong[0].reason else ""
        return f"not all runs are OK: {verdicts}{reason}"
    for old, new in zip(row.reference, row.candidate, strict=True):
        if changed := _machine_changes(old, new):
            return f"the machine changed between the runs of a pair: {', '.join(changed)}"
    return _repeated_noise(row)


def _machine_changes(old: Record, new: Record) -> list[str]:
    if old.machine is None or new.machine is None:
        return []
    # A mode that the request asks for is not a change under the run.
    modes = [each.config["device"].get("power_mode") for each in (old, new)]
    if modes[0] != modes[1]:
        return []
    lines = changes(old.machine.before, new.machine.before)
    return [line for line in lines if not line.startswith(ALLOWED_CHANGES)]


def _repeated_noise(row: Row) -> str:
    """A reason if runs of one side, in virtual time, repeat the same noise: they are one sample."""
    for side in (row.reference, row.candidate):
        keys = [flat(each.config) for each in side if each.config["device"].get("clock") == VIRTUAL]
        seeds = Counter(each[NOISE_SEED] for each in keys if each.get("device.noise.enabled"))
        repeated = [seed for seed, count in seeds.items() if count > 1]
        if repeated:
            return f"several runs have {NOISE_SEED}={repeated[0]}: they repeat one sample"
    return ""


def matched(first: Sequence[Record], second: Sequence[Record]) -> list[Row]:
    """The rows of two sets of runs: a setting of the first against that of the second.

    Settings belong together if they agree in every key that varies inside one of the sets. Runs of
    a setting are paired in the order of their creation. RequestError if no setting has a partner.
    """
    keys = sorted(varying(first) | varying(second))
    old, new = _by_values(first, keys), _by_values(second, keys)
    rows = [_row(values, old[values], new[values]) for values in old if values in new]
    if not rows:
        differ = ", ".join(keys)
        raise RequestError(
            f"no run of the one has the setting of a run of the other (they vary {differ}); give "
            "one setting on each side, or two sweeps over the same values"
        )
    return rows


def within(records: Sequence[Record]) -> list[Row]:
    """The rows of one sweep: its first setting against each of the others.

    RequestError for a sweep of one setting.
    """
    keys = sorted(varying(records))
    groups = _by_values(records, keys)
    if len(groups) < 2:
        count = len(records)
        runs = f"all {count} runs have one setting (seeds do not count)" if count > 1 else "one run"
        raise RequestError(
            f"{runs}: there is nothing to compare; give two runs or sweeps, or a sweep over "
            "several values"
        )
    (first, reference), *others = groups.items()
    return [_row(values, reference, group, first) for values, group in others]


def left_out(rows: Sequence[Row], records: Sequence[Record]) -> list[str]:
    """Lines about the runs that are in no row: how many, and why; none if all are in one."""
    used = {id(record) for row in rows for record in row.records}
    repeats = alone = 0
    for group in _by_values(records, sorted(varying(records))).values():
        absent = sum(id(record) not in used for record in group)
        if absent < len(group):
            repeats += absent
        else:
            alone += absent
    lines = list[str]()
    if repeats:
        lines.append(
            f"{repeats} of {len(records)} runs are left out: another run has the same setting "
            "(the name of a strategy is not part of it), and the other side has fewer runs"
        )
    if alone:
        lines.append(f"{alone} of {len(records)} runs have no partner, and are left out")
    return lines


def interleaved(row: Row) -> bool:
    """Whether each pair ended before the next one, so that both sides share a slow drift."""
    pairs = [
        sorted((old.created, new.created))
        for old, new in zip(row.reference, row.candidate, strict=True)
    ]
    return all(before[1] <= after[0] for before, after in pairwise(pairs))


def _by_values(
    records: Sequence[Record], keys: Sequence[str]
) -> Mapping[tuple[tuple[str, str], ...], list[Record]]:
    groups = dict[tuple[tuple[str, str], ...], list[Record]]()
    for record in records:
        values = settings(record.config)
        place = tuple((key, str(values.get(key))) for key in keys)
        groups.setdefault(place, []).append(record)
    return groups


def _row(
    values: tuple[tuple[str, str], ...],
    reference: Sequence[Record],
    candidate: Sequence[Record],
    reference_values: tuple[tuple[str, str], ...] | None = None,
) -> Row:
    pairs = min(len(reference), len(candidate))
    old, new = (
        tuple(sorted(side, key=lambda each: each.created)[:pairs])
        for side in (reference, candidate)
    )
    name = "" if reference_values is None else _name(reference_values, old)
    return Row(_name(values, new), old, new, name)


def _name(values: tuple[tuple[str, str], ...], records: Sequence[Record]) -> str:
    """The preset, and the keys that vary beyond the effective knobs, which have a column."""
    others = [f"{key}={value}" for key, value in values if not key.startswith("strategy.")]
    return " ".join([records[0].preset, *others])


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
