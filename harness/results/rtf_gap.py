"""How far a run is from the realtime factor that is wanted, and what speed-up of which part would reach it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.measure.metrics import Audio, EncoderTime, encoder_time
from harness.measure.totals import Totals
from harness.results.record import Record
from harness.units import ms_to_ns

TARGET_RTF = 220
"""The guide's: the whole of 11 s of audio in 50 ms."""
PARTS = {
    "preprocessing_s": "preprocessing",
    "host_s": "host work of the encoder",
    "device_s": "waiting for the device",
}
LATE = 1.25
"""A pass that takes more than this times its bound is held up by neither host nor device, but by waiting in turns."""
STAGES = ("alloc", "write", "launch", "read")


@dataclass(frozen=True)
class RtfGap:
    """A run's times for `audio_s` seconds of audio, and what it adds up to."""

    audio_s: float
    time: EncoderTime
    totals: Totals
    busiest: str

    @property
    def budget_s(self) -> float:
        """What the audio may take."""
        return self.audio_s / TARGET_RTF

    @property
    def further(self) -> float:
        """Speed-up of everything that is still needed; 1 or less where none is."""
        return self.time.whole_s / self.budget_s

    def alone(self, part: str) -> float | None:
        """How many times faster one of PARTS would have to be, were it the only one; None where that is not enough."""
        now_s: float = getattr(self.time, part)
        then_s = now_s - (self.time.whole_s - self.budget_s)
        changed: dict[str, Any] = {part: then_s}
        if then_s <= 0 or replace(self.time, **changed).whole_s > self.budget_s * (1 + 1e-9):
            return None
        return now_s / then_s

    @property
    def bottleneck(self) -> str:
        """What binds: preprocessing, if it takes longer than the encoder; else what the encoder's bound is made of."""
        totals = self.totals
        if self.time.preprocessing_s > (
            self.time.device_s if self.time.overlaps else self.time.encoder_s
        ):
            return "preprocessing"
        if (
            totals.bound_ns is None
            or totals.host_bound_ns is None
            or totals.device_bound_ns is None
        ):
            host_bound, late = totals.host_ns > totals.wait_ns, False
        else:
            host_bound = totals.host_bound_ns > totals.device_bound_ns
            late = totals.makespan_ns - totals.open_ns > LATE * totals.bound_ns
        if late and totals.bound_ns:
            return (
                f"in turns ({(totals.makespan_ns - totals.open_ns) / totals.bound_ns:.2f} x bound)"
            )
        if host_bound:
            return f"host: {max(STAGES, key=lambda stage: getattr(totals, f'{stage}_ns'))}"
        return f"device: {self.busiest}"

    def remedies(self) -> str:
        """One line: the target, what each part takes, and which of them would reach it alone."""
        if self.further <= 1:
            return f"{TARGET_RTF}x is reached"
        parts = [f"{name} {_ms(getattr(self.time, part))}" for part, name in PARTS.items()]
        alone = {name: self.alone(part) for part, name in PARTS.items()}
        reached = [
            f"{name} alone {times(factor)} as fast" for name, factor in alone.items() if factor
        ]
        said = " or ".join(reached) or "no part of it alone, whatever its speed"
        return (
            f"{TARGET_RTF}x is {_ms(self.budget_s)}; now {', '.join(parts)}; would reach it: {said}; or all of it "
            f"{times(self.further)} as fast"
        )


def rtf_gap(record: Record) -> RtfGap | None:
    """Of a record; None where it counts no encoder or nothing was timed, or it is older than what it takes."""
    counted = record.accounting
    if not record.totals or not record.totals["tiles"] or counted["encoder_tiles"] is None:
        return None
    totals = Totals(**record.totals)
    audio = Audio(
        counted["audio_s"],
        ms_to_ns(counted["host_ms"]),
        counted["encoder_tiles"],
        counted.get("overlap_host", False),
    )
    return RtfGap(audio.seconds, encoder_time(totals, audio), totals, _busiest(record))


def _busiest(record: Record) -> str:
    """The kernel whose calls the device executes for longest; of a chain, whose spans are not in the record, itself."""
    if not record.steps:
        return record.kernel
    times_ns = sums_by_kernel(record.steps, lambda totals: totals["exec_ns"] or totals["wait_ns"])
    return max(times_ns, key=lambda kernel: times_ns[kernel])


def sums_by_kernel(
    steps: Sequence[dict[str, Any]], taken: Callable[[dict[str, Any]], int]
) -> dict[str, int]:
    """What is taken of the totals of a record's steps, added up for each kernel."""
    sums: dict[str, int] = {}
    for step in steps:
        kernel = step["operation"]["kernel"]
        sums[kernel] = sums.get(kernel, 0) + taken(step["totals"])
    return sums


def _ms(time_s: float) -> str:
    return f"{1000 * time_s:,.1f} ms"


def times(factor: float) -> str:
    """A factor in three digits."""
    return f"{factor:,.3g}x" if factor < 1000 else f"{factor:,.0f}x"
