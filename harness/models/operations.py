"""The operations of one window of a Whisper encoder: kernel calls, work, and work on padding.

The architecture is `AudioEncoder` of openai/whisper (whisper/model.py):

    stem    two convolutions of three taps, each with a GELU after it. The input is 2 * frames
            frames of log-mel; the second convolution has stride 2. Then positional embeddings.
    layers  a layer norm before the attention and one before the two linear layers, each with a
            residual addition after it
    end     a last layer norm

Cutting arrays into tiles and gathering outputs is not arithmetic, and is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from harness.models.tiling import ROLES, Tiling, Unit
from harness.models.whisper import Encoder

TAPS = 3
"""Taps of each convolution."""


@dataclass(frozen=True)
class Operation:
    """One operation of a window.

    kernel, calls: the kernel that computes it and the number of calls; None and 0 on the host
    work, tile_work: work of the model, and of the calls with padding, both in `unit`
    bytes_moved: inputs and outputs of all calls; each call moves its constants too
    additions: additions on the host: partial sums of products, biases, residuals
    notes: why the calls do not give the operation's exact result; empty if they do, up to rounding
    layer: number of the layer, from 0; None outside the layers
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
    "k": "each call rounds and saturates its partial sums to int8, and the host adds them",
    "s": "each call applies softmax to its own keys and padding only; its output cannot be merged",
    "d": "each call applies softmax to the logits of its own part of the head only",
    "w": "each call takes the mean and variance of its own values and padding, not of the row",
}
"""By letter of a size: why tiles that cover only a part of it cannot give the exact result.

Tiles along the other sizes (m, n, q, v) are independent.
"""
PADDING_COUNTS = ("s", "w")
"""Sizes in which padding with zeros changes the result. In k and d it does not."""


def _tiled_operation(
    name: str, role: str, tiling: Tiling, extents: Mapping[str, int], times: int = 1, bias: int = 0
) -> Operation:
    """Return the operation of sizes `extents`, done `times` over.

    Each size is covered by ceil(extent / tile) tiles, of which the last one is padded.
    """
    spec, tile, kind = tiling.spec(role), tiling.tile(role), ROLES[role]
    pieces = {letter: -(-extent // tile[letter]) for letter, extent in extents.items()}
    calls = times * prod(pieces.values())
    notes = []
    for letter, extent in extents.items():
        padded = letter in PADDING_COUNTS and extent != tile[letter]
        if letter in COUPLING and (pieces[letter] > 1 or padded):
            notes.append(f"{extent} in {pieces[letter]} of {tile[letter]}: {COUPLING[letter]}")
    # One addition per output for each further tile along k.
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
        notes=tuple(notes),
    )


def _addition(name: str, values: int) -> Operation:
    """Return an addition of `values` elements, which the host does."""
    return Operation(name, None, 0, Unit.value, values, values, 0, values)


def operations(encoder: Encoder, tiling: Tiling) -> tuple[Operation, ...]:
    """Return every operation of one window, in order.

    Rows of a convolution at the edges of the window count in full.

        whisper_base = encoder_of("whisper_base")
        total = operations(whisper_base, load_tiling(matmul="matmul_64"))
        calls = sum(each.calls for each in total)
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
        # Whisper's key projection has no bias (model.py, MultiHeadAttention).
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
