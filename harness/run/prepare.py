"""From a request to what can run: look up kernels, deal contexts, open the device, make inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path

from harness.config.device import Device
from harness.config.schema import Config, Verify
from harness.config.strategy import Strategy
from harness.config.workload import FullEncoder, LayerWorkload, Workload
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
from harness.measure.audio_accounting import encoder_tiles, host_ns
from harness.measure.rtf import Audio
from harness.models.operations import operations
from harness.models.tiling import Tiling, load_tiling
from harness.models.weights import load_weights, make_weights
from harness.run.encoder_passes import EncoderPasses
from harness.run.layer_passes import LayerPasses
from harness.run.tile_passes import Passes, TilePasses


@dataclass(frozen=True)
class Plan:
    """A request with its kernels looked up and contexts dealt, once for everything that runs it.

    config: the request, with what it comes to where the device or the workload leaves no choice.
    remarks: a line for every key whose value that changes. kernels: a chain that tiles pass
    through, or those that an encoder is cut into. columns: of each kernel, a context each.
    """

    config: Config
    remarks: tuple[str, ...]
    kernels: Chain | Tiling
    columns: tuple[int, ...]

    @property
    def specs(self) -> tuple[KernelSpec, ...]:
        """All kernels, in the order of `columns`."""
        return self.kernels.kernels if isinstance(self.kernels, Chain) else self.kernels.specs

    def open(self) -> Backend:
        """The device, with the files of the kernels read; RequestError where they cannot be had."""
        computes = self.config.verify is Verify.all
        return open_kernels(self.config.device, self.specs, self.columns, computes)


@dataclass(frozen=True)
class Prepared:
    """A request whose device is open and whose inputs are made.

    config, remarks: of its `Plan`. name: of what runs. audio: what the RTF counts;
    measured_host_ns: of its preprocessing. passes: opens them.
    """

    config: Config
    remarks: tuple[str, ...]
    name: str
    backend: Backend
    audio: Audio
    measured_host_ns: int
    passes: Callable[[], Passes]


def preflight(config: Config) -> Config:
    """The configuration, if an experiment with it could begin; else RequestError.

    Leaves nothing open but hardware, which is locked for this process from here on.
    """
    workload = config.workload
    check_source(workload.kernels[0], workload.source)
    if isinstance(workload, LayerWorkload):
        _weights(workload, config.seed)
    make_plan(config).open()
    return config


def prepare(config: Config) -> Prepared:
    """Kernels, device and inputs of a request; RequestError where it cannot run at all."""
    plan = make_plan(config)
    backend = plan.open()
    if isinstance(plan.kernels, Chain):
        return _prepare_chain(plan, plan.kernels, backend)
    return _prepare_encoder(plan, plan.kernels, backend)


def make_plan(config: Config) -> Plan:
    """Look up the kernels of a request and deal contexts to them.

    RequestError where they do not fit.
    """
    workload, strategy = config.workload, config.strategy
    kernels = _look_up(workload, strategy)
    columns = deal_columns(kernels, strategy, config.device)
    plan = Plan(config, (), kernels, columns)
    remarks = list[str]()
    if max(columns) < strategy.columns:
        dealt = ", ".join(
            f"{spec.name} {each}" for spec, each in zip(plan.specs, columns, strict=True)
        )
        remarks.append(
            f"strategy.columns={strategy.columns}: would take a context for each kernel on each "
            "column; of the "
            f"device's {config.device.context_limit}, kernels get by their work: {dealt}"
        )
        strategy = replace(strategy, columns=max(columns))
    if isinstance(workload, FullEncoder) and strategy.resident:
        remarks.append(
            "strategy.resident=true has no effect: by full accounting, calls differ in their "
            "weights; what is written "
            "and synced is whole"
        )
        strategy = replace(strategy, resident=False)
    if isinstance(workload, FullEncoder) and workload.fused:
        remarks.append(
            "workload.fused=true has no effect: by full accounting, what follows a product takes "
            "the sum of many calls"
        )
        workload = replace(workload, fused=False)
    effective = replace(config, workload=workload, strategy=strategy)
    return replace(plan, config=effective, remarks=tuple(remarks))


def deal_columns(kernels: Chain | Tiling, strategy: Strategy, device: Device) -> tuple[int, ...]:
    """Columns of each kernel, a context each; RequestError where the device has too few contexts.

    Kernels of a chain hold their contexts side by side. Those of an encoder take turns where they
    must, so only one kernel's contexts have to be open at once.
    """
    wanted, limit = strategy.columns, device.context_limit
    if isinstance(kernels, Chain):
        return kernels.columns(wanted, limit)
    return tuple(Chain((spec,)).columns(wanted, limit)[0] for spec in kernels.specs)


def open_kernels(
    device: Device, specs: Sequence[KernelSpec], columns: Sequence[int], computes: bool = True
) -> Backend:
    """The device, with the files of `specs` read.

    computes: as of `open_backend`. RequestError where they cannot be had.
    """
    backend = open_backend(device, *specs, computes=computes)
    for spec, width in zip(specs, columns, strict=True):
        backend.prepare(spec, width)
    return backend


def _look_up(workload: Workload, strategy: Strategy) -> Chain | Tiling:
    """The kernels of a workload; RequestError where one is missing, or they do not connect."""
    if isinstance(workload, FullEncoder):
        return load_tiling(workload.matmul, workload.attention, key="workload.")
    chain = make_chain([load_kernel(name) for name in workload.kernels], workload.chain_links)
    if strategy.resident:
        for buffer in (buffer for spec in chain.kernels for buffer in spec.inputs):
            buffer.varying_bytes  # noqa: B018 - raises where constants are mixed with the rest
    return chain


def _prepare_chain(plan: Plan, chain: Chain, backend: Backend) -> Prepared:
    """Tiles of the first kernel, and constants of the others."""
    config = plan.config
    tile_bytes = sum(spec.size_bytes for spec in chain.kernels)
    arguments = _tile_arguments(config, tile_bytes)
    tiles = make_chain_tiles(chain, config.workload.tiles, *arguments)
    audio = _audio(config.workload, tiles, encoder_tiles(chain.name, tiles.audio_s))
    passes = partial(TilePasses, config, chain, plan.columns, backend, tiles)
    return Prepared(config, plan.remarks, chain.name, backend, audio, tiles.host_ns, passes)


def _prepare_encoder(plan: Plan, tiling: Tiling, backend: Backend) -> Prepared:
    """Tiles of each kernel that the operations call; of one layer, its activations and weights."""
    config, workload = plan.config, plan.config.workload
    assert isinstance(workload, FullEncoder)  # only its kernels are a Tiling
    encoder = workload.encoder
    tile_bytes = max(spec.size_bytes for spec in tiling.specs)
    source, seed, now_ns, period = _tile_arguments(config, tile_bytes)
    tiles = {
        spec.name: make_tiles(spec.name, period, source, seed, now_ns, period)
        for spec in tiling.specs
    }  # as many as differ: more calls than these run
    first = tiles[tiling.matmul.name]
    if isinstance(workload, LayerWorkload):
        x = make_activations(encoder.frames, encoder.d_model, source, seed)
        weights = _weights(workload, seed)
        number = workload.number
        layer = partial(LayerPasses, config, backend, encoder, tiling, number, x, weights)
        audio, name = _audio(workload, first, None), f"{encoder.name} layer {number}"
        return Prepared(config, plan.remarks, name, backend, audio, first.host_ns, layer)
    calls = operations(encoder, tiling)
    windows = max(1, ceil(first.audio_s / encoder.audio_s))
    audio = _audio(workload, first, windows * sum(each.calls for each in calls))
    passes = partial(EncoderPasses, config, backend, calls, tiles)
    return Prepared(config, plan.remarks, encoder.name, backend, audio, first.host_ns, passes)


def _weights(workload: LayerWorkload, seed: int) -> dict[str, Int8]:
    """Of the layer that runs."""
    if workload.weights == "random":
        return make_weights(workload.encoder, seed)
    return load_weights(Path(workload.weights), workload.encoder)


def _tile_arguments(config: Config, tile_bytes: int) -> tuple[str, int, Callable[[], int], int]:
    """What `make_tiles` takes beside the kernel and the number of tiles.

    The last is how many differ.
    """
    workload, strategy = config.workload, config.strategy
    period = distinct_tiles(tile_bytes, strategy.slots * strategy.batch)
    return workload.source, config.seed, host_now_ns, period


def _audio(workload: Workload, tiles: Tiles, counted: float | None) -> Audio:
    """What the RTF counts, with `counted` tiles or calls for all of the audio."""
    host = host_ns(workload.host_ms, tiles.audio_s, tiles.host_ns)
    return Audio(tiles.audio_s, host, counted, workload.overlap_host)
