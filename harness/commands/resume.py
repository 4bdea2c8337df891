"""Finds the runs that a sweep need not repeat: earlier ones with the same key and verdict OK."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.commands.closing import places_of, some_of
from harness.config.schema import TrackingKind
from harness.errors import HarnessError
from harness.results.record import FILE_NAME, Record
from harness.results.shared_parts import SharedParts
from harness.results.whole_file import write_json

RESUMED_FILE = "resumed.json"
"""File of a sweep with runs that it did not repeat; `save_resumed` writes it."""
_KEY = re.compile(rb'"run_key": "([0-9a-f]{64})"')
Run = tuple[Record, Path]


@dataclass(frozen=True)
class Earlier:
    """ok: the newest run with verdict OK, by key. others: the newest other run, of other keys."""

    ok: Mapping[str, Run]
    others: Mapping[str, Run]

    @property
    def folders(self) -> list[Path]:
        """The folders of all these runs."""
        return [folder for runs in (self.ok, self.others) for _, folder in runs.values()]


def earlier_runs(wanted: Mapping[str, Mapping[str, Any]], records: Iterable[Path]) -> Earlier:
    """The runs of records with a wanted key.

    wanted: by key, the resolved group `tracking` of a request. A run counts if it is in the store
    of MLflow that the request names, or if the request names none. records: paths of records;
    those that cannot be read are left out, and so are those without a key.
    """
    ok, others, shared = dict[str, Run](), dict[str, Run](), SharedParts()
    for path in records:
        key = _key_of(path)
        if key not in wanted:
            continue
        try:
            record = Record.load(path.parent)
        except HarnessError:
            continue
        if not _same_store(wanted[key], record.config["tracking"]):
            continue
        runs = ok if record.ok else others
        if key not in runs or runs[key][0].created < record.created:
            runs[key] = shared(record), path.parent
    return Earlier(ok, {key: run for key, run in others.items() if key not in ok})


def paths_by_key(records: Iterable[Path]) -> dict[str, list[Path]]:
    """Paths of records by their key; those without a key or that cannot be read are left out."""
    paths = dict[str, list[Path]]()
    for path in records:
        if key := _key_of(path):
            paths.setdefault(key, []).append(path)
    return paths


def _key_of(path: Path) -> str:
    """The key of a record, without reading all of it as JSON; empty without one."""
    try:
        match = _KEY.search(path.read_bytes())
    except OSError:
        return ""
    return match[1].decode() if match else ""


def _same_store(wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    names = ("kind", "uri", "experiment")
    return wanted["kind"] == TrackingKind.off.value or all(
        wanted[name] == stored.get(name) for name in names
    )


def resumed_line(earlier: Earlier, jobs: int) -> str:
    """Which jobs of a sweep are skipped, and why; empty if all run for the first time."""
    parts = []
    if earlier.ok:
        shown = some_of(places_of([folder for _, folder in earlier.ok.values()]))
        parts.append(
            f"{len(earlier.ok)} of {jobs} jobs are skipped, because their results are stored in "
            f"{shown} (OK, same configuration, code and device)"
        )
    if earlier.others:
        counts = Counter(record.verdict.value for record, _ in earlier.others.values())
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        parts.append(f"{len(earlier.others)} are run again: {verdicts}")
    return "; ".join([*parts, "resume=off runs all"]) if parts else ""


@dataclass(frozen=True)
class Request:
    """What a sweep asked for in one job: key of the run, preset of the strategy, overrides."""

    key: str
    preset: str
    overrides: list[str]


def save_resumed(folder: Path, requests: Iterable[Request], runs: Iterable[Path]) -> None:
    """Store the requests of all jobs of a sweep, in order, and the folders of earlier runs.

    The folders are relative to that of the sweep. OSError if that fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [os.path.relpath(run, folder) for run in runs]
    content = {"jobs": [asdict(request) for request in requests], "runs": names}
    write_json(folder / RESUMED_FILE, content)


def resumed(folder: Path) -> tuple[list[Request], list[Path]]:
    """What `save_resumed` stored in the folder of a sweep; only runs that still exist."""
    try:
        stored = json.loads((folder / RESUMED_FILE).read_bytes())
    except (OSError, ValueError):
        return [], []
    runs = [Path(os.path.normpath(folder / name)) for name in stored["runs"]]
    requests = [Request(**each) for each in stored["jobs"]]
    return requests, [run for run in runs if (run / FILE_NAME).is_file()]


def as_requested(requests: Sequence[Request], runs: Iterable[Run]) -> list[Run]:
    """Runs in the order of the jobs, under the names and settings that the sweep asked for.

    Earlier runs of the same configuration may have been requested with other words. Runs of other
    keys are at the end, unchanged.
    """
    places = dict[str, list[int]]()
    for place, request in enumerate(requests):
        places.setdefault(request.key, []).append(place)
    rows, taken, seen = list[tuple[int, Run]](), set[int](), set[Path]()
    for record, folder in runs:
        equal = places.get(record.run_key)
        if not equal:
            rows.append((len(requests), (record, folder)))
            continue
        # Jobs of one sweep may be equal but for their words: each has a row, under its own words.
        # An earlier run that takes the place of several of them is here once for each.
        words = (record.preset, record.overrides)
        own = [each for each in equal if (requests[each].preset, requests[each].overrides) == words]
        free = [each for each in equal if each not in taken]
        place = [*(own if folder not in seen else []), *free, *equal][0]
        taken.add(place)
        seen.add(folder)
        request = requests[place]
        shown = replace(record, preset=request.preset, overrides=request.overrides)
        rows.append((place, (shown, folder)))
    return [run for _, run in sorted(rows, key=lambda row: row[0])]
