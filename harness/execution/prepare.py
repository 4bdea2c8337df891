"""Prepares an experiment: looks up kernels, assigns contexts, opens the device, creates inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path

from harness.config.device import Device, Simulator
from harness.config.execution_time import check_columns, figure_remark
from harness.config.schema import Config, Verify
from harness.config.strategy import Strategy
from harness.config.workload import FullEncoder, LayerWorkload, Workload
from harness.device.backend import Backend
from harness.device.clock import host_now_ns
from harness.device.open import open_backend
from harness.execution.encoder_passes import EncoderPasses
from harness.execution.layer_passes import LayerPasses
from harness.execution.oracle import check_references, choose_verify, expected_of
from harness.execution.tile_passes import Passes, TilePasses
from harness.execution.trial import compute_expected, in_memory, inputs_of, try_references
from harness.execution.work import work_of
from harness.inputs.chain import Chain, make_chain
from harness.inputs.check import check_inputs
from harness.inputs.generate import (
    distinct_tiles,
    make_activations,
    make_chain_tiles,
    make_tiles,
)
from harness.inputs.tiles import Tiles
from harness.kernel import Int8, KernelSpec, hidden_by, load_kernel
from harness.measure.audio_accounting import encoder_tiles, host_ns
from harness.measure.metric import Work
from harness.measure.rtf import Audio
from harness.models.operations import operations
from harness.models.tiling import Tiling, load_tiling
from harness.models.weights import load_weights, make_weights


@dataclass(frozen=True)
class Plan:
    """A request with its kernels looked up and their contexts assigned.

    config: the effective configuration, after changes that the device or the workload requires.
    remarks: a line for each changed key. kernels: a chain of kernels, or the kernels that an
    encoder's operations are cut into. columns: number of columns of each kernel; a column is one
    context.
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
        """Open the device and the files of the kernels; RequestError if that fails."""
        # With verify=off nothing reads the outputs, so the simulator need not compute them.
        computes = self.config.verify is not Verify.off
        return open_kernels(self.config.device, self.specs, self.columns, computes)


@dataclass(frozen=True)
class PreparedRun:
    """A request with an open device and inputs.

    config, remarks: as in `Plan`. name: of the kernel, chain or encoder. audio: the audio that the
    RTF is about; measured_host_ns: measured time of its preprocessing. passes: opens contexts and
    returns the passes on them. work: of a tile; None for an encoder, whose calls differ.
    """

    config: Config
    remarks: tuple[str, ...]
    name: str
    backend: Backend
    audio: Audio
    measured_host_ns: int
    passes: Callable[[], Passes]
    work: Work | None = None


def preflight(config: Config) -> Config:
    """Check that an experiment could start; returns the configuration, else raises RequestError.

    Call it for every job of a sweep before the first job runs. A real NPU stays open and locked
    for this process.
    """
    workload = config.workload
    plan = make_plan(config)
    # A wrong file is reported before the first job of a sweep.
    draw, constants = inputs_of(config)
    check_inputs(plan.specs, workload.source, draw, constants)
    with in_memory(plan.specs):
        try_references(plan.config, plan.kernels)
    if isinstance(workload, LayerWorkload):
        _weights(workload, config.seed)
    plan.open()
    return config


def prepare(config: Config) -> PreparedRun:
    """Look up the kernels, open the device and create the inputs; RequestError if one fails."""
    plan = make_plan(config)
    backend = plan.open()
    with in_memory(plan.specs):
        try_references(plan.config, plan.kernels)
        if isinstance(plan.kernels, Chain):
            return _prepare_chain(plan, plan.kernels, backend)
        return _prepare_encoder(plan, plan.kernels, backend)


