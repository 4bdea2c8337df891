"""A slot: the bos and prepared runs that one submission in flight occupies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from harness.image import FIRST_DATA_ARGUMENT
from harness.kernel import Bytes
from harness.session import Session, never_drop

Step = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Group:
    """What a slot does with a group of some number of tiles, ready to be called: its steps are timed.

    stage: per input buffer, the bytes to fill and the sync to the device. wait: takes a number of timeouts. outputs:
    (tiles, size_bytes), valid from `collect`, the sync from the device, until the slot is staged again. reset: sync
    of the output bo to the device.
    """

    stage: Sequence[tuple[memoryview, Step]]
    launch: Step
    wait: Callable[[int], None]
    collect: Step
    outputs: Bytes
    reset: Step

    def poison(self, content: Bytes) -> None:
        """Fill the output bo's host and device copies with `content` (tiles, size_bytes)."""
        self.outputs[:] = content
        self.reset()


class Slot:
    """Bos for up to `batch` tiles on one column, and a `Group` for each of the sizes in `counts`.

    A group of one tile is a run; a larger one is a runlist over sub-buffers of the same bos.
    """

    def __init__(self, session: Session, column: int, batch: int, counts: Sequence[int]) -> None:
        self._session = session
        self._column = column
        self._batch = batch
        self._runs = {count: [session.prepare(column) for _ in range(count)] for count in counts}
        self._submit = {
            count: session.chain(runs, column) if count > 1 else (runs[0].start, session.waiter(runs[0]))
            for count, runs in self._runs.items()
        }
        self._bos: list[Any] = []
        self._windows: list[list[Any]] = []
        self._kept = False
        self.groups: dict[int, Group] = {}

    def allocate(self) -> None:
        """Give the slot fresh bos and bind its runs to them; `groups` are made anew."""
        session, batch = self._session, self._batch
        buffers = (*session.spec.inputs, session.spec.output)
        self.groups = {}  # before the bos: a view of a freed bo dangles
        self._bos = [session.allocate(i, each.stride_bytes * batch, self._column) for i, each in enumerate(buffers)]
        self._windows = [
            [session.window(bo, each.size_bytes, tile * each.stride_bytes) for tile in range(batch)]
            if batch > 1
            else [bo]
            for bo, each in zip(self._bos, buffers, strict=True)
        ]
        for count, runs in self._runs.items():
            for tile, run in enumerate(runs):
                for argument, tiles in enumerate(self._windows):
                    run.set_arg(FIRST_DATA_ARGUMENT + argument, tiles[tile])
            self.groups[count] = self._group(count, [each.stride_bytes * count for each in buffers])

    def keep(self) -> None:
        """Keep what is in the slot for ever: a run of it may be in flight."""
        self._kept = True
        never_drop((self, self._session), self._session.spec.name)

    def close(self) -> bool:
        """Let go of everything, views before bos before runs; returns whether the slot is kept instead."""
        if not self._kept:
            self.groups = {}
            self._windows, self._bos = [], []
            self._submit, self._runs = {}, {}
        return self._kept

    def _group(self, count: int, sizes: list[int]) -> Group:
        session, bos, whole = self._session, self._bos, count == self._batch
        to_device, from_device = session.directions
        spans = [() if whole else (size, 0) for size in sizes]
        stage = [
            (bo.map()[:size], partial(bo.sync, to_device, *span))
            for bo, size, span in zip(bos, sizes, spans, strict=True)
        ]
        output, reset = stage.pop()
        launch, wait = self._submit[count]
        return Group(
            stage=stage,
            launch=launch,
            wait=wait,
            collect=partial(bos[-1].sync, from_device, *spans[-1]),
            outputs=np.frombuffer(output, np.uint8).reshape(count, -1)[:, : session.spec.output.size_bytes],
            reset=reset,
        )
