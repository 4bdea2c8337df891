"""The Python API: run experiments, read their records, and pass your own tiles through kernels.

The guide's `NPUEncoderBlock` and `PipelinedNPUExecutor` are `EncoderBlock` and `Pipeline` here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.config import compose as config
from harness.config.device import Device, Simulator
from harness.config.execution_time import figure_remark
from harness.config.strategy import Strategy
from harness.config.workload import BLOCK, BLOCK_LINKS, FUSED_BLOCK
from harness.device.backend import Session
from harness.errors import RequestError
from harness.execution.executor import Executor
from harness.execution.oracle import without_arithmetic
from harness.execution.prepare import deal_columns, open_kernels
from harness.inputs.arrays import groups_of, pack_constants, pack_tiles, specs_of
from harness.inputs.chain import Link, make_chain
from harness.inputs.tiles import Tiles
from harness.kernel import Array, Bytes, KernelSpec
from harness.measure.timeline import Timeline
from harness.results.record import Record

if TYPE_CHECKING:
    from pandas import DataFrame


def open_device(*overrides: str) -> Device:
    """The configuration of a device, from overrides as on the command line.

        open_device("device=hardware", "device.index=1")

    RequestError if the overrides are not valid.
    """
    return config.load("tracking=off", *overrides).device


def run(*overrides: str) -> Record:
    """Run one experiment as `harness run` does: verified, stored, tracked; returns its record.

        record = run("strategy=pipelined", "depth=3")
        print(record.verdict.value, record.metrics["time/tile_ms"])

    A failed experiment has a record too: see `record.ok`. RequestError for a wrong request. A
    warning reports what could not be stored. Prints nothing.
    """
    (record,) = _invoke(overrides)
    return record


def sweep(*overrides: str) -> list[Record]:
    """Run an experiment for every combination of values, as `harness -m`; returns the records.

        table = records(sweep("strategy=baseline,pipelined", "depth=2,3"))

    RequestError, warnings: as `run`.
    """
    return _invoke(overrides, "-m")


def records(source: str | Path | Iterable[Record] = "outputs") -> DataFrame:
    """Stored runs as a pandas DataFrame: knobs, settings, metrics and speed-ups by column.

        table = records("outputs")
        table[table.verdict == "OK"].pivot_table("time/tile_ms", "strategy.depth", "preset")

    source: a folder of runs, of a sweep or of one run, or records. Speed-ups are over the baseline
    of the same sweep, or among the records. `harness.results.frame.frame` lists the columns.
    RequestError for a folder without records.
    """
    from harness.commands.stored import load_runs
    from harness.commands.sweep_speedups import sweep_speedups
    from harness.results.frame import frame
    from harness.results.speedup import speedups

    if isinstance(source, str | Path):
        runs = load_runs([Path(source)])
        return frame(runs, sweep_speedups(runs))
    given = list(source)
    return frame([(record, None) for record in given], speedups(given))


def _invoke(overrides: Sequence[str], *flags: str) -> list[Record]:
    from harness.commands.notebook import invoke

    for text in overrides:
        if not isinstance(text, str):
            raise RequestError(f"{text!r}: not a text; give overrides: 'key=value'")
        if text.startswith("-"):
            raise RequestError(f"{text}: a flag; give overrides: key=value")
    return invoke([*flags, *overrides])


class Pipeline:
    """A chain of kernels on a device. Its contexts stay open until `close`.

        with Pipeline(["attention"], strategy=Strategy(depth=3)) as pipeline:
            outputs = pipeline.run([q, k, v])  # (tiles, 64, 64) int8 each
            print(pipeline.timeline.log())

    kernels: names and `KernelSpec` objects; on the simulator an object needs a `cost`. device: by
    default the simulated Phoenix; an override for `open_device` as a text, such as "device=cpu".
    strategy: by default depth 2. links: how a kernel takes the output of the kernel before it, by
    name of the kernel that takes it; by default the bytes must match exactly.

    If the device has too few contexts for `strategy.columns` columns of every kernel, the
    attribute `strategy` has the largest number of columns that any kernel has. RequestError if the
    kernels do not connect or the device cannot be opened; DeviceError if the device fails or no
    context is free.
    """

    def __init__(
        self,
        kernels: Sequence[str | KernelSpec],
        device: Device | str | None = None,
        strategy: Strategy | None = None,
        links: Mapping[str, Link] | None = None,
    ) -> None:
        specs, device = specs_of(kernels), _device_of(device)
        _check_times(device, specs)
        if not isinstance(strategy, Strategy | None):
            raise RequestError(f"strategy: given {strategy!r}, takes a Strategy")
        _check_links(links)
        # A pipeline that the caller never closes could not restore the mode.
        if mode := device.power_mode_to_hold:
            raise RequestError(
                f"device.power_mode={mode.value}: a pipeline does not change the "
                "power mode; set it by hand "
                f"(sudo xrt-smi configure --pmode {mode.value}) "
                "and leave device.power_mode out"
            )
        self.strategy = strategy or Strategy(depth=2)
        self.chain = make_chain(specs, links or {})
        self.timeline: Timeline | None = None
        self._stuck = False
        figures = filter(None, (figure_remark(device, spec) for spec in specs))
        for line in (*figures, *without_arithmetic(specs, device)):
            warnings.warn(line, stacklevel=2)
        columns = deal_columns(self.chain, self.strategy, device)
        self.strategy = replace(self.strategy, columns=max(columns))
        self._backend = open_kernels(device, self.chain.kernels, columns)
        self._sessions: list[Session] = []
        try:
            for spec, count in zip(self.chain.kernels, columns, strict=True):
                self._sessions.append(self._backend.open_session(spec, count, device.timeout_ms))
        # Also after Ctrl-C: open contexts count against the device's limit.
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the contexts, except those that a run in flight may use."""
        # Closing would destroy the run in flight, and XRT then aborts the process.
        for session in [] if self._stuck else self._sessions:
            session.close()
        self._sessions = []

    def run(self, inputs: Sequence[Array], constants: Sequence[Sequence[Array]] = ()) -> Any:
        """Run tiles through the chain; returns the last kernel's output, (tiles, *shape).

        A kernel with several output parts gives a tuple of such arrays. inputs: arrays
        (tiles, *shape), one for each varying part of the first kernel, in order. constants: for
        each kernel, arrays (*shape), one for each of its constant parts. Stores the spans of the
        pass in `timeline`. RequestError if types, shapes or dtypes do not fit, or the pipeline is
        closed; DeviceError if the device fails.
        """
        first, *others = self.chain.kernels
        self.timeline = None
        if not self._sessions:
            raise RequestError("this pipeline is closed; open another")
        of_first, *of_others = groups_of(constants, len(self.chain.kernels))
        packed = pack_tiles(first, inputs, of_first)
        later = tuple(
            pack_constants(spec, group) for spec, group in zip(others, of_others, strict=True)
        )
        if not len(packed[0]):
            return self._unpack(np.empty((0, self.chain.kernels[-1].output.size_bytes), np.uint8))
        # 0 s of audio: tiles of the caller have no RTF.
        return self._pass(Tiles(self.chain, packed, 0.0, 0, later), len(packed[0]))

    def _pass(self, tiles: Tiles, count: int) -> Any:
        """Run one pass and store its timeline; returns the unpacked outputs."""
        outputs = np.empty((count, tiles.spec.output.size_bytes), np.uint8)

        def sink(first: int, part: Bytes) -> None:
            outputs[first : first + len(part)] = part

        constants = tiles.constants_to_hold(self.strategy.resident)
        # New for each pass: the number of tiles decides the size of the last batch.
        executor = Executor(self._sessions, self.strategy, count, constants, self.chain.links)
        try:
            self.timeline = executor.run(tiles, sink).timeline()
        finally:
            # Frees the slots of this pass; the sessions stay open for the next one.
            self._stuck |= not executor.release()
        return self._unpack(outputs)

    def _unpack(self, outputs: Bytes) -> Any:
        arrays = self.chain.kernels[-1].output.unpack(outputs)
        return arrays[0] if len(arrays) == 1 else arrays


