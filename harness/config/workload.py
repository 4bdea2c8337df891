"""The workload group: tiles of a kernel, of a chain or of an encoder, or the calls of one layer.

Presets and the command line set flat keys (`WORKLOAD_KEYS`). `choose_workload` converts them into
one of the variants below, each of which has only the keys that belong to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, make_dataclass
from enum import Enum
from typing import Any, ClassVar, get_type_hints

from harness.config.setting import Schema, copied, setting
from harness.errors import RequestError, check_range, override_text
from harness.inputs.chain import Link
from harness.measure.audio_accounting import GUIDE_AUDIO_S, GUIDE_ENCODER, GUIDE_HOST_MS
from harness.models.whisper import Encoder, encoder_of

BLOCK = ("attention", "layernorm", "matmul", "gelu")
BLOCK_LINKS = {"layernorm": Link.first, "gelu": Link.pad}
FUSED_BLOCK = ("attention_layernorm", "matmul_gelu")
"""The guide's encoder block. The first 4 rows of the output of attention go to layernorm; its
output, as 16x16, goes to a product with weights; the product, padded to 512 values, goes to GELU.
FUSED_BLOCK has two kernels that give the same outputs."""
KERNELS_OF_ROWS = ("layernorm", "gelu")
"""Kernels that every encoder calls. Those for `matmul` and `attention` can be chosen."""


class Accounting(Enum):
    """How encoder time follows from tile time: by tiles of the guide's block, or by all calls."""

    guide = "guide"
    full = "full"


@dataclass(frozen=True)
class Workload(Schema):
    """Settings of every workload; `choose_workload` creates one of the variants."""

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
        "speech", "source of the tiles: speech (the packaged clip), random, or an audio file"
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
class KernelWorkload(Workload):
    """Tiles of one kernel."""

    kernel: str = setting("", "kernel that runs alone: a folder in kernels/, or a variant in one")

    @property
    def kernels(self) -> tuple[str, ...]:
        """The one kernel, as a tuple."""
        return (self.kernel,)


@dataclass(frozen=True)
class ChainWorkload(Workload):
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


VARIANTS = (KernelWorkload, ChainWorkload, GuideEncoder, FullEncoder, LayerWorkload)
_SUBJECTS = {"kernel": "the kernel", "chain": "the chain", "model": "the encoder"}


def _flat_keys() -> type:
    """Create a dataclass with the keys of all variants, and `accounting`."""
    hints = {name: hint for each in VARIANTS for name, hint in get_type_hints(each).items()}
    common = {item.name: item for item in fields(Workload)}
    items = {item.name: item for each in VARIANTS for item in fields(each)}
    ordered = [item for name, item in items.items() if name not in common]
    accounting = setting(
        Accounting.guide, "what represents an encoder: tiles of the guide's block, or all calls"
    )
    members = [(item.name, hints[item.name], copied(item)) for item in (*ordered, *common.values())]
    return make_dataclass("WorkloadKeys", [*members, ("accounting", Accounting, accounting)])


WORKLOAD_KEYS = _flat_keys()
"""Schema of the flat keys `workload.*` of a request."""


def choose_workload(keys: Mapping[str, Any]) -> Workload:
    """Return the variant that the flat keys select; keys that are missing have their defaults.

    RequestError if no subject (kernel, chain, model) is set, or if keys do not go together.

        choose_workload({"kernel": "gelu", "tiles": 100})  # KernelWorkload
        choose_workload({"model": "whisper_base"})  # GuideEncoder
        choose_workload({"model": "whisper_tiny", "accounting": Accounting.full})  # FullEncoder
    """
    defaults = vars(WORKLOAD_KEYS())
    values = {**defaults, **keys}
    variant = _variant(values)
    own = {item.name for item in fields(variant)}
    for key, value in values.items():
        # Hydra composes every key, so a key at its default may not have been set by the user at
        # all.
        if key not in own and key != "accounting" and value != defaults[key]:
            reason = _misplaced(key, variant, override_text(defaults[key]))
            raise RequestError(f"workload.{key}={override_text(value)}: {reason}")
    return variant(**{key: value for key, value in values.items() if key in own})


def _variant(values: Mapping[str, Any]) -> type[Workload]:
    subjects = [key for key in _SUBJECTS if values[key]]
    if not subjects:
        raise RequestError(
            "workload: nothing to run; give workload.kernel=<kernel>, "
            "workload.chain=[<kernel>,<kernel>] or workload=whisper_base"
        )
    if len(subjects) > 1:
        overrides = {key: f"workload.{key}={override_text(values[key])}" for key in subjects}
        # Each command resets the other subjects.
        commands = {
            "kernel": f"workload=attention {overrides.get('kernel')}",
            "chain": f"workload=attention workload.kernel= {overrides.get('chain')}",
            "model": f"workload={GUIDE_ENCODER} {overrides.get('model')}",
        }
        remedies = ", or ".join(f"{commands[key]} for {_SUBJECTS[key]}" for key in subjects)
        raise RequestError(f"{' '.join(overrides.values())}: give one of them; type {remedies}")
    full = values["accounting"] is Accounting.full
    if subjects == ["model"]:
        if not full:
            return GuideEncoder
        return FullEncoder if values["layer"] is None else LayerWorkload
    if full:
        raise RequestError(
            "workload.accounting=full: counts the operations of an encoder; use "
            "workload=whisper_tiny, whisper_base or whisper_small"
        )
    return KernelWorkload if subjects == ["kernel"] else ChainWorkload


def _misplaced(key: str, variant: type[Workload], default: str) -> str:
    """Say why a key does not go with a variant, and what to do."""
    if key == "links":
        return (
            "connects kernels of a chain; give workload.chain=[<kernel>,<kernel>], or leave it out"
        )
    if not issubclass(variant, EncoderWorkload):
        return f"belongs to an encoder; use workload=whisper_base, or leave it at {default}"
    if key == "weights":
        return "belongs to a single layer; select one with workload.layer=0"
    if key == "layer":
        return "guide accounting has no layers; use workload.accounting=full"
    return (
        "belongs to full accounting, as the guide's block has its own kernels; use "
        "workload.accounting=full"
    )
