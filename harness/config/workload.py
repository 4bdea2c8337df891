"""What a run works on: a kernel, a chain or an encoder over tiles cut from speech or drawn at random, accounted how."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import ceil

from harness.errors import RequestError, as_given, check_range
from harness.inputs.chain import Link
from harness.inputs.tiles import Tiles
from harness.models.whisper import encoder_of
from harness.units import ms_to_ns

GUIDE_HOST_MS = 304.7
GUIDE_AUDIO_S = 11.0
"""Mel preprocessing takes 304.7 ms for 11 s of audio on the guide's machine (its fuller report)."""
GUIDE_TILES_PER_WINDOW = 6 * 1500 / 64
"""Guide accounting of a Whisper base encoder: 6 blocks over 1500 frames, 64 frames a tile, per 30 s window."""
GUIDE_KERNEL = "attention"
"""What a tile of the guide's accounting is, or a chain of it begins with: it has figures of attention and of blocks."""
GUIDE_ENCODER = "whisper_base"
"""The one that the guide counts tiles of."""
BLOCK = ("attention", "layernorm", "matmul", "gelu")
BLOCK_LINKS = {"layernorm": Link.first, "gelu": Link.pad}
FUSED_BLOCK = ("attention_layernorm", "matmul_gelu")
"""The guide's encoder block: the first 4 rows of attention's output to layernorm, that as 16x16 to a product with
weights, that padded to 512 to GELU; and the same outputs of two kernels."""
KERNELS_OF_ROWS = ("layernorm", "gelu")
"""Of every encoder's operations, beside products and attention, of which there are several."""
WINDOW_S = 30


class Accounting(Enum):
    """How encoder time follows from tile time."""

    guide = "guide"
    full = "full"


@dataclass(frozen=True)
class Workload:
    """The request: which kernel, chain of kernels or encoder, how many tiles, cut from what, accounted how.

    links: how a kernel of the chain takes the output before it (`harness.inputs.chain.Link`), where not exactly. model: an
    encoder of `harness.models.operations`; by guide accounting its tiles pass through the guide's block, by full accounting every
    operation of a window runs, in up to `tiles` calls each, which stand for the others. fused: two kernels of the
    block's four. matmul, attention: kernels that its operations are cut into. layer: run that layer alone, every call,
    its data passed on. weights: of that layer, `random` or an .npz file. source: `speech` (the packaged clip),
    `random`, or the path of an audio file. host_ms: preprocessing time for the RTF: `guide` (its figure, by the length
    of the audio), `measured` (what it took here), or milliseconds. overlap_host: the RTF of a stream, whose next
    window is preprocessed while the encoder of this one is waited for.
    """

    kernel: str = ""
    chain: list[str] = field(default_factory=list)
    links: dict[str, Link] = field(default_factory=dict)
    model: str = ""
    fused: bool = False
    matmul: str = "matmul"
    attention: str = "attention"
    layer: int | None = None
    weights: str = "random"
    tiles: int = 10
    source: str = "speech"
    accounting: Accounting = Accounting.guide
    host_ms: str = "guide"
    overlap_host: bool = False

    def __post_init__(self) -> None:
        given = [key for key in ("kernel", "chain", "model") if getattr(self, key)]
        if len(given) != 1:
            raise RequestError(
                f"workload.kernel={self.kernel} workload.chain={self.chain} workload.model={self.model}: give one of "
                "them, a kernel, a list of kernels or an encoder"
            )
        check_range("workload.tiles", self.tiles, 0, 10_000_000, "0 runs nothing")
        self._check_model()
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

    def _check_model(self) -> None:
        """RequestError where the keys of an encoder do not go with each other or with what else is asked for."""
        if not self.model:
            for key in ("fused", "layer", "weights", "matmul", "attention"):
                given, default = getattr(self, key), Workload.__dataclass_fields__[key].default
                if given != default:
                    raise RequestError(
                        f"workload.{key}={as_given(given)}: is of an encoder; use workload=whisper_base, or leave it "
                        f"at {as_given(default)}"
                    )
            if self.accounting is Accounting.full:
                raise RequestError(
                    "workload.accounting=full: counts the operations of an encoder; use workload=whisper_tiny, "
                    "whisper_base or whisper_small"
                )
            return
        encoder = encoder_of(self.model, "workload.model")
        if self.accounting is Accounting.guide:
            for key in ("matmul", "attention"):
                if (given := getattr(self, key)) != key:
                    raise RequestError(
                        f"workload.{key}={given}: is of full accounting; the guide's block has kernels of its own; use "
                        "workload.accounting=full"
                    )
            if encoder.name != GUIDE_ENCODER:
                raise RequestError(
                    f"workload.accounting=guide: the guide counts tiles of {GUIDE_ENCODER}, not of {self.model}; use "
                    "workload.accounting=full"
                )
            if self.layer is not None:
                raise RequestError(
                    f"workload.layer={self.layer}: guide accounting knows no layers; use workload.accounting=full"
                )
        if self.layer is not None:
            check_range(
                "workload.layer",
                self.layer,
                0,
                encoder.layers - 1,
                f"{self.model} has {encoder.layers}",
            )
        elif self.weights != "random":
            raise RequestError(
                f"workload.weights={self.weights}: are of one layer that runs with its data; name it with "
                "workload.layer=0"
            )

    @property
    def by_operation(self) -> bool:
        """Whether the operations of an encoder run, and not tiles of a kernel or chain."""
        return self.accounting is Accounting.full

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that a tile passes through, in order; by operation, those that calls are of."""
        if self.by_operation:
            return (self.matmul, self.attention, *KERNELS_OF_ROWS)
        if self.model:
            return FUSED_BLOCK if self.fused else BLOCK
        return tuple(self.chain) or (self.kernel,)

    @property
    def linked(self) -> dict[str, Link]:
        """`links`; of an encoder, those of the guide's block."""
        return BLOCK_LINKS if self.model and not self.fused else self.links


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
    if accounting is not Accounting.guide:
        return None
    if kernel != GUIDE_KERNEL and not ("+" in kernel and kernel.startswith(GUIDE_KERNEL)):
        return None
    return GUIDE_TILES_PER_WINDOW * max(1, ceil(audio_s / WINDOW_S))
