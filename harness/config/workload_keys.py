"""The flat keys `workload.*` of a request, and the variant of a workload that they select."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, make_dataclass
from typing import Any, get_type_hints

from harness.config.setting import copied, setting
from harness.config.workload import (
    Accounting,
    ChainWorkload,
    EncoderWorkload,
    FullEncoder,
    GuideEncoder,
    KernelWorkload,
    LayerWorkload,
    TilesWorkload,
    Workload,
)
from harness.errors import RequestError, override_text
from harness.measure.audio_accounting import GUIDE_ENCODER

VARIANTS = (KernelWorkload, ChainWorkload, GuideEncoder, FullEncoder, LayerWorkload)
_SUBJECTS = {"kernel": "the kernel", "chain": "the chain", "model": "the encoder"}


TILES_KEYS = {item.name for item in fields(TilesWorkload)} - {
    item.name for item in fields(Workload)
}


def _flat_keys() -> type:
    """Create a dataclass with the keys of all variants, and `accounting`."""
    hints = {name: hint for each in VARIANTS for name, hint in get_type_hints(each).items()}
    # Keys of the last rows of the reference, in this order.
    common = {item.name: item for item in fields(TilesWorkload)}
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
    if key in TILES_KEYS:
        return (
            "belongs to the tiles of a kernel or a chain; use workload.kernel or workload.chain, "
            "or leave it out"
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
