"""A slot: the bos and prepared runs that one submission in flight occupies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.device.xrt.failures import XRT_ERRORS, call_error
from harness.device.xrt.pyxrt_api import Bo, Run
from harness.kernel import LINE_BYTES, Buffer, Bytes

if TYPE_CHECKING:
    from harness.device.xrt.backend import XrtBackend
    from harness.device.xrt.session import XrtSession

Action = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Output:
    """One output bo of a submission.

    view: its host copy, (tiles, size_bytes). span: its bytes in a row of `XrtSubmission.outputs`.
    read, write: sync from and to the device. is_input: whether the kernel also reads it.
    """

    view: Bytes
    span: slice
    read: Action
    write: Action
    is_input: bool


@dataclass(frozen=True, slots=True)
class XrtSubmission:
    """A fixed number of tiles in a slot; implements `harness.device.backend.Submission`.

    Its steps are prepared functions, so that the timed loop only calls them. collect: sync of the
    output bos from the device. outputs: a view of the only output bo, else a copy of all, which
    `collect` writes. run: the run, whose state can be checked; None for a runlist, which has no
    state.
    """

    stage: Callable[[Sequence[Any]], None]
    launch: Action
    wait: Callable[[int], None]
    collect: Action
    outputs: Bytes
    output_bos: tuple[Output, ...]
    run: Run | None = None

    def poison(self, content: Bytes) -> None:
        """Fill both copies of the output bos with `content`; an inout bo keeps its input."""
        for each in self.output_bos:
            if not each.is_input:
                each.view[:] = content[:, each.span]
                each.write()


class XrtSlot:
    """Bos for up to `batch` tiles on one column, with one submission for each size in `counts`.

    A submission of one tile is a run; a larger one is a runlist over sub-buffers of the same bos.

    constants: bytes of the constant parts, one array per input buffer. `allocate` sends them once;
    `stage` then takes only the varying parts, (tiles, varying_bytes) uint8, of the buffers that
    have any. Without constants, `stage` takes whole flat buffers.
    """

    def __init__(
        self,
        session: XrtSession,
        column: int,
        batch: int,
        counts: Sequence[int],
        constants: Sequence[Bytes] | None = None,
    ) -> None:
        self._session = session
        self._column = column
        self._batch = batch
        self._constants = constants
        with session.backend.calls():
            # Separate runs for each size, because a run can belong to one runlist only.
            self._runs = {
                count: [session.prepare(column) for _ in range(count)] for count in counts
            }
            self._submit = {count: self._launcher(runs) for count, runs in self._runs.items()}
        self._bos: list[Bo] = []
        self._sub_buffers: list[list[Bo]] = []
        self._stuck = False
        self.submissions: dict[int, XrtSubmission] = {}

    def _launcher(self, runs: list[Run]) -> tuple[Action, Callable[[int], None]]:
        """Functions that launch prepared runs, and that wait for them."""
        session = self._session
        if len(runs) > 1:
            return session.batch(runs, self._column)
        return session.backend.guard(runs[0].start), session.waiter(runs[0])

    def allocate(self) -> None:
        """Allocate new bos, bind the runs to them, and replace `submissions`."""
        # Submissions hold views of the old bos. The executor drops its own references to them when
        # it takes the new ones.
        self.submissions = {}
        with self._session.backend.calls():
            self._allocate()

    def _allocate(self) -> None:
        session, batch = self._session, self._batch
        spec, buffers = session.spec, session.spec.buffers
        self._bos = [
            session.allocate(index, each.stride_bytes * batch, self._column)
            for index, each in zip(spec.indices, buffers, strict=True)
        ]
        self._sub_buffers = []
        for bo, each in zip(self._bos, buffers, strict=True):
            tile_bos = [bo]
            if batch > 1:
                offsets = range(0, batch * each.stride_bytes, each.stride_bytes)
                tile_bos = [session.sub_buffer(bo, each.size_bytes, at) for at in offsets]
            self._sub_buffers.append(tile_bos)
        for (bo, buffer), constants in zip(self._inputs(), self._constants or (), strict=False):
            tiles = np.frombuffer(bo.map(), np.uint8).reshape(batch, -1)
            tiles[:, buffer.varying_bytes : buffer.size_bytes] = constants
            bo.sync(session.directions[0])
        for count, runs in self._runs.items():
            for tile, run in enumerate(runs):
                for index, sub_buffers in zip(spec.indices, self._sub_buffers, strict=True):
                    run.set_arg(index, sub_buffers[tile])
            self.submissions[count] = self._submission(count)

    def keep(self) -> None:
        """Never free the bos and runs, because a run may still be in flight."""
        self._stuck = True
        self._session.backend.devices.never_drop((self, self._session), self._session.spec.name)

    def close(self) -> bool:
        """Free views, then bos, then runs, unless `keep` was called; returns whether it was."""
        if not self._stuck:
            self.submissions = {}
            self._sub_buffers, self._bos = [], []
            self._submit, self._runs = {}, {}
        return self._stuck

    def _inputs(self) -> list[tuple[Bo, Buffer]]:
        """The bos that the host writes, in the order of the arguments."""
        pairs = zip(self._bos, self._session.spec.buffers, strict=True)
        return [(bo, buffer) for bo, buffer in pairs if buffer.is_input]

    def _submission(self, count: int) -> XrtSubmission:
        session = self._session
        launch, wait = self._submit[count]
        targets = [
            each for bo, buffer in self._inputs() for each in self._targets(bo, buffer, count)
        ]
        output_bos = self._outputs(count)
        outputs, collect = output_bos[0].view, output_bos[0].read
        if len(output_bos) > 1:
            outputs = np.zeros((count, session.spec.output.size_bytes), np.uint8)
            collect = _joiner(output_bos, outputs)
        return XrtSubmission(
            stage=_stager(targets, session.backend),
            launch=launch,
            wait=wait,
            collect=collect,
            outputs=outputs,
            output_bos=output_bos,
            # amdxdna writes the end state of a runlist into the packet of its chain only: with XRT
            # 2.25 the members stay NEW.
            run=self._runs[count][0] if count == 1 else None,
        )

    def _outputs(self, count: int) -> tuple[Output, ...]:
        """The output bos for `count` tiles, in the order of the arguments."""
        to_device, from_device = self._session.directions
        guard, outputs, begin = self._session.backend.guard, list[Output](), 0
        for bo, buffer in zip(self._bos, self._session.spec.buffers, strict=True):
            if not buffer.is_output:
                continue
            size_bytes, end = buffer.stride_bytes * count, begin + buffer.size_bytes
            # A whole bo needs no span: XRT's shorter form of sync, with two arguments less to
            # convert.
            part = () if count == self._batch else (size_bytes, 0)
            # A view, so that reading the outputs copies nothing.
            rows = np.frombuffer(bo.map()[:size_bytes], np.uint8).reshape(count, -1)
            outputs.append(
                Output(
                    view=rows[:, : buffer.size_bytes],
                    span=slice(begin, end),
                    read=guard(partial(bo.sync, from_device, *part)),
                    write=guard(partial(bo.sync, to_device, *part)),
                    is_input=buffer.is_input,
                )
            )
            begin = end
        return tuple(outputs)

    def _targets(self, bo: Bo, buffer: Buffer, count: int) -> list[tuple[Any, Action]]:
        """Views of an input bo to fill for `count` tiles, each with its sync.

        One view, or none if the whole buffer is constant. The sync with constants covers cache
        lines from the first tile's begin to the end of the last tile's varying bytes.
        """
        to_device, size_bytes = self._session.directions[0], buffer.stride_bytes * count
        view = bo.map()[:size_bytes]
        if self._constants is None:
            span = () if count == self._batch else (size_bytes, 0)
            return [(view, partial(bo.sync, to_device, *span))]
        if not buffer.varying_bytes:
            return []
        changed_bytes = size_bytes - buffer.stride_bytes + buffer.varying_bytes
        # A stride is whole cache lines, so this does not reach beyond the last tile.
        changed_bytes = -(-changed_bytes // LINE_BYTES) * LINE_BYTES
        tiles = np.frombuffer(view, np.uint8).reshape(count, -1)[:, : buffer.varying_bytes]
        return [(tiles, partial(bo.sync, to_device, changed_bytes, 0))]


def _joiner(output_bos: Sequence[Output], outputs: Bytes) -> Action:
    """A function that syncs several output bos and copies them into `outputs`."""

    def collect() -> None:
        for each in output_bos:
            each.read()
            outputs[:, each.span] = each.view

    return collect


def _stager(
    targets: list[tuple[Any, Action]], backend: XrtBackend
) -> Callable[[Sequence[Any]], None]:
    """A function that fills and syncs each of `targets`.

    Most kernels have one input buffer; for them it avoids the loop, whose time would be measured.
    """

    def stage_all(data: Sequence[Any]) -> None:
        try:
            for (target, sync), content in zip(targets, data, strict=True):
                target[:] = content
                sync()
        except XRT_ERRORS as error:
            raise call_error(error, backend.devices.stuck_kernels) from error

    if len(targets) != 1:
        return stage_all
    ((only_target, only_sync),) = targets

    def stage_one(data: Sequence[Any]) -> None:
        (content,) = data
        only_target[:] = content
        try:
            only_sync()
        except XRT_ERRORS as error:
            raise call_error(error, backend.devices.stuck_kernels) from error

    return stage_one
