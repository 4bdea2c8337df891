"""What a run works on: one kernel over tiles cut from speech or drawn at random, and its accounting."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import ceil

from harness.chain import Link
from harness.errors import RequestError, check_range
from harness.tiles import Tiles
from harness.units import ms_to_ns

GUIDE_HOST_MS = 304.7
GUIDE_AUDIO_S = 11.0
"""Mel preprocessing takes 304.7 ms for 11 s of audio on the guide's machine (its fuller report)."""
GUIDE_TILES_PER_WINDOW = 6 * 1500 / 64
"""Guide accounting of a Whisper base encoder: 6 blocks over 1500 frames, 64 frames a tile, per 30 s window."""
GUIDE_KERNEL = "attention"
"""What a tile of the guide's accounting is, or a chain of it begins with: it has figures of attention and of blocks."""
WINDOW_S = 30


class Accounting(Enum):
    """How encoder time follows from tile time."""

    guide = "guide"


@dataclass(frozen=True)
class Workload:
    """The request: which kernel, or chain of kernels, how many tiles, cut from what, accounted how.

    links: how a kernel of the chain takes the output before it (`harness.chain.Link`), where not exactly. source:
    `speech` (the packaged clip), `random`, or the path of an audio file. host_ms: preprocessing time for the RTF:
    `guide` (its figure, by the length of the audio), `measured` (what it took here), or milliseconds.
    """

    kernel: str = ""
    chain: list[str] = field(default_factory=list)
    links: dict[str, Link] = field(default_factory=dict)
    tiles: int = 10
    source: str = "speech"
    accounting: Accounting = Accounting.guide
    host_ms: str = "guide"

    def __post_init__(self) -> None:
        if bool(self.kernel) == bool(self.chain):
            raise RequestError(
                f"workload.kernel={self.kernel} workload.chain={self.chain}: give one of them, a kernel or a list"
            )
        check_range("workload.tiles", self.tiles, 0, 10_000_000, "0 runs nothing")
        if self.host_ms == "measured" and self.source == "random":
            raise RequestError(
                "workload.host_ms=measured: random tiles have no preprocessing to measure; "
                "give guide, milliseconds, or another workload.source"
            )
        if self.host_ms not in ("guide", "measured"):
            try:
                check_range("workload.host_ms", float(self.host_ms), 0, 3_600_000)
            except ValueError:
                raise RequestError(
                    f"workload.host_ms={self.host_ms}: not allowed; give guide, measured, or milliseconds "
                    f"(the guide's are {GUIDE_HOST_MS} for {GUIDE_AUDIO_S:g} s)"
                ) from None

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that a tile passes through, in order."""
        return tuple(self.chain) or (self.kernel,)


def host_ns(workload: Workload, tiles: Tiles) -> int:
    """Preprocessing that the RTF counts."""
    if workload.host_ms == "measured":
        return tiles.host_ns
    if workload.host_ms == "guide":
        return ms_to_ns(GUIDE_HOST_MS * tiles.audio_s / GUIDE_AUDIO_S)
    return ms_to_ns(float(workload.host_ms))


def encoder_tiles(accounting: Accounting, kernel: str, audio_s: float) -> float | None:
    """Tiles that encode `audio_s` seconds: whole windows of 30 s, as Whisper pads them.

    None for a kernel whose tiles the accounting does not count.
    """
    assert accounting is Accounting.guide  # the only one
    if kernel != GUIDE_KERNEL and not ("+" in kernel and kernel.startswith(GUIDE_KERNEL)):
        return None
    return GUIDE_TILES_PER_WINDOW * max(1, ceil(audio_s / WINDOW_S))
