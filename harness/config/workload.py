"""The workload group: tiles of a kernel, of a chain or of an encoder, or the calls of one layer.

Presets and the command line set flat keys; `harness.config.workload_keys.choose_workload` converts
them into one of the variants below, each of which has only the keys that belong to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from harness.config.setting import Schema, setting
from harness.errors import RequestError, check_range
from harness.inputs.array_file import is_array_file
from harness.inputs.chain import Link
from harness.inputs.check import is_audio
from harness.inputs.draw import Distribution, Draw, range_text
from harness.measure.audio_accounting import GUIDE_AUDIO_S, GUIDE_ENCODER, GUIDE_HOST_MS
from harness.models.whisper import Encoder, encoder_of

BLOCK = ("attention", "layernorm", "matmul", "gelu")
BLOCK_LINKS = {"layernorm": Link.first, "gelu": Link.pad}
FUSED_BLOCK = ("attention_layernorm", "matmul_gelu")
"""The guide's encoder block. The first 4 rows of the output of attention go to layernorm; its
output, as 16x16, goes to a product with weights; the product, padded to 512 values, goes to GELU.
FUSED_BLOCK has two kernels that give the same outputs."""
CONSTANT_SUFFIXES = (".npz", ".safetensors")
"""Files of arrays with names."""
KERNELS_OF_ROWS = ("layernorm", "gelu")
"""Kernels that every encoder calls. Those for `matmul` and `attention` can be chosen."""


class Accounting(Enum):
    """How encoder time follows from tile time: by tiles of the guide's block, or by all calls."""

    guide = "guide"
    full = "full"


