"""A slot: the bos and prepared runs that one submission in flight occupies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from harness.device.xrt.open_kernel import FIRST_DATA_ARGUMENT
from harness.device.xrt.session import Session, never_drop
from harness.kernel import LINE_BYTES, Buffer, Bytes

Action = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Group:
    """What a slot does with a group of some number of tiles, ready to be called: its steps are timed.

    stage: per input buffer, what to fill and the sync to the device. wait: takes a number of timeouts. outputs:
    (tiles, size_bytes), valid from `collect`, the sync from the device, until the slot is staged again. reset: sync
    of the output bo to the device. run: the single run, which can be looked at; None of a runlist, which cannot.
    """

    stage: Sequence[tuple[Any, Action]]
    launch: Action
    wait: Callable[[int], None]
    collect: Action
    outputs: Bytes
    reset: Action
    run: Any | None = None

    def poison(self, content: Bytes) -> None:
        """Fill the output bo's host and device copies with `content` (tiles, size_bytes)."""
        self.outputs[:] = content
        self.reset()


class Slot:
    """Bos for up to `batch` tiles on one column, and a `Group` for each of the sizes in `counts`.

    A group of one tile is a run; a larger one is a runlist over sub-buffers of the same bos. constants: per input
    buffer, the bytes of its constant parts, which `allocate` sends once: then a group stages what varies only, as
    (tiles, varying_bytes) arrays, and nothing of buffers that do not. Without it, whole flat buffers.
    """

    def __init__(
        self,
        session: Session,
        column: int,
        batch: int,
        counts: Sequence[int],
        constants: Sequence[Bytes] | None = None,
    ) -> None:
        self._session = session
        self._column = column
        self._batch = batch
        self._constants = constants
        self._runs = {count: [session.prepare(column) for _ in range(count)] for count in counts}
        self._submit = {
            count: session.chain(runs, column)
            if count > 1
            else (runs[0].start, session.waiter(runs[0]))
            for count, runs in self._runs.items()
        }
        self._bos: list[Any] = []
        self._sub_buffers: list[list[Any]] = []
        self._kept = False
        self.groups: dict[int, Group] = {}

    def allocate(self) -> None:
        """Give the slot fresh bos and bind its runs to them; `groups` are made anew."""
        session, batch = self._session, self._batch
        buffers = (*session.spec.inputs, session.spec.output)
        self.groups = {}  # before the bos: a view of a freed bo dangles
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
            self.groups[count] = self._group(count)

    def keep(self) -> None:
        """Keep what is in the slot for ever: a run of it may be in flight."""
        self._kept = True
        never_drop((self, self._session), self._session.spec.name)

    def close(self) -> bool:
        """Let go of everything, views before bos before runs; returns whether the slot is kept instead."""
        if not self._kept:
            self.groups = {}
            self._sub_buffers, self._bos = [], []
            self._submit, self._runs = {}, {}
        return self._kept

    def _group(self, count: int) -> Group:
        session, spec, bos = self._session, self._session.spec, self._bos
        to_device, from_device = session.directions
        launch, wait = self._submit[count]
        output_span = () if count == self._batch else (spec.output.stride_bytes * count, 0)
        output = bos[-1].map()[: spec.output.stride_bytes * count]
        single = self._runs[count][0] if count == 1 else None
        return Group(
            stage=[
                each
                for bo, buffer in zip(bos, spec.inputs, strict=False)
                for each in self._staged(bo, buffer, count)
            ],
            launch=launch,
            wait=wait,
            collect=partial(bos[-1].sync, from_device, *output_span),
            outputs=np.frombuffer(output, np.uint8).reshape(count, -1)[:, : spec.output.size_bytes],
            reset=partial(bos[-1].sync, to_device, *output_span),
            run=single,
        )

    def _staged(self, bo: Any, buffer: Buffer, count: int) -> list[tuple[Any, Action]]:
        """How `count` tiles' part of an input bo is filled and sent; nothing where it holds constants only."""
        to_device, size_bytes = self._session.directions[0], buffer.stride_bytes * count
        view = bo.map()[:size_bytes]
        if self._constants is None:
            span = () if count == self._batch else (size_bytes, 0)
            return [(view, partial(bo.sync, to_device, *span))]
        if not buffer.varying_bytes:
            return []
        changed_bytes = (
            -(-(size_bytes - buffer.stride_bytes + buffer.varying_bytes) // LINE_BYTES) * LINE_BYTES
        )
        tiles = np.frombuffer(view, np.uint8).reshape(count, -1)[:, : buffer.varying_bytes]
        return [(tiles, partial(bo.sync, to_device, changed_bytes, 0))]
