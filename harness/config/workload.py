"""What a run works on: tiles of a kernel, of a chain, of an encoder, or the calls of one layer.

A request has flat keys (`WORKLOAD_KEYS`), which presets and the command line set. `choose_workload`
turns them into one of the variants below, which have only the keys that belong to them.
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
"""The guide's encoder block: the first 4 rows of attention's output to layernorm, that as 16x16 to
a product with weights, that padded to 512 to GELU; and two kernels with the same outputs."""
KERNELS_OF_ROWS = ("layernorm", "gelu")
"""Kernels that every encoder calls; those of `matmul` and `attention` can be chosen."""


class Accounting(Enum):
    """How encoder time follows from tile time."""

    guide = "guide"
    full = "full"


@dataclass(frozen=True)
class Workload(Schema):
    """What every workload has; `choose_workload` makes one of its variants."""

    group = "workload."
    accounting: ClassVar[Accounting] = Accounting.guide

    tiles: int = setting(
        10,
        "tiles of a pass; by full accounting, calls of each operation that run and stand for the "
        "others",
        least=1,
        most=10_000_000,
        unit="tiles",
        remedy="--cfg job shows a request without running it",
    )
    source: str = setting(
        "speech", "what tiles are cut from: speech (the packaged clip), random, or an audio file"
    )
    host_ms: str = setting(
        "guide",
        "preprocessing that the RTF counts: guide (its figure, by the length of the audio), "
        "measured (its time here), "
        "or 0 to 3600000",
        unit="ms",
    )
    overlap_host: bool = setting(
        False,
        "RTF of a stream: the next window is preprocessed while the host waits for this one's "
        "encoder",
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
                    "milliseconds "
                    f"(the guide's are {GUIDE_HOST_MS} for {GUIDE_AUDIO_S:g} s)"
                ) from None

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that a tile passes through, in order.

        Of an encoder by full accounting, all it calls.
        """
        raise NotImplementedError

    @property
    def chain_links(self) -> Mapping[str, Link]:
        """How a kernel takes the output before it, by its name, where not exactly."""
        return {}


@dataclass(frozen=True)
class KernelWorkload(Workload):
    """Tiles of one kernel."""

    kernel: str = setting("", "kernel that runs alone: a folder of kernels/, or a variant of one")

    @property
    def kernels(self) -> tuple[str, ...]:
        """The one."""
        return (self.kernel,)


@dataclass(frozen=True)
class ChainWorkload(Workload):
    """Tiles that pass through several kernels."""

    chain: list[str] = setting(list, "kernels that a tile passes through, in order")
    links: dict[str, Link] = setting(
        dict, "how a kernel of the chain takes the output before it, by its name, where not exactly"
    )

    @property
    def kernels(self) -> tuple[str, ...]:
        """In order."""
        return tuple(self.chain)

    @property
    def chain_links(self) -> Mapping[str, Link]:
        """As requested."""
        return self.links


@dataclass(frozen=True)
class EncoderWorkload(Workload):
    """What all workloads of an encoder have."""

    model: str = setting("", "encoder: whisper_tiny, whisper_base or whisper_small")
    fused: bool = setting(
        False, "two kernels in place of the block's four; no effect by full accounting"
    )

    @property
    def encoder(self) -> Encoder:
        """Its sizes; RequestError for an unknown name."""
        return encoder_of(self.model, "workload.model")


@dataclass(frozen=True)
class GuideEncoder(EncoderWorkload):
    """An encoder as the guide counts it: tiles through its block."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder.name != GUIDE_ENCODER:
            raise RequestError(
                f"workload.accounting=guide: the guide counts tiles of {GUIDE_ENCODER}, not of "
                f"{self.model}; use "
                "workload.accounting=full"
            )

    @property
    def kernels(self) -> tuple[str, ...]:
        """Of the block."""
        return FUSED_BLOCK if self.fused else BLOCK

    @property
    def chain_links(self) -> Mapping[str, Link]:
        """Of the block."""
        return {} if self.fused else BLOCK_LINKS


@dataclass(frozen=True)
class FullEncoder(EncoderWorkload):
    """Every operation of an encoder's window: up to `tiles` calls each stand for the others."""

    accounting = Accounting.full

    matmul: str = setting("matmul", "kernel that the products of an encoder are cut into")
    attention: str = setting("attention", "kernel that the attention of an encoder is cut into")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.encoder

    @property
    def kernels(self) -> tuple[str, ...]:
        """All that are called."""
        return (self.matmul, self.attention, *KERNELS_OF_ROWS)