def _device_of(device: Device | str | None) -> Device:
    """The configuration of the device; RequestError for another type than those."""
    if device is None or isinstance(device, str):
        return open_device(*filter(None, [device]))
    if not isinstance(device, Device):
        raise RequestError(
            f"device: given {device!r}, takes the result of open_device, or an override as "
            "'device=cpu'"
        )
    return device


def _check_times(device: Device, specs: Sequence[KernelSpec]) -> None:
    """RequestError for a kernel whose time a simulator does not know."""
    if not isinstance(device, Simulator):
        return
    for spec in specs:
        if spec.cost is None and spec.name not in device.exec_ns:
            raise RequestError(
                f"kernel {spec.name}: the simulator has no time for it; give its KernelSpec "
                "cost=FixedCost(<nanoseconds>)"
            )


def _check_links(links: Mapping[str, Link] | None) -> None:
    if not isinstance(links, Mapping | None):
        raise RequestError(f"links: given {links!r}, takes a mapping from kernels to Link")
    for name, link in (links or {}).items():
        if not isinstance(link, Link):
            allowed = ", ".join(map(str, Link))
            raise RequestError(f"links[{name!r}]: given {link!r}, takes one of {allowed}")


class EncoderBlock(Pipeline):
    """The guide's encoder block: attention, layernorm, a 16x16 product with `weights`, GELU.

        with EncoderBlock(depth=3) as block:
            outputs = block.forward_batch(q, k, v, gamma, beta)  # (tiles, 512) int8

    The host copies the bytes between the kernels. weights: (16, 16) int8 in units of 1/32; by
    default the identity. fused: run two kernels instead of four, with the same outputs.
    """

    def __init__(
        self,
        weights: Array | None = None,
        *,
        device: Device | str | None = None,
        depth: int = 2,
        fused: bool = False,
    ) -> None:
        names, links = (FUSED_BLOCK, {}) if fused else (BLOCK, BLOCK_LINKS)
        super().__init__(names, device, Strategy(depth=depth), links)
        # 32 is 1.0 in units of 1/32.
        self._weights = np.eye(16, dtype=np.int8) * 32 if weights is None else weights
        self._fused = fused

    def forward(self, q: Array, k: Array, v: Array, gamma: Array, beta: Array) -> Array:
        """Run one tile: q, k, v (64, 64) and gamma, beta (256,) int8; returns (512,) int8."""
        # Other types than arrays get the error of `run`.
        q, k, v = (each[None] if isinstance(each, np.ndarray) else each for each in (q, k, v))
        one: Array = self.forward_batch(q, k, v, gamma, beta, batch_size=1)[0]
        return one

    def forward_batch(
        self, q: Array, k: Array, v: Array, gamma: Array, beta: Array, batch_size: int = 8
    ) -> Array:
        """Run tiles: q, k, v (tiles, 64, 64) int8; returns (tiles, 512) int8.

        batch_size: tiles per submission.
        """
        # A larger batch would allocate bos for tiles that do not exist.
        tiles = len(q) if np.ndim(q) else 1
        self.strategy = Strategy(depth=self.strategy.depth, batch=max(1, min(batch_size, tiles)))
        norm, product = (gamma, beta), (self._weights,)
        constants = (norm, product) if self._fused else ((), norm, product, ())
        outputs: Array = self.run((q, k, v), constants)
        return outputs
