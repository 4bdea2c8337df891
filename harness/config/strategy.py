"""The strategy group: the knobs of the executor. The presets are YAML files, not classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import ceil

from harness.config.setting import Schema, setting
from harness.config.sources import key_and_value
from harness.errors import RequestError

MOST_DEPTH = 1024
DEPTH_REMEDY = "1 is serial, 2 double buffering, 3 triple buffering"


class Buffers(Enum):
    """When bos are allocated: for every submission, or once before the pass."""

    per_tile = "per_tile"
    pooled = "pooled"


@dataclass(frozen=True)
class Strategy(Schema):
    """The knobs of the executor, which are independent of each other.

    RequestError for `resident` with `buffers=per_tile`.
    """

    group = "strategy."

    buffers: Buffers = setting(
        Buffers.pooled, "when bos are allocated: for every submission, or once before the pass"
    )
    # More than the 4 commands that a context's queue holds (xdna-driver, aie2_pci.h) is allowed:
    # start() then blocks, and a sweep shows that nothing is gained.
    depth: int = setting(
        1,
        "submissions launched and not yet collected, per column",
        least=1,
        most=MOST_DEPTH,
        remedy=DEPTH_REMEDY,
    )
    batch: int = setting(
        1,
        "tiles per submission: one sync, one runlist, one wait, one sync back",
        least=1,
        most=4096,
        remedy="1 submits every tile on its own",
    )
    prefetch: int = setting(
        0,
        "submissions staged ahead and not launched, per column",
        least=0,
        most=1024,
        remedy="0 stages nothing ahead",
    )
    columns: int = setting(
        1, "NPU columns that share the submissions, each with its own hardware context", least=1
    )
    resident: bool = setting(
        False,
        "constants stay in the bos of a slot and are sent once; a tile then writes and syncs only "
        "the rest",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resident and self.buffers is Buffers.per_tile:
            raise RequestError(
                "strategy.resident=true: bos allocated for every tile keep nothing; "
                "use strategy.buffers=pooled"
            )

    @property
    def in_flight(self) -> int:
        """Most submissions in flight at a time, over all columns."""
        return self.depth * self.columns

    @property
    def slots(self) -> int:
        """Number of slots: each submission in flight or staged ahead has its own bos."""
        return (self.depth + self.prefetch) * self.columns

    @property
    def label(self) -> str:
        """Name of a row, from the knobs: `pooled d3 b1 c1`, with `p2` and `resident` if set."""
        label = f"{self.buffers.value} d{self.depth} b{self.batch} c{self.columns}"
        if self.prefetch:
            label += f" p{self.prefetch}"
        return f"{label} resident" if self.resident else label

    @property
    def is_baseline(self) -> bool:
        """Whether this is the serial strategy with which others are compared."""
        return self == Strategy(buffers=Buffers.per_tile)


def beyond_tiles(strategy: Strategy, tiles: int, overrides: Sequence[str]) -> list[str]:
    """Warnings for a batch, depth or prefetch beyond the tiles of a pass, if an override sets it.

    Values of presets give none, because a preset serves workloads of any size.
    """
    most = ceil(ceil(tiles / strategy.batch) / strategy.columns)
    no_more = "per column, because a pass has no more submissions"
    of_batch = "per submission, because a pass has no more tiles"
    limits = {
        "strategy.batch": (strategy.batch, tiles, of_batch),
        "strategy.depth": (strategy.depth, most, f"in flight {no_more}"),
        "strategy.prefetch": (strategy.prefetch, most, f"staged ahead {no_more}"),
        "depth": (strategy.depth, most, f"in flight {no_more}"),
    }
    typed = dict(map(key_and_value, overrides))
    return [
        f"{key}={value}: at most {limit} {what}"
        for key, (value, limit, what) in limits.items()
        if value > limit and typed.get(key) == str(value)
    ]