@dataclass(frozen=True)
class LayerWorkload(FullEncoder):
    """One layer of an encoder: every call, each with the data that the calls before it returned."""

    layer: int | None = setting(None, "layer of an encoder that runs alone, from 0; null: all")
    weights: str = setting("random", "weights of that layer: random, or an .npz file")

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = self.encoder.layers
        check_range("workload.layer", self.number, 0, layers - 1, f"{self.model} has {layers}")

    @property
    def number(self) -> int:
        """The layer, from 0."""
        assert self.layer is not None  # else `choose_workload` makes a FullEncoder
        return self.layer


VARIANTS = (KernelWorkload, ChainWorkload, GuideEncoder, FullEncoder, LayerWorkload)
_SUBJECTS = {"kernel": "the kernel", "chain": "the chain", "model": "the encoder"}


def _flat_keys() -> type:
    """A dataclass of the keys of all variants, and of `accounting`, which chooses among them."""
    hints = {name: hint for each in VARIANTS for name, hint in get_type_hints(each).items()}
    common = {item.name: item for item in fields(Workload)}
    items = {item.name: item for each in VARIANTS for item in fields(each)}
    ordered = [item for name, item in items.items() if name not in common]
    accounting = setting(
        Accounting.guide, "what stands for an encoder: tiles of the guide's block, or every call"
    )
    members = [(item.name, hints[item.name], copied(item)) for item in (*ordered, *common.values())]
    return make_dataclass("WorkloadKeys", [*members, ("accounting", Accounting, accounting)])


WORKLOAD_KEYS = _flat_keys()


def choose_workload(given: Mapping[str, Any]) -> Workload:
    """The variant that the flat keys `given` ask for.

    RequestError where keys do not go with each other.
    """
    defaults = vars(WORKLOAD_KEYS())
    values = {**defaults, **given}
    variant = _variant(values)
    own = {item.name for item in fields(variant)}
    for key, value in values.items():
        if key not in own and key != "accounting" and value != defaults[key]:
            reason = _misplaced(key, variant, override_text(defaults[key]))
            raise RequestError(f"workload.{key}={override_text(value)}: {reason}")
    return variant(**{key: value for key, value in values.items() if key in own})


def _variant(values: Mapping[str, Any]) -> type[Workload]:
    subjects = [key for key in _SUBJECTS if values[key]]
    if not subjects:
        raise RequestError(
            "workload: nothing to run; give workload.kernel=<kernel>, "
            "workload.chain=[<kernel>,<kernel>] or "
            "workload=whisper_base"
        )
    if len(subjects) > 1:
        given = {key: f"workload.{key}={override_text(values[key])}" for key in subjects}
        commands = {
            "kernel": f"workload=attention {given.get('kernel')}",
            "chain": f"workload=attention workload.kernel= {given.get('chain')}",
            "model": f"workload={GUIDE_ENCODER} {given.get('model')}",
        }
        remedies = ", or ".join(f"{commands[key]} for {_SUBJECTS[key]}" for key in subjects)
        raise RequestError(f"{' '.join(given.values())}: give one of them; type {remedies}")
    full = values["accounting"] is Accounting.full
    if subjects == ["model"]:
        if not full:
            return GuideEncoder
        return FullEncoder if values["layer"] is None else LayerWorkload
    if full:
        raise RequestError(
            "workload.accounting=full: counts the operations of an encoder; use "
            "workload=whisper_tiny, "
            "whisper_base or whisper_small"
        )
    return KernelWorkload if subjects == ["kernel"] else ChainWorkload


def _misplaced(key: str, variant: type[Workload], default: str) -> str:
    """Why a key does not go with a variant, and what to do."""
    if key == "links":
        return (
            "connects kernels of a chain; give workload.chain=[<kernel>,<kernel>], or leave it out"
        )
    if not issubclass(variant, EncoderWorkload):
        return f"is of an encoder; use workload=whisper_base, or leave it at {default}"
    if key == "weights":
        return "are of one layer that runs with its data; name it with workload.layer=0"
    if key == "layer":
        return "guide accounting knows no layers; use workload.accounting=full"
    return (
        "is of full accounting; the guide's block has kernels of its own; use "
        "workload.accounting=full"
    )
