"""How far a run is from the target RTF, and how much faster each part must be to reach it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.config.workload import BLOCK, FUSED_BLOCK
from harness.execution.tile_passes import Step
from harness.measure.bottleneck import bottleneck
from harness.measure.rtf import EncoderTime, encoder_time
from harness.measure.totals import Totals
from harness.results.memory_bound import MEMORY, memory_limits
from harness.results.record import Record

TARGET_RTF = 220
"""The guide's target: 11 s of audio in 50 ms."""
PARTS = {
    "preprocessing_s": "preprocessing",
    "host_s": "host work of the encoder",
    "device_s": "waiting for the device",
}


@dataclass(frozen=True)
class RtfGap:
    """The distance of a run from the target RTF.

    audio_s: length of the audio. time: what its parts take. totals: of the timed pass. busiest:
    the kernel that executes longest.
    """

    audio_s: float
    time: EncoderTime
    totals: Totals
    busiest: str

    @property
    def budget_s(self) -> float:
        """Time that the target allows for the audio."""
        return self.audio_s / TARGET_RTF

    @property
    def speedup_needed(self) -> float:
        """Speed-up of the whole that the target still needs; 1 or less if it is reached."""
        return self.time.whole_s / self.budget_s

    def alone(self, part: str) -> float | None:
        """Speed-up of one of PARTS that is enough to reach the target; None if none is enough."""
        now_s: float = getattr(self.time, part)
        then_s = now_s - (self.time.whole_s - self.budget_s)
        changed: dict[str, Any] = {part: then_s}
        # Where parts overlap, a shorter part does not always shorten the whole by as much.
        # 1e-9 allows for the rounding of the sums.
        if then_s <= 0 or replace(self.time, **changed).whole_s > self.budget_s * (1 + 1e-9):
            return None
        return now_s / then_s

    @property
    def bottleneck(self) -> str:
        """What limits the run: `preprocessing` if it takes longer than the encoder, else a bound.

        A stream's preprocessing overlaps with the device, so it is compared with the device only.
        """
        encoder_s = self.time.device_s if self.time.overlaps else self.time.encoder_s
        if self.time.preprocessing_s > encoder_s:
            return "preprocessing"
        return bottleneck(self.totals, self.busiest) or f"device: {self.busiest}"

    def remedies(self) -> list[str]:
        """Lines: the target's time, the time of each part, and the speed-ups that are enough."""
        if self.speedup_needed <= 1:
            return [f"{TARGET_RTF}x is reached"]
        parts = [f"{name} {_ms(getattr(self.time, part))}" for part, name in PARTS.items()]
        alone = {name: self.alone(part) for part, name in PARTS.items()}
        enough = [
            f"{name} alone {times(factor)} as fast" for name, factor in alone.items() if factor
        ]
        enough.append(f"everything {times(self.speedup_needed)} as fast")
        only = "" if len(enough) > 1 else " (no part alone is enough)"
        return [
            f"takes {_ms(self.time.whole_s)}; {TARGET_RTF}x allows {_ms(self.budget_s)}",
            f"parts: {', '.join(parts)}",
            f"to reach {TARGET_RTF}x: {' or '.join(enough)}{only}",
        ]


def rtf_gap(record: Record) -> RtfGap | None:
    """The gap of a record; None if its kernel is not part of an encoder, or nothing was timed."""
    audio, totals = record.accounting.audio, record.totals
    time = encoder_time(totals, audio) if totals else None
    if not totals or not time:
        return None
    return RtfGap(audio.seconds, time, totals, _busiest(record))


def bound_by(record: Record) -> str | None:
    """What limits the timed pass of a record, as in `harness.measure.bottleneck`.

    Unlike `RtfGap.bottleneck` it leaves out preprocessing, which is not part of a pass, so it also
    serves runs that encode no audio. A chain is `device: 4 kernels`, because no kernel has totals
    of its own. `device: memory` where the memory makes executions longer. None where nothing was
    timed.
    """
    number = 1 if record.steps else _chain_length(record.config.get("workload", {}))
    busiest = MEMORY if memory_limits(record) else _busiest(record)
    return bottleneck(record.totals, f"{number} kernels" if number > 1 else busiest)


def _chain_length(workload: dict[str, Any]) -> int:
    """Number of kernels that a tile passes through, from the stored keys of the workload."""
    if workload.get("model"):
        return len(FUSED_BLOCK if workload.get("fused") else BLOCK)
    return len(workload.get("chain") or [workload.get("kernel")])


def _busiest(record: Record) -> str:
    """The kernel that executes longest on the device; for a chain, which has no steps, its name."""
    if not record.steps:
        return record.kernel
    # Without device timestamps, waiting is the closest that the host can see.
    times_ns = sums_by_kernel(record.steps, lambda totals: totals.exec_ns or totals.wait_ns)
    return max(times_ns, key=lambda kernel: times_ns[kernel])


def sums_by_kernel(steps: Sequence[Step], of: Callable[[Totals], int]) -> dict[str, int]:
    """Sums over the steps of each kernel, by its name; operations of the host are left out."""
    sums: dict[str, int] = {}
    for step in steps:
        if kernel := step.operation.kernel:
            sums[kernel] = sums.get(kernel, 0) + of(step.totals)
    return sums


def _ms(time_s: float) -> str:
    return f"{1000 * time_s:,.1f} ms"


def times(factor: float) -> str:
    """A factor as text with three digits."""
    return f"{factor:,.3g}x" if factor < 1000 else f"{factor:,.0f}x"
