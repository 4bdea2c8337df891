"""Finds wrong requests that only arrays show: a reference that fails, tiles beyond the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile

import numpy as np

from harness.config.schema import Config, Verify
from harness.config.workload import TilesWorkload
from harness.device.clock import host_now_ns
from harness.errors import RequestError
from harness.execution.oracle import SerialOutputs
from harness.inputs.chain import Chain
from harness.inputs.check import States, states_of
from harness.inputs.draw import DEFAULT_DRAW, Draw
from harness.inputs.generate import make_chain_tiles
from harness.inputs.tiles import Tiles
from harness.kernel import KernelSpec
from harness.models.tiling import Tiling


def inputs_of(config: Config) -> tuple[Draw, str]:
    """How random tiles of a request are drawn, and the file of constants."""
    if isinstance(config.workload, TilesWorkload):
        return config.workload.draw, config.workload.constants
    return DEFAULT_DRAW, ""


@contextmanager
def in_memory(specs: Sequence[KernelSpec]) -> Iterator[None]:
    """In this context, arrays that do not fit the memory raise RequestError."""
    try:
        yield
    except MemoryError as error:
        largest = max(specs, key=lambda spec: spec.size_bytes)
        raise RequestError(
            f"kernel {largest.name}: the inputs and outputs of a tile have "
            f"{largest.size_bytes:,} bytes, and this machine has too little memory for the "
            f"tiles of a run ({error}); use smaller shapes"
        ) from error


def try_references(config: Config, kernels: Chain | Tiling) -> None:
    """Compute a tile with each reference of the user's kernels; RequestError if one fails.

    Nothing is computed with verify=off. Cached until a file changes: jobs of a sweep call it.
    """
    if config.verify is Verify.off:
        return
    source, (draw, constants) = config.workload.source, inputs_of(config)
    chains = [kernels] if isinstance(kernels, Chain) else [Chain((each,)) for each in kernels.specs]
    for chain in chains:
        if any(spec.own and spec.reference for spec in chain.kernels):
            _try(chain, source, draw, constants, states_of(source, constants))


def compute_expected(expected: Tiles | SerialOutputs, verify: Verify) -> None:
    """Compute the outputs of references now, if one is the user's and `verify` needs them.

    Before anything runs, so that a wrong one is a wrong request, and Ctrl-C stops it. RequestError
    if it fails.
    """
    if verify is Verify.off or isinstance(expected, SerialOutputs):
        return
    if any(spec.own for spec in expected.chain.kernels):
        expected.expected  # noqa: B018


@lru_cache(maxsize=64)
def _try(chain: Chain, source: str, draw: Draw, constants: str, _: States) -> None:
    """Compute one tile, as the simulator does, and two at once."""
    tiles = make_chain_tiles(chain, 1, source, 0, host_now_ns, 1, draw=draw, constants=constants)
    # Behind a kernel without a reference, the inputs are unknown.
    known = tuple(takewhile(_has_reference, chain.kernels))
    if not known:
        return
    tiles = replace(
        tiles,
        chain=Chain(known, chain.links[: len(known) - 1]),
        later_constants=tiles.later_constants[: len(known) - 1],
    )
    for count in (1, 2):
        packed = tuple(np.repeat(each, count, axis=0) for each in tiles.packed)
        replace(tiles, packed=packed).expected  # noqa: B018


def _has_reference(spec: KernelSpec) -> bool:
    return spec.reference is not None