def make_plan(config: Config) -> Plan:
    """Look up the kernels of a request and assign contexts to them.

    RequestError if the kernels do not connect, or need more contexts than the device has.
    """
    workload, strategy = config.workload, config.strategy
    kernels = _look_up(workload, strategy)
    columns = deal_columns(kernels, strategy, config.device)
    plan = Plan(config, (), kernels, columns)
    remarks = [remark for spec in plan.specs if spec.own and (remark := hidden_by(spec.name))]
    remarks += filter(None, (figure_remark(config.device, spec) for spec in plan.specs))
    remarks += kernels.remarks if isinstance(kernels, Chain) else ()
    if max(columns) < strategy.columns:
        shares = ", ".join(
            f"{spec.name} {each}" for spec, each in zip(plan.specs, columns, strict=True)
        )
        remarks.append(
            f"strategy.columns={strategy.columns}: needs a context for each kernel on each column, "
            f"and the device has {config.device.context_limit}; "
            f"columns by the kernels' work: {shares}"
        )
        strategy = replace(strategy, columns=max(columns))
    submissions = ceil(workload.tiles / strategy.batch)
    if submissions < strategy.columns and not isinstance(workload, FullEncoder | LayerWorkload):
        remarks.append(
            f"strategy.columns={strategy.columns}: there is work for only {submissions}, because "
            f"workload.tiles={workload.tiles} with strategy.batch={strategy.batch} has "
            f"{submissions} submission{'s' * (submissions > 1)}"
        )
    if isinstance(workload, FullEncoder) and strategy.resident:
        remarks.append(
            "strategy.resident=true has no effect: with full accounting every call has other "
            "weights, so whole buffers are written and synced"
        )
        strategy = replace(strategy, resident=False)
    if isinstance(workload, FullEncoder) and workload.fused:
        remarks.append(
            "workload.fused=true has no effect: with full accounting a matrix product is the sum "
            "of many calls, so the next kernel cannot be fused with one of them"
        )
        # Changed, not only ignored: the record then has what was run.
        workload = replace(workload, fused=False)
    if isinstance(workload, LayerWorkload):
        check_references(plan.specs, f"workload.layer={workload.layer}")
    verify, lines = choose_verify(config.verify, plan.specs, config.device)
    remarks += lines
    effective = replace(config, workload=workload, strategy=strategy, verify=verify)
    return replace(plan, config=effective, remarks=tuple(remarks))


def deal_columns(kernels: Chain | Tiling, strategy: Strategy, device: Device) -> tuple[int, ...]:
    """Number of columns of each kernel; a column is one context.

    All kernels of a chain have their contexts open at the same time. Kernels of an encoder take
    turns if necessary, so the contexts of a single kernel must fit. RequestError if the device has
    too few contexts, or too few columns for the simulated times of kernels that use several.
    """
    columns, limit = strategy.columns, device.context_limit
    if isinstance(kernels, Chain):
        dealt = kernels.columns(columns, limit)
        if isinstance(device, Simulator):
            check_columns(device, kernels.kernels, dealt)
        return dealt
    return tuple(Chain((spec,)).columns(columns, limit)[0] for spec in kernels.specs)


def open_kernels(
    device: Device, specs: Sequence[KernelSpec], columns: Sequence[int], computes: bool = True
) -> Backend:
    """Open the device and the files of `specs`; RequestError if that fails.

    computes: as in `open_backend`.
    """
    backend = open_backend(device, *specs, computes=computes)
    for spec, count in zip(specs, columns, strict=True):
        backend.prepare(spec, count)
    return backend


def _look_up(workload: Workload, strategy: Strategy) -> Chain | Tiling:
    """The kernels of a workload; RequestError if one is missing, or if they do not connect."""
    if isinstance(workload, FullEncoder):
        return load_tiling(workload.matmul, workload.attention, key="workload.")
    chain = make_chain([load_kernel(name) for name in workload.kernels], workload.chain_links)
    if strategy.resident:
        for buffer in (buffer for spec in chain.kernels for buffer in spec.inputs):
            # Raises RequestError if constant parts are not behind the varying ones.
            buffer.varying_bytes  # noqa: B018
    return chain


