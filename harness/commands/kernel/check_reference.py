"""Checks the reference of a kernel on a few tiles of random inputs."""

from __future__ import annotations

import threading
import time

import numpy as np

from harness.commands.doctor.check import Check, fail, ok, warn
from harness.kernel import Array, KernelSpec, Part
from harness.kernel.dtypes import HIGHEST, LOWEST, PACKED, array_dtype

TILES = 2
"""One would not show a reference that drops the axis of tiles."""
LIMIT_S = 60.0
SLOW_S = 1.0
"""Time of a tile above which verification of hundreds of tiles takes minutes."""


def check_reference(spec: KernelSpec) -> Check:
    """Whether the reference takes the inputs and returns the outputs that are declared."""
    if spec.reference is None:
        return warn(
            "reference",
            "none is declared: runs compare the outputs with those of a serial pass only",
            "declare reference: module:function",
        )
    inputs = [_random(part) for part in spec.parts]
    ended: list[tuple[str, float]] = []

    def compute() -> None:
        begin = time.perf_counter()
        problem = _problem(spec, inputs)
        ended.append((problem, time.perf_counter() - begin))

    # A reference may take for ever; a thread that does not end dies with the process.
    thread = threading.Thread(target=compute, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    if not ended:
        return fail(
            "reference",
            f"takes more than {LIMIT_S:g} s for {TILES} tiles",
            "use numpy on all tiles at once, without loops over elements",
        )
    problem, spent_s = ended[0]
    if problem:
        return fail("reference", problem, "each array is (tiles, *shape) of the declared dtype")
    finding = f"takes and returns the declared arrays, tried with {TILES} tiles"
    if spent_s > SLOW_S * TILES:
        slow = f"{finding}; takes {spent_s:.1f} s for them"
        return warn("reference", slow, "speed it up, or give verify=off")
    return ok("reference", finding)


def _problem(spec: KernelSpec, inputs: list[Array]) -> str:
    """What is wrong with the outputs for these inputs; empty if nothing is."""
    try:
        outputs = spec.apply(*inputs)
        spec.output.pack(*outputs)
        tiles = len(outputs[0])
    # A reference is code of the user, which may raise anything.
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return "" if tiles == TILES else f"returns {tiles} tiles for {TILES}"


def _random(part: Part) -> Array:
    """Inputs (TILES, *shape); integers over their whole range."""
    rng, shape = np.random.default_rng(0), (TILES, *part.shape)
    dtype = array_dtype(part.dtype)
    if part.dtype == PACKED:
        return rng.integers(LOWEST, HIGHEST, shape, dtype, endpoint=True)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return rng.standard_normal(shape).astype(dtype)
