"""Whisper's encoders as calls of kernels: the operations of one window, their work, and what
padding adds.

The architecture is `AudioEncoder` of openai/whisper (whisper/model.py): two convolutions of three
taps over 2 * frames frames of log-mel, the second of stride 2, a GELU after each; positional
embeddings; layers that normalise before their attention and before their two linear layers, and add
what went in; a last layer norm. Gathering tiles from arrays and back is no arithmetic, and left
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from harness.models.tiling import ROLES, Tiling, Unit
from harness.models.whisper import Encoder

TAPS = 3


@dataclass(frozen=True)
class Operation:
    """One step of a window. layer: from 0, None outside the layers. kernel: None where the host
    does it, in 0 calls.

    work: of the model, in `unit`; tile_work: of the calls, padding included. bytes_moved: in and
    out of all calls, constants with each. additions: left to the host: partial sums of products,
    biases, residuals. notes: why the calls do the operation's work without giving its result; none
    where they give it, rounded.
    """

    name: str
    kernel: str | None
    calls: int
    unit: Unit
    work: int
    tile_work: int
    bytes_moved: int
    additions: int
    notes: tuple[str, ...] = ()
    layer: int | None = None

    def __str__(self) -> str:
        return self.name if self.layer is None else f"layer {self.layer} {self.name}"


COUPLING = {
    "k": "each call rounds and saturates its partial sums to int8, and the host adds those",
    "s": "each call has a softmax of its own keys and padding, and returns nothing to merge it by",
    "d": "each call has a softmax of the logits of its own part of the head",
    "w": "each call has the mean and the variance of its own values and padding, not of the row",
}
"""Why a size that tiles do not have couples what they compute, by its letter.

The others (m, n, q, v) never do.
"""
PADDING_COUNTS = ("s", "w")
"""Zeros that fill these up take part in the result; those of k and d do not."""


def _tiled_operation(
    name: str, role: str, tiling: Tiling, extents: Mapping[str, int], times: int = 1, bias: int = 0
) -> Operation:
    """An operation of those sizes, `times` over: every size in ceil(extent / tile) tiles, the
    last one padded.
    """
    spec, tile, kind = tiling.spec(role), tiling.tile(role), ROLES[role]
    pieces = {letter: -(-extent // tile[letter]) for letter, extent in extents.items()}
    calls = times * prod(pieces.values())
    notes = tuple(
        f"{extent} in {pieces[letter]} of {tile[letter]}: {COUPLING[letter]}"
        for letter, extent in extents.items()
        if letter in COUPLING
        and (pieces[letter] > 1 or (letter in PADDING_COUNTS and extent != tile[letter]))
    )
    partial = (pieces["k"] - 1) * extents["m"] * extents["n"] if role == "matmul" else 0
    return Operation(
        name,
        spec.name,
        calls,
        kind.unit,
        work=times * kind.work * prod(extents.values()),
        tile_work=calls * kind.work * prod(tile.values()),
        bytes_moved=calls * spec.size_bytes,
        additions=partial + bias,
        notes=notes,
    )


def _addition(name: str, values: int) -> Operation:
    """Done by the host."""
    return Operation(name, None, 0, Unit.value, values, values, 0, values)


def operations(encoder: Encoder, tiling: Tiling) -> tuple[Operation, ...]:
    """Every operation of one window, in order.

    Rows of a convolution at the window's edges count in full.
    """
    frames, width = encoder.frames, encoder.d_model

    def linear(name: str, rows: int, inner: int, columns: int, bias: bool = True) -> Operation:
        extents = {"m": rows, "k": inner, "n": columns}
        return _tiled_operation(name, "matmul", tiling, extents, bias=rows * columns * bias)

    def norm(name: str) -> Operation:
        return _tiled_operation(name, "layernorm", tiling, {"w": width}, times=frames)

    def gelu(name: str, values: int) -> Operation:
        return _tiled_operation(name, "gelu", tiling, {"v": values})

    attended = {"q": frames, "s": frames, "d": encoder.head_width}
    stem = (
        linear("conv 1", 2 * frames, TAPS * encoder.mels, width),
        gelu("conv 1 gelu", 2 * frames * width),
        linear("conv 2", frames, TAPS * width, width),
        gelu("conv 2 gelu", frames * width),
        _addition("positions", frames * width),
    )
    layer = (
        norm("attention norm"),
        linear("query", frames, width, width),
        linear("key", frames, width, width, bias=False),
        linear("value", frames, width, width),
        _tiled_operation("attention", "attention", tiling, attended, times=encoder.heads),
        linear("output", frames, width, width),
        _addition("attention residual", frames * width),
        norm("ffn norm"),
        linear("ffn 1", frames, width, encoder.ffn),
        gelu("ffn gelu", frames * encoder.ffn),
        linear("ffn 2", frames, encoder.ffn, width),
        _addition("ffn residual", frames * width),
    )
    layers = (replace(each, layer=number) for number in range(encoder.layers) for each in layer)
    return (*stem, *layers, norm("last norm"))
