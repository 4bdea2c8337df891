"""A strategy is a point in the space of executor knobs; the presets are YAML, never classes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from harness.config.setting import Schema, setting
from harness.errors import RequestError

MOST_DEPTH = 1024
DEPTH_REMEDY = "1 is serial, 2 double buffering, 3 triple buffering"


class Buffers(Enum):
    """When bos are allocated: anew for every submission, or once before the pass."""

    per_tile = "per_tile"
    pooled = "pooled"


@dataclass(frozen=True)
class Strategy(Schema):
    """Orthogonal knobs of the executor."""

    group = "strategy."

    buffers: Buffers = setting(
        Buffers.pooled, "when bos are allocated: for every submission, or once before the pass"
    )
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
        1, "NPU columns that submissions are dealt over, a hardware context each", least=1
    )
    resident: bool = setting(
        False,
        "constants stay in the slots' bos and are sent once; a tile writes and syncs the rest only",
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
        """Submissions in flight over all columns, at the most."""
        return self.depth * self.columns

    @property
    def slots(self) -> int:
        """Slots needed: each submission in flight or staged ahead has bos of its own."""
        return (self.depth + self.prefetch) * self.columns

    @property
    def label(self) -> str:
        """The effective knobs, which name a row: `pooled d3 b1 c1`; `p2`, `resident` if set."""
        more = (f" p{self.prefetch}" if self.prefetch else "") + (
            " resident" if self.resident else ""
        )
        return f"{self.buffers.value} d{self.depth} b{self.batch} c{self.columns}{more}"

    @property
    def is_baseline(self) -> bool:
        """Whether this is the serial strategy that others are compared with."""
        return self == Strategy(buffers=Buffers.per_tile)
