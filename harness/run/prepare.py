"""What a request needs before anything runs: its kernels found to connect and fit, the device open, the inputs made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path

from harness.config.compose import Config, Verify
from harness.config.workload import Workload, encoder_tiles, host_ns
from harness.device.backend import Backend
from harness.device.open import open_backend
from harness.device.xrt.wait import host_now_ns
from harness.inputs.chain import Chain, make_chain
from harness.inputs.generate import (
    check_source,
    distinct_tiles,
    make_activations,
    make_chain_tiles,
    make_tiles,
)
from harness.inputs.tiles import Tiles
from harness.kernel import Int8, KernelSpec, load_kernel
from harness.measure.metrics import Audio
from harness.models.operations import Tiling, load_tiling, operations
from harness.models.weights import load_weights, make_weights
from harness.models.whisper import Encoder, encoder_of
from harness.run.encoder_passes import EncoderPasses
from harness.run.layer_passes import LayerPasses
from harness.run.tile_passes import Passes, TilePasses


@dataclass(frozen=True)
class Prepared:
    """config: the request, with what it comes to where the device or the workload leaves no choice.

    remarks: a line for every key whose value that changes. name: of what runs. audio: what the RTF counts;
    measured_host_ns: of its preprocessing. passes: opens them.
    """

    config: Config
    remarks: tuple[str, ...]
    name: str
    world: Backend
    audio: Audio
    measured_host_ns: int
    passes: Callable[[], Passes]


def preflight(config: Config) -> Config:
    """The configuration, if an experiment with it could begin; else RequestError.

    Leaves nothing open but hardware, which is locked for this process from here on.
    """
    check_source(config.workload.kernels[0], config.workload.source)
    if config.workload.layer is not None:
        _weights(config)
    _opened(config, _kernels(config))
    return config


def prepare(config: Config) -> Prepared:
    """Kernels, device and inputs of a request; RequestError where it cannot run at all."""
    config, remarks = _effective(config)
    kernels = _kernels(config)
    world = _opened(config, kernels)
    if config.workload.by_operation:
        return _prepare_window(config, remarks, world)
    chain = _chain(config.workload)
    tile_bytes = sum(spec.size_bytes for spec in kernels)
    tiles = make_chain_tiles(chain, config.workload.tiles, *_tile_arguments(config, tile_bytes))
    counted = encoder_tiles(config.workload.accounting, chain.name, tiles.audio_s)
    audio = _audio(config.workload, tiles, counted)
    passes = partial(TilePasses, config, chain, world, tiles)
    return Prepared(config, remarks, chain.name, world, audio, tiles.host_ns, passes)


def _effective(config: Config) -> tuple[Config, tuple[str, ...]]:
    """The request as it can be had, and a line for every key that this changes."""
    workload, strategy, remarks = config.workload, config.strategy, list[str]()
    columns = _columns(config)
    if max(columns) < strategy.columns:
        dealt = ", ".join(
            f"{spec.name} {each}" for spec, each in zip(_kernels(config), columns, strict=True)
        )
        remarks.append(
            f"strategy.columns={strategy.columns}: would take a context for each kernel on each column; of the "
            f"device's {config.device.context_limit}, kernels get by their work: {dealt}"
        )
        strategy = replace(strategy, columns=max(columns))
    if workload.by_operation and strategy.resident:
        remarks.append(
            "strategy.resident=true has no effect: by full accounting, calls differ in their weights; what is written "
            "and synced is whole"
        )
        strategy = replace(strategy, resident=False)
    if workload.by_operation and workload.fused:
        remarks.append(
            "workload.fused=true has no effect: by full accounting, what follows a product takes the sum of many calls"
        )
        workload = replace(workload, fused=False)
    return replace(config, workload=workload, strategy=strategy), tuple(remarks)


def _prepare_window(config: Config, remarks: tuple[str, ...], world: Backend) -> Prepared:
    """Tiles of each kernel that the operations call."""
    workload = config.workload
    encoder, tiling = _encoder(workload)
    found = operations(encoder, tiling)
    cut = _tile_arguments(config, max(spec.size_bytes for spec in tiling.specs))
    tiles = {
        spec.name: make_tiles(spec.name, cut[-1], *cut) for spec in tiling.specs
    }  # all: more calls than tiles run
    first = tiles[tiling.matmul.name]
    if workload.layer is not None:
        x = make_activations(encoder.frames, encoder.d_model, workload.source, config.seed)
        layer = partial(
            LayerPasses, config, world, encoder, tiling, workload.layer, x, _weights(config)
        )
        name = f"{encoder.name} layer {workload.layer}"
        return Prepared(
            config, remarks, name, world, _audio(workload, first, None), first.host_ns, layer
        )
    calls = sum(each.calls for each in found)
    audio = _audio(workload, first, calls * max(1, ceil(first.audio_s / encoder.audio_s)))
    passes = partial(EncoderPasses, config, world, found, tiles)
    return Prepared(config, remarks, encoder.name, world, audio, first.host_ns, passes)


def _weights(config: Config) -> dict[str, Int8]:
    """Of the layer that runs."""
    workload = config.workload
    encoder = encoder_of(workload.model)
    if workload.weights == "random":
        return make_weights(encoder, config.seed)
    return load_weights(Path(workload.weights), encoder)


def _tile_arguments(config: Config, tile_bytes: int) -> tuple[str, int, Callable[[], int], int]:
    """What `make_tiles` takes beside the kernel and the number of tiles; the last is how many differ."""
    workload, strategy = config.workload, config.strategy
    period = distinct_tiles(tile_bytes, strategy.slots * strategy.batch)
    return workload.source, config.seed, host_now_ns, period


def _audio(workload: Workload, tiles: Tiles, counted: float | None) -> Audio:
    return Audio(tiles.audio_s, host_ns(workload, tiles), counted, workload.overlap_host)


def _kernels(config: Config) -> tuple[KernelSpec, ...]:
    """The kernels of the request; RequestError if they don't connect, or take more contexts than there are."""
    if config.workload.by_operation:
        return _encoder(config.workload)[1].specs
    chain = _chain(config.workload)
    if config.strategy.resident:
        for buffer in (buffer for spec in chain.kernels for buffer in spec.inputs):
            buffer.varying_bytes  # noqa: B018 - it raises where constants can't be told from the rest
    return chain.kernels


def _columns(config: Config) -> tuple[int, ...]:
    """Columns of each kernel."""
    wanted, limit = config.strategy.columns, config.device.context_limit
    if config.workload.by_operation:  # in turns: one kernel's contexts at the least must be open
        return tuple(Chain((spec,)).columns(wanted, limit)[0] for spec in _kernels(config))
    return _chain(config.workload).columns(wanted, limit)


def _chain(workload: Workload) -> Chain:
    return make_chain([load_kernel(name) for name in workload.kernels], workload.linked)


def _encoder(workload: Workload) -> tuple[Encoder, Tiling]:
    """What full accounting cuts into calls, and the kernels that those are of."""
    tiling = load_tiling(workload.matmul, workload.attention, key="workload.")
    return encoder_of(workload.model), tiling


def _opened(config: Config, kernels: Sequence[KernelSpec]) -> Backend:
    """The device, its kernels' files looked at."""
    world = open_backend(config.device, *kernels, computes=config.verify is Verify.all)
    for spec, columns in zip(kernels, _columns(config), strict=True):
        world.prepare(spec, columns)
    return world