@dataclass(frozen=True)
class Workload(Schema):
    """Settings of every workload; a request has one of the variants below."""

    group = "workload."
    accounting: ClassVar[Accounting] = Accounting.guide

    tiles: int = setting(
        10,
        "tiles of a pass; with full accounting, the calls of each operation that run and represent "
        "all of its calls",
        least=1,
        most=10_000_000,
        unit="tiles",
    )
    source: str = setting(
        "speech",
        "source of the tiles: speech (the packaged clip), random, zeros, an audio file, or a file "
        "of arrays (.npy, .npz, .safetensors)",
    )
    host_ms: str = setting(
        "guide",
        "preprocessing time that the RTF counts: guide (the guide's figure, scaled to the length "
        "of the audio), measured (measured on this machine), or 0 to 3600000",
        unit="ms",
    )
    overlap_host: bool = setting(
        False,
        "RTF of a stream: the host preprocesses the next window while it waits for the encoder",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.host_ms == "measured" and not is_audio(self.source):
            tiles = "tiles of a file" if is_array_file(self.source) else f"{self.source} tiles"
            raise RequestError(
                f"workload.host_ms=measured: {tiles} have no preprocessing to measure; "
                "give guide, milliseconds, or another workload.source"
            )
        if self.host_ms not in ("guide", "measured"):
            try:
                check_range("workload.host_ms", float(self.host_ms), 0, 3_600_000)
            except ValueError:
                raise RequestError(
                    f"workload.host_ms={self.host_ms}: not allowed; give guide, measured, or "
                    f"milliseconds (the guide's are {GUIDE_HOST_MS} for {GUIDE_AUDIO_S:g} s)"
                ) from None

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that a tile passes through, in order.

        For an encoder with full accounting, all kernels that it calls.
        """
        raise NotImplementedError

    @property
    def chain_links(self) -> Mapping[str, Link]:
        """By kernel: how it takes the previous output, if the sizes of the two differ."""
        return {}


@dataclass(frozen=True)
class TilesWorkload(Workload):
    """Settings of the tiles of a kernel or a chain."""

    distribution: Distribution = setting(
        Distribution.uniform,
        "random tiles: uniform in the range; or normal, with its middle as the mean and a sixth of "
        "its length as the standard deviation, clipped to it",
    )
    range: list[float] = setting(
        list,
        "random tiles: least and largest value; [] for that of the element type: int8, int16, "
        "int32 [-64, 63], uint8 [0, 255], int4 [-8, 7], floats [-2, 2]",
    )
    constants: str = setting(
        "",
        "file with constants of the kernels by name (.npz, .safetensors); the others are drawn "
        "from the seed",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_draw()
        if self.constants and not self.constants.lower().endswith(CONSTANT_SUFFIXES):
            raise RequestError(
                f"workload.constants={self.constants}: not a file of named arrays; give the path "
                "of an .npz or .safetensors file"
            )

    def _check_draw(self) -> None:
        given = range_text(self.range)
        if self.range and (len(self.range) != 2 or not self.range[0] < self.range[1]):
            raise RequestError(f"{given}: not a range; give the least and the largest value")
        if self.source == "random":
            return
        if self.distribution is not Distribution.uniform:
            given = f"workload.distribution={self.distribution.value}"
        elif not self.range:
            return
        raise RequestError(
            f"{given}: belongs to random tiles, not to workload.source={self.source}; add "
            "workload.source=random, or leave it out"
        )

    @property
    def draw(self) -> Draw:
        """How random tiles are drawn."""
        return Draw(self.distribution, tuple(self.range))


@dataclass(frozen=True)
class KernelWorkload(TilesWorkload):
    """Tiles of one kernel."""

    kernel: str = setting("", "kernel that runs alone: a folder in kernels/, or a variant in one")

    @property
    def kernels(self) -> tuple[str, ...]:
        """The one kernel, as a tuple."""
        return (self.kernel,)


@dataclass(frozen=True)
class ChainWorkload(TilesWorkload):
    """Tiles that pass through several kernels."""

    chain: list[str] = setting(list, "kernels that a tile passes through, in order")
    links: dict[str, Link] = setting(
        dict, "by kernel: how it takes the previous output, if the sizes of the two differ"
    )

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels of the chain, in order."""
        return tuple(self.chain)

    @property
    def chain_links(self) -> Mapping[str, Link]:
        """The links of the request."""
        return self.links


@dataclass(frozen=True)
class EncoderWorkload(Workload):
    """Settings of every encoder workload."""

    model: str = setting("", "encoder: whisper_tiny, whisper_base or whisper_small")
    fused: bool = setting(
        False, "two fused kernels in place of the block's four; no effect with full accounting"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source != "random" and not is_audio(self.source):
            raise RequestError(
                f"workload.source={self.source}: {self.model} encodes audio; give speech, random "
                "or an audio file, or a workload.kernel or workload.chain"
            )

    @property
    def encoder(self) -> Encoder:
        """Sizes of the encoder; RequestError for an unknown `model`."""
        return encoder_of(self.model, "workload.model")


@dataclass(frozen=True)
class GuideEncoder(EncoderWorkload):
    """An encoder with the guide's accounting: tiles that pass through the guide's block."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder.name != GUIDE_ENCODER:
            raise RequestError(
                f"workload.accounting=guide: the guide counts tiles of {GUIDE_ENCODER}, not of "
                f"{self.model}; use workload.accounting=full"
            )

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels of the block, in order."""
        return FUSED_BLOCK if self.fused else BLOCK

    @property
    def chain_links(self) -> Mapping[str, Link]:
        """The links between the kernels of the block."""
        return {} if self.fused else BLOCK_LINKS


@dataclass(frozen=True)
class FullEncoder(EncoderWorkload):
    """Every operation of one encoder window; up to `tiles` calls of each represent all of them."""

    accounting = Accounting.full

    matmul: str = setting("matmul", "kernel for the tiles of an encoder's matrix products")
    attention: str = setting("attention", "kernel for the tiles of an encoder's attention")

    def __post_init__(self) -> None:
        super().__post_init__()
        # Raises RequestError for an unknown model.
        _ = self.encoder

    @property
    def kernels(self) -> tuple[str, ...]:
        """All kernels that the encoder calls."""
        return (self.matmul, self.attention, *KERNELS_OF_ROWS)


@dataclass(frozen=True)
class LayerWorkload(FullEncoder):
    """One layer of an encoder: every call runs, on the outputs of the calls before it."""

    layer: int | None = setting(None, "layer of an encoder that runs alone, from 0; null: all")
    weights: str = setting("random", "weights of that layer: random, or an .npz file")

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = self.encoder.layers
        check_range("workload.layer", self.number, 0, layers - 1, f"{self.model} has {layers}")

    @property
    def number(self) -> int:
        """Number of the layer, from 0."""
        # Without a layer, `choose_workload` creates a FullEncoder.
        assert self.layer is not None
        return self.layer
