"""Executors for several kernels on a device that may have too few contexts for all of them."""

from __future__ import annotations

from collections.abc import Mapping

from harness.config.schema import Config
from harness.device.backend import Backend, Session
from harness.execution.executor import Executor
from harness.kernel import KernelSpec


class SessionPool:
    """Sessions of the kernels that an encoder calls, opened on first use.

    All of them stay open if the device has enough contexts; else only one kernel's session is open
    at a time. To make room, every session is closed: on npu1 the next submission fails if one of
    several contexts was destroyed (mlir-aie's CachedXRTRuntime empties its cache for this reason).

    open_ns: total time to open sessions, including the first run on each context, which takes
    longer than the others.
    """

    def __init__(self, config: Config, backend: Backend, columns: Mapping[str, int]) -> None:
        """columns: of each kernel, by name; a context each."""
        strategy, device = config.strategy, config.device
        self._strategy = strategy
        self._columns = columns
        self._timeout_ms = device.timeout_ms
        self._backend = backend
        self._all = sum(columns.values()) <= device.context_limit
        self._sessions: dict[str, Session] = {}
        self._executors: dict[tuple[str, int], Executor] = {}
        # By sessions that are closed by now.
        self._allocated = 0
        self.open_ns = 0

    def executor(self, spec: KernelSpec, tiles: int) -> Executor:
        """The executor for passes over `tiles` tiles; DeviceError if no session can be opened."""
        existing = self._executors.get((spec.name, tiles))
        if existing:
            return existing
        begin_ns = self._backend.clock.now_ns
        if spec.name not in self._sessions:
            if not self._all:
                self.close()
            session = self._sessions[spec.name] = self._backend.open_session(
                spec, self._columns[spec.name], self._timeout_ms
            )
            # A cold first run would fall into some operation's time; here it counts as opening.
            session.warm()
        executor = Executor([self._sessions[spec.name]], self._strategy, tiles)
        self._executors[spec.name, tiles] = executor
        self.open_ns += self._backend.clock.now_ns - begin_ns
        return executor

    @property
    def allocations(self) -> int:
        """Number of bos allocated so far for tiles."""
        return self._allocated + sum(session.allocations for session in self._sessions.values())

    def wake(self) -> None:
        """Warm the device up if it may have been suspended."""
        for session in self._sessions.values():
            session.wake()

    def close(self) -> None:
        """Free all slots and contexts, except those that a run in flight may use."""
        # Before the sessions go, whose counts it adds.
        self._allocated = self.allocations
        released = dict.fromkeys(self._sessions, True)
        for (name, _), executor in self._executors.items():
            # One slot that a run in flight may use keeps the session of its kernel open.
            released[name] &= executor.release()
        self._executors = {}
        for name, session in self._sessions.items():
            if released[name]:
                session.close()
        self._sessions = {}