def _prepare_chain(plan: Plan, chain: Chain, backend: Backend) -> PreparedRun:
    """Prepare passes over tiles of the first kernel, with constants for the other kernels."""
    config = plan.config
    tile_bytes = sum(spec.size_bytes for spec in chain.kernels)
    arguments = _tile_arguments(config, tile_bytes)
    draw, constants = inputs_of(config)
    between = config.strategy.slots * config.strategy.batch
    tiles = make_chain_tiles(
        chain,
        config.workload.tiles,
        *arguments,
        draw=draw,
        constants=constants,
        between=between,
    )
    audio = _audio(config.workload, tiles, encoder_tiles(chain.name, tiles.audio_s))
    expected = expected_of(tiles, config.verify)
    compute_expected(expected, config.verify)
    passes = partial(TilePasses, config, chain, plan.columns, backend, tiles, expected)
    remarks = (*plan.remarks, *tiles.remarks)
    work = work_of(chain, config.device, config.strategy.resident)
    return PreparedRun(config, remarks, chain.name, backend, audio, tiles.host_ns, passes, work)


def _prepare_encoder(plan: Plan, tiling: Tiling, backend: Backend) -> PreparedRun:
    """Prepare passes over an encoder's operations, or over one of its layers with real data."""
    config, workload = plan.config, plan.config.workload
    # `_look_up` returns a Tiling for no other workload.
    assert isinstance(workload, FullEncoder)
    encoder = workload.encoder
    # All kernels get the same number of distinct tiles, so the largest one decides.
    tile_bytes = max(spec.size_bytes for spec in tiling.specs)
    source, seed, now_ns, period = _tile_arguments(config, tile_bytes)
    # Distinct tiles only: calls beyond the period use them again.
    tiles = {
        spec.name: make_tiles(spec.name, period, source, seed, now_ns, period)
        for spec in tiling.specs
    }
    first = tiles[tiling.matmul.name]
    columns = {spec.name: each for spec, each in zip(plan.specs, plan.columns, strict=True)}
    if isinstance(workload, LayerWorkload):
        x = make_activations(encoder.frames, encoder.d_model, source, seed)
        weights = _weights(workload, seed)
        number = workload.number
        layer = partial(LayerPasses, config, backend, columns, encoder, tiling, number, x, weights)
        audio, name = _audio(workload, first, None), f"{encoder.name} layer {number}"
        return PreparedRun(config, plan.remarks, name, backend, audio, first.host_ns, layer)
    calls = operations(encoder, tiling)
    # Whisper pads the last window to 30 s.
    windows = max(1, ceil(first.audio_s / encoder.audio_s))
    audio = _audio(workload, first, windows * sum(each.calls for each in calls))
    expected = {name: expected_of(each, config.verify) for name, each in tiles.items()}
    for each in expected.values():
        compute_expected(each, config.verify)
    passes = partial(EncoderPasses, config, backend, columns, calls, tiles, expected)
    return PreparedRun(config, plan.remarks, encoder.name, backend, audio, first.host_ns, passes)


def _weights(workload: LayerWorkload, seed: int) -> dict[str, Int8]:
    """The weights of the layer, by name: random ones, or those in a file."""
    if workload.weights == "random":
        return make_weights(workload.encoder, seed)
    return load_weights(Path(workload.weights), workload.encoder)


def _tile_arguments(config: Config, tile_bytes: int) -> tuple[str, int, Callable[[], int], int]:
    """The last four arguments of `make_tiles`: source, seed, clock and number of distinct tiles."""
    workload, strategy = config.workload, config.strategy
    period = distinct_tiles(tile_bytes, strategy.slots * strategy.batch)
    return workload.source, config.seed, host_now_ns, period


def _audio(workload: Workload, tiles: Tiles, counted: float | None) -> Audio:
    """The audio that the RTF is about; counted: tiles or calls that encode all of it."""
    host = host_ns(workload.host_ms, tiles.audio_s, tiles.host_ns)
    return Audio(tiles.audio_s, host, counted, workload.overlap_host)
