"""Which runs of a folder are pairs, stored as `pairs.json` beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.errors import RequestError
from harness.results.record import Record
from harness.results.whole_file import write_json
from harness.study.comparison import Row

PAIRS_FILE = "pairs.json"
"""File of a folder of alternating runs; `PairPlan.save` writes it."""


@dataclass
class PairPlan:
    """Settings that run in turns. settings: their overrides, the reference first.

    rounds: for each round that began, by place of the setting, the name of the run's folder.

        plan = PairPlan(["depth=1", "depth=2"])
        plan.ended(0, 1, "outputs/compare/0")  # round 0, setting 1
    """

    settings: Sequence[str]
    rounds: list[dict[int, str]] = field(default_factory=list)

    def ended(self, number: int, setting: int, folder: str) -> None:
        """A run of a round has a record."""
        while len(self.rounds) <= number:
            self.rounds.append({})
        self.rounds[number][setting] = folder

    def save(self, folder: Path) -> None:
        """Write the file; OSError if that fails."""
        rounds = [{str(key): name for key, name in each.items()} for each in self.rounds]
        content = {"settings": list(self.settings), "rounds": rounds}
        write_json(folder / PAIRS_FILE, content, durable=False, readable=False)

    @classmethod
    def load(cls, folder: Path) -> PairPlan | None:
        """Read the file of a folder; None without one, RequestError for a damaged one."""
        path = folder / PAIRS_FILE
        try:
            content = json.loads(path.read_bytes())
            rounds = [
                {int(key): str(name) for key, name in each.items()} for each in content["rounds"]
            ]
            return cls([str(each) for each in content["settings"]], rounds)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RequestError(f"{path}: damaged ({error}); give the runs themselves") from error

    def rows(self, records: Mapping[str, Record]) -> list[Row]:
        """A row for each setting but the first; records: by name of the folder.

        A pair of which a run has no record is left out.
        """
        rows = []
        for place, name in enumerate(self.settings[1:], 1):
            pairs = [
                (records[each[0]], records[each[place]])
                for each in self.rounds
                if {0, place} <= set(each) and each[0] in records and each[place] in records
            ]
            old, new = (tuple(side) for side in zip(*pairs, strict=True)) if pairs else ((), ())
            rows.append(Row(name, old, new, self.settings[0]))
        return rows


def orders(settings: int, rounds: int, seed: int) -> list[list[int]]:
    """A random order of the settings for each round."""
    generator = np.random.default_rng(seed)
    return [generator.permutation(settings).tolist() for _ in range(rounds)]
