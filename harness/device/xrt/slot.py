"""A slot: the bos and prepared runs that one submission in flight occupies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.device.xrt.failures import XRT_ERRORS, call_failed
from harness.device.xrt.pyxrt_api import Bo, Run
from harness.kernel import FIRST_DATA_ARGUMENT, LINE_BYTES, Buffer, Bytes

if TYPE_CHECKING:
    from harness.device.xrt.backend import XrtBackend
    from harness.device.xrt.session import XrtSession

Action = Callable[[], None]


@dataclass(frozen=True, slots=True)
class XrtSubmission:
    """Some number of tiles in a slot; Protocol: `harness.device.backend.Submission`. Its steps are ready to be called.

    collect: sync from the device. reset: sync of the output bo to the device. run: the single run, which can be looked
    at; None of a runlist, which cannot.
    """

    stage: Callable[[Sequence[Any]], None]
    launch: Action
    wait: Callable[[int], None]
    collect: Action
    outputs: Bytes
    reset: Action
    run: Run | None = None

    def poison(self, content: Bytes) -> None:
        """Fill the output bo's host and device copies with `content` (tiles, size_bytes)."""
        self.outputs[:] = content
        self.reset()


class XrtSlot:
    """Bos for up to `batch` tiles on one column, and a submission for each of the sizes in `counts`.

    A submission of one tile is a run; a larger one is a runlist over sub-buffers of the same bos. constants: per input
    buffer, the bytes of its constant parts, which `allocate` sends once: then a submission stages what varies only, as
    (tiles, varying_bytes) arrays, and nothing of buffers that do not. Without it, whole flat buffers.
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
            self._runs = {
                count: [session.prepare(column) for _ in range(count)] for count in counts
            }
            self._submit = {count: self._launcher(runs) for count, runs in self._runs.items()}
        self._bos: list[Bo] = []
        self._sub_buffers: list[list[Bo]] = []
        self._stuck = False
        self.submissions: dict[int, XrtSubmission] = {}

    def _launcher(self, runs: list[Run]) -> tuple[Action, Callable[[int], None]]:
        """What launches prepared runs, and what waits for them."""
        session = self._session
        if len(runs) > 1:
            return session.batch(runs, self._column)
        return session.backend.guarded(runs[0].start), session.waiter(runs[0])

    def allocate(self) -> None:
        """Give the slot fresh bos and bind its runs to them; `submissions` are made anew."""
        self.submissions = {}  # before the bos: a view of a freed bo dangles
        with self._session.backend.calls():
            self._allocate()

    def _allocate(self) -> None:
        session, batch = self._session, self._batch
        buffers = (*session.spec.inputs, session.spec.output)
        self._bos = [
            session.allocate(i, each.stride_bytes * batch, self._column)
            for i, each in enumerate(buffers)
        ]
        self._sub_buffers = [
            [
                session.sub_buffer(bo, each.size_bytes, tile * each.stride_bytes)
                for tile in range(batch)
            ]
            if batch > 1
            else [bo]
            for bo, each in zip(self._bos, buffers, strict=True)
        ]
        for bo, buffer, constants in zip(
            self._bos, session.spec.inputs, self._constants or (), strict=False
        ):
            tiles = np.frombuffer(bo.map(), np.uint8).reshape(batch, -1)
            tiles[:, buffer.varying_bytes : buffer.size_bytes] = constants
            bo.sync(session.directions[0])
        for count, runs in self._runs.items():
            for tile, run in enumerate(runs):
                for argument, sub_buffers in enumerate(self._sub_buffers):
                    run.set_arg(FIRST_DATA_ARGUMENT + argument, sub_buffers[tile])
            self.submissions[count] = self._submission(count)

    def keep(self) -> None:
        """Keep what is in the slot for ever: a run of it may be in flight."""
        self._stuck = True
        self._session.backend.devices.never_drop((self, self._session), self._session.spec.name)

    def close(self) -> bool:
        """Free everything, views before bos before runs; returns whether it is kept instead."""
        if not self._stuck:
            self.submissions = {}
            self._sub_buffers, self._bos = [], []
            self._submit, self._runs = {}, {}
        return self._stuck

    def _submission(self, count: int) -> XrtSubmission:
        session, spec, bos = self._session, self._session.spec, self._bos
        to_device, from_device = session.directions
        launch, wait = self._submit[count]
        output_span = () if count == self._batch else (spec.output.stride_bytes * count, 0)
        output = bos[-1].map()[: spec.output.stride_bytes * count]
        targets = [
            each
            for bo, buffer in zip(bos, spec.inputs, strict=False)
            for each in self._targets(bo, buffer, count)
        ]

        guarded = session.backend.guarded
        return XrtSubmission(
            stage=_stager(targets, session.backend),
            launch=launch,
            wait=wait,
            collect=guarded(partial(bos[-1].sync, from_device, *output_span)),
            outputs=np.frombuffer(output, np.uint8).reshape(count, -1)[:, : spec.output.size_bytes],
            reset=guarded(partial(bos[-1].sync, to_device, *output_span)),
            run=self._runs[count][0] if count == 1 else None,
        )

    def _targets(self, bo: Bo, buffer: Buffer, count: int) -> list[tuple[Any, Action]]:
        """What to fill of `count` tiles' part of an input bo, and its sync; nothing where all of it is constant."""
        to_device, size_bytes = self._session.directions[0], buffer.stride_bytes * count
        view = bo.map()[:size_bytes]
        if self._constants is None:
            span = () if count == self._batch else (size_bytes, 0)
            return [(view, partial(bo.sync, to_device, *span))]
        if not buffer.varying_bytes:
            return []
        changed_bytes = size_bytes - buffer.stride_bytes + buffer.varying_bytes
        changed_bytes = -(-changed_bytes // LINE_BYTES) * LINE_BYTES
        tiles = np.frombuffer(view, np.uint8).reshape(count, -1)[:, : buffer.varying_bytes]
        return [(tiles, partial(bo.sync, to_device, changed_bytes, 0))]


def _stager(
    targets: list[tuple[Any, Action]], backend: XrtBackend
) -> Callable[[Sequence[Any]], None]:
    """What fills and syncs each of `targets`; a single one, as most kernels have, without a loop, which costs time."""

    def stage_all(data: Sequence[Any]) -> None:
        try:
            for (target, sync), content in zip(targets, data, strict=True):
                target[:] = content
                sync()
        except XRT_ERRORS as error:
            raise call_failed(error, backend.devices.unended) from error

    if len(targets) != 1:
        return stage_all
    ((only_target, only_sync),) = targets

    def stage_one(data: Sequence[Any]) -> None:
        (content,) = data
        only_target[:] = content
        try:
            only_sync()
        except XRT_ERRORS as error:
            raise call_failed(error, backend.devices.unended) from error

    return stage_one
