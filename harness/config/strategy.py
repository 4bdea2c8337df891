"""A strategy is a point in the space of executor knobs; the presets are YAML, never classes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from harness.errors import RequestError, check_range

MOST_DEPTH = 1024
DEPTH_REMEDY = "1 is serial, 2 double buffering, 3 triple buffering"


class Buffers(Enum):
    """When bos are allocated: anew for every submission, or once before the pass."""

    per_tile = "per_tile"
    pooled = "pooled"


@dataclass(frozen=True)
class Strategy:
    """Orthogonal knobs of the executor.

    depth: submissions launched and not yet collected, per column.
    batch: tiles per submission (one sync, one runlist, one wait, one sync back).
    prefetch: submissions staged ahead, not launched, per column.
    columns: NPU columns the submissions are dealt over, one hardware context each.
    resident: constants stay in the slots' bos and are sent once; only what varies is written and synced per tile.
    """

    buffers: Buffers = Buffers.pooled
    depth: int = 1
    batch: int = 1
    prefetch: int = 0
    columns: int = 1
    resident: bool = False

    def __post_init__(self) -> None:
        check_range("strategy.depth", self.depth, 1, MOST_DEPTH, DEPTH_REMEDY)
        check_range("strategy.batch", self.batch, 1, 4096, "1 submits every tile on its own")
        check_range("strategy.prefetch", self.prefetch, 0, 1024, "0 stages nothing ahead")
        check_range("strategy.columns", self.columns, 1)
        if self.resident and self.buffers is Buffers.per_tile:
            raise RequestError(
                "strategy.resident=true: bos allocated for every tile keep nothing; use strategy.buffers=pooled"
            )

    @property
    def in_flight(self) -> int:
        """Submissions in flight over all columns, at the most."""
        return self.depth * self.columns

    @property
    def slots(self) -> int:
        """Slots needed: each submission in flight or staged ahead has bos of its own."""
        return (self.depth + self.prefetch) * self.columns

    @property
    def label(self) -> str:
        """The effective knobs, as rows are named: `pooled d3 b1 c1`, with ` p2` where tiles are prefetched."""
        more = (f" p{self.prefetch}" if self.prefetch else "") + (
            " resident" if self.resident else ""
        )
        return f"{self.buffers.value} d{self.depth} b{self.batch} c{self.columns}{more}"

    @property
    def is_baseline(self) -> bool:
        """Whether this is the serial strategy that others are compared with."""
        return self == Strategy(buffers=Buffers.per_tile)
