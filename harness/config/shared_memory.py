"""The memory that the columns of an NPU share with each other and with the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.config.setting import Schema, setting
from harness.units import BYTES_PER_MIB, PERMILLE

MOST_NS_PER_MIB = 1_000_000_000
MOST_PCT = 10_000


def _moving(meaning: str) -> Any:
    return setting(0, f"{meaning}; 0: no limit", least=0, most=MOST_NS_PER_MIB, unit="ns/MiB")


def _slower(meaning: str) -> Any:
    return setting(0, meaning, least=0, most=MOST_PCT, unit="%")


@dataclass(frozen=True)
class SharedMemory(Schema):
    """Bandwidth of the array, and how host and device slow each other down.

    The defaults have no effect. Costs are integers or arrays of them, as in `Simulator`.
    """

    group = "device.memory."

    channel_ns_per_mib: int = _moving(
        "shortest time for the data of an execution in a direction, over one shim channel, at "
        "calibrated_mhz"
    )
    array_ns_per_mib: int = _moving(
        "the same over the channels of all columns; columns with contexts share them equally"
    )
    exec_slower_pct: int = _slower(
        "how much longer an execution that moves data all the time takes while the host syncs"
    )
    sync_slower_pct: int = _slower(
        "how much longer a sync takes beside an execution that moves data all the time"
    )

    @property
    def is_neutral(self) -> bool:
        """Whether the memory affects no time."""
        return self == SharedMemory()

    def slowdowns(self, exec_ns: Any, data_ns: Any) -> tuple[Any, Any]:
        """How much longer an execution, and a sync beside it, take at once; in thousandths.

        exec_ns, data_ns: time of the execution, and the time that its data need at least. The
        slowdown is proportional to that share. Without a bandwidth, data move all the time.
        """
        # A comparison counts as 0 or 1, for integers and for arrays.
        is_limited = (self.channel_ns_per_mib > 0) | (self.array_ns_per_mib > 0)
        share = PERMILLE + (data_ns * PERMILLE // larger(exec_ns, 1) - PERMILLE) * is_limited
        return self.exec_slower_pct * share // 100, self.sync_slower_pct * share // 100


def larger(first: Any, second: Any) -> Any:
    """The larger of two integers, or of each element of arrays."""
    # A comparison counts as 0 or 1, for integers and for arrays.
    return first + (second - first) * (second > first)


def moving_ns(size_bytes: int, ns_per_mib: Any) -> Any:
    """Time to move `size_bytes`, rounded up."""
    return -(-size_bytes * ns_per_mib // BYTES_PER_MIB)
