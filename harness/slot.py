"""A slot: the bos and prepared runs that one submission in flight occupies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.kernel import Bytes
from harness.session import FIRST_DATA_ARGUMENT, Session

ALIGNMENT_BYTES = 64
"""Tiles of a batch start on cache lines, so that syncing one never touches another."""


class Slot:
    """Bos for up to `batch` tiles on one column, and runs for each of the group sizes in `counts`.

    A group of one tile is a run; a larger one is a runlist over sub-buffers of the same bos.
    """

    def __init__(self, session: Session, column: int, batch: int, counts: Sequence[int]) -> None:
        self._session = session
        self._to_device, self._from_device = session.directions
        self.column = column
        self._batch = batch
        self._runs = {count: [session.prepare(column) for _ in range(count)] for count in counts}
        self._lists = {count: session.chain(runs, column) for count, runs in self._runs.items() if count > 1}
        buffers = (*session.spec.inputs, session.spec.output)
        self._sizes = [buffer.size_bytes for buffer in buffers]
        self._strides = [-(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for size in self._sizes]
        self._starts = {count: self._start(count) for count in counts}
        self._views: list[Bytes] = []
        self._syncs: list[Callable[[int, int, int], None]] = []
        self._bos: list[Any] = []
        self._windows: list[list[Any]] = []

    def _start(self, count: int) -> Callable[[], None]:
        start: Callable[[], None] = self._lists[count].execute if count > 1 else self._runs[count][0].start
        return start

    def allocate(self) -> None:
        """Give the slot fresh bos and bind its runs to them."""
        session, batch = self._session, self._batch
        self._views = []  # before their bos: a view of a freed bo dangles
        self._bos = [session.allocate(i, stride * batch, self.column) for i, stride in enumerate(self._strides)]
        self._syncs = [bo.sync for bo in self._bos]
        self._views = [
            np.frombuffer(bo.map(), np.uint8)[: batch * stride].reshape(batch, stride)[:, :size]
            for bo, size, stride in zip(self._bos, self._sizes, self._strides, strict=True)
        ]
        self._windows = [
            [session.window(bo, size, tile * stride) for tile in range(batch)] if batch > 1 else [bo]
            for bo, size, stride in zip(self._bos, self._sizes, self._strides, strict=True)
        ]
        for runs in self._runs.values():
            for tile, run in enumerate(runs):
                for argument, tiles in enumerate(self._windows):
                    run.set_arg(FIRST_DATA_ARGUMENT + argument, tiles[tile])

    def write(self, inputs: Sequence[Bytes]) -> None:
        """Stage in: copy (tiles, size_bytes) per input buffer into the bos and sync them to the device."""
        views, syncs, strides = self._views, self._syncs, self._strides
        for index, data in enumerate(inputs):
            count = len(data)
            views[index][:count] = data
            syncs[index](self._to_device, count * strides[index], 0)

    def poison(self, content: Bytes) -> None:
        """Fill the output bo's host and device copies with `content` (tiles, size_bytes)."""
        self._views[-1][: len(content)] = content
        self._syncs[-1](self._to_device, len(content) * self._strides[-1], 0)

    def launch(self, count: int) -> None:
        """Submit the slot's first `count` tiles."""
        self._starts[count]()

    def wait(self, count: int, patience: int = 1) -> None:
        """Wait for the submission of `count` tiles; DeviceError if it failed or took more than `patience` timeouts."""
        if count > 1:
            self._session.finish_list(self._lists[count])
        else:
            self._session.finish(self._runs[1][0], patience)

    def read(self, count: int) -> Bytes:
        """Collect: sync the output back; a view (count, size_bytes) valid until the slot is staged again."""
        self._syncs[-1](self._from_device, count * self._strides[-1], 0)
        return self._views[-1][:count]
