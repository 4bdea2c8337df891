"""The noise floor of a host and device: the largest difference that equal runs show.

Stored as JSON in a folder, a file for each host and device; `harness noise-floor` measures it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.results.record import Record
from harness.results.whole_file import write_json
from harness.study.comparison import is_exact, kind_of
from harness.study.differences import NOISE_SEED, flat

MOST_DAYS = 30
"""Age above which a noise floor is doubtful."""
MEASURE = "harness noise-floor measures it"


@dataclass(frozen=True)
class NoiseFloor:
    """share: the largest relative difference. created: of its newest run, UTC in ISO 8601.

    conditions: what must be equal for another run, with the host and the device. workload: label
    and kernel of its runs.
    """

    share: float
    pairs: int
    created: str
    conditions: dict[str, Any]
    workload: str

    def save(self, folder: Path) -> Path:
        """Write the file, completely or not at all; OSError if that fails."""
        folder.mkdir(parents=True, exist_ok=True)
        words = f"{self.conditions['host']} {self.conditions['device']}"
        return write_json(folder / f"{re.sub('[^A-Za-z0-9]+', '-', words)}.json", asdict(self))

    @classmethod
    def load(cls, path: Path) -> NoiseFloor:
        """Read a file; ValueError if it is not one."""
        try:
            content = cls(**json.loads(path.read_bytes()))
            if not (content.share >= 0 and isinstance(content.conditions, dict)):
                raise TypeError
            if datetime.fromisoformat(content.created).tzinfo is None:
                raise TypeError
        except OSError as error:
            raise ValueError(str(error.strerror)) from error
        except (TypeError, AttributeError) as error:
            raise ValueError("not a noise floor") from error
        return content


@dataclass(frozen=True)
class Found:
    """The floor for some runs: 0 without one. line: what to report. doubt: a warning, or empty."""

    share: float = 0.0
    line: str = ""
    doubt: str = ""


def conditions(record: Record) -> dict[str, Any]:
    """What decides the noise of a run: host, device, its noise settings, and their software."""
    here, config = record.environment, flat(record.config)
    result: dict[str, Any] = {"host": here.host, "device": kind_of(record)}
    prefix = NOISE_SEED.rpartition(".")[0]
    result |= {
        key: value
        for key, value in config.items()
        if key.startswith(f"{prefix}.") and key != NOISE_SEED
    }
    if config.get("device.clock") != "virtual":
        result |= {"kernel": here.kernel, "machine": here.machine, "cpu_count": here.cpu_count}
        result |= {"python": here.python}
    if record.machine:
        before = record.machine.before
        result |= {"driver": before.driver, "firmware": before.firmware}
    return result


def floor_for(records: Sequence[Record], folder: Path) -> Found:
    """The stored noise floor that holds for all these runs."""
    if not records or all(map(is_exact, records)):
        return Found()
    wanted, refused = [conditions(each) for each in records], list[str]()
    newest: tuple[NoiseFloor, Path] | None = None
    for path in sorted(folder.glob("*.json")):
        try:
            floor = NoiseFloor.load(path)
        except ValueError as error:
            refused.append(f"{path}: damaged ({error})")
            continue
        if differ := [each for each in wanted if each != floor.conditions]:
            refused.append(f"{path}: of {_difference(floor.conditions, differ[0])}")
        elif newest is None or floor.created > newest[0].created:
            newest = floor, path
    if newest is None:
        reason = f" ({'; '.join(refused)})" if refused else ""
        return Found(line=f"noise floor: none of this host and device{reason}; {MEASURE}")
    floor, path = newest
    line = (
        f"noise floor: {100 * floor.share:.3g} % by {floor.pairs} pairs of equal runs "
        f"({floor.workload}, {floor.created[:10]})"
    )
    days = _days(floor, records)
    doubt = f"{path}: {days} days older than the runs; {MEASURE}" if days > MOST_DAYS else ""
    return Found(floor.share, line, doubt)


def _difference(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    keys = dict.fromkeys([*stored, *wanted])
    key = next(key for key in keys if stored.get(key) != wanted.get(key))
    return f"{key} {stored.get(key)}, not {wanted.get(key)}"


def _days(floor: NoiseFloor, records: Sequence[Record]) -> int:
    newest = max(datetime.fromisoformat(each.created) for each in records)
    return (newest - datetime.fromisoformat(floor.created)).days
