"""Runs and runlists, as pyxrt has them, and what an execution does to memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.kernel import Bytes
from harness.sim.buffers import bo
from harness.sim.enums import ert_cmd_state
from harness.sim.machine import Context
from harness.sim.memory import UNDEFINED
from harness.sim.platform import FIRST_DATA_ARGUMENT, hw_context, kernel

_NEW, _COMPLETED = ert_cmd_state.ERT_CMD_STATE_NEW, ert_cmd_state.ERT_CMD_STATE_COMPLETED
_NEVER_NS = 1 << 62


class run:
    """One prepared execution of a kernel: bound to its arguments once, started many times."""

    def __init__(self, of: kernel) -> None:
        self._kernel = of
        self._machine = of._machine
        self._context: Context = of._hw_context._context
        self._bos: list[bo | None] = [None] * (len(of._image.spec.inputs) + 1)
        self._visible_ns = _NEVER_NS
        self._in_list = False

    def set_arg(self, index: int, value: Any) -> None:
        """Bind argument `index`."""
        if not 0 <= index < FIRST_DATA_ARGUMENT + len(self._bos):
            raise RuntimeError(f"No such argument index '{index}'")
        if index >= FIRST_DATA_ARGUMENT:
            self._bos[index - FIRST_DATA_ARGUMENT] = value

    def start(self) -> None:
        """Submit; blocks while the context's queue is full."""
        if self._in_list:
            raise RuntimeError("Run object belongs to a runlist and cannot be explicitly started")
        if self._machine.now_ns < self._visible_ns < _NEVER_NS:
            raise RuntimeError("bad command state, can't launch")
        self._machine.advance(self._machine.profile.launch_ns)
        self._visible_ns = self._context.submit(self._kernel._exec_ns, 1, _effects(self))

    def state(self) -> ert_cmd_state:
        """NEW until the completion is visible, as on amdxdna."""
        return _COMPLETED if self._visible_ns <= self._machine.now_ns else _NEW

    def wait(self, timeout_ms: int = 0) -> ert_cmd_state:
        """Wait for completion, or `timeout_ms` if that is not 0; returns ERT_CMD_STATE_TIMEOUT after that."""
        until_ns = self._visible_ns
        if timeout_ms:
            until_ns = min(until_ns, self._machine.now_ns + timeout_ms * 1_000_000)
        self._machine.advance_to(until_ns)
        state = self.state()
        return state if state is _COMPLETED else ert_cmd_state.ERT_CMD_STATE_TIMEOUT


class runlist:
    """Runs submitted together, in order, as chains of commands."""

    def __init__(self, context: hw_context) -> None:
        self._machine = context._machine
        self._context = context._context
        self._runs: list[run] = []
        self._visible_ns = 0

    def add(self, member: run) -> None:
        """Append a run; it can no longer be started on its own."""
        member._in_list = True
        self._runs.append(member)

    def execute(self) -> None:
        """Submit all members, one command per chain of at most `chain_length`."""
        if self._visible_ns > self._machine.now_ns:
            raise RuntimeError("runlist must be idle before submitting for execution")
        machine = self._machine
        machine.advance(machine.profile.launch_ns)
        length = machine.profile.chain_length
        for first in range(0, len(self._runs), length):
            chain = self._runs[first : first + length]
            effects = [effect for member in chain for effect in _effects(member)]
            visible_ns = self._context.submit(chain[0]._kernel._exec_ns, len(chain), effects)
            self._visible_ns = visible_ns
            for member in chain:
                member._visible_ns = visible_ns

    def wait(self) -> None:
        """Wait until every member has completed."""
        self._machine.advance_to(self._visible_ns)


def _effects(of: run) -> list[tuple[Callable[[], None], Callable[[], None]]]:
    """What an execution does to device memory.

    It reads its inputs from start to end and writes its output all the while: so the output is undefined until the
    end, and after it too if an input changed in between.
    """
    image = of._kernel._image
    bos = [value for value in of._bos if value is not None]
    if len(bos) < len(of._bos):
        missing = FIRST_DATA_ARGUMENT + of._bos.index(None)
        raise RuntimeError(f"kernel {image.spec.name}: argument {missing} is not set")
    if not image.computes:
        return []
    buffers = (*image.spec.inputs, image.spec.output)
    *inputs, output = (
        value._memory.device[value._offset : value._offset + buffer.size_bytes].reshape(1, -1)
        for value, buffer in zip(bos, buffers, strict=True)
    )
    taken: list[Bytes] = []

    def begin() -> None:
        taken.extend(view.copy() for view in inputs)
        output.fill(UNDEFINED)

    def finish() -> None:
        if all(map(np.array_equal, taken, inputs)):
            output[:] = image.spec.compute(*taken)

    return [(begin, finish)]
