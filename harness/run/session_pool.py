"""Executors of several kernels on one device, whose contexts may be too few for all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

from harness.config.schema import Config
from harness.device.backend import Backend, Session
from harness.kernel import KernelSpec
from harness.run.executor import Executor


class SessionPool:
    """Sessions of `kernels`, opened when first used: all kept where the device has contexts for them, else one.

    Where one makes way, all do: on npu1 the next submission fails after one context of several was destroyed (mlir-aie,
    CachedXRTRuntime, empties its whole cache for that). open_ns: what opening took so far, the first run on each
    context included, which takes longer than others.
    """

    def __init__(self, config: Config, backend: Backend, kernels: Sequence[KernelSpec]) -> None:
        strategy, device = config.strategy, config.device
        self._strategy = strategy
        self._timeout_ms = device.timeout_ms
        self._backend = backend
        self._all = len(kernels) * strategy.columns <= device.context_limit
        self._sessions: dict[str, Session] = {}
        self._executors: dict[tuple[str, int], Executor] = {}
        self._allocated = 0  # by sessions that are closed
        self.open_ns = 0

    def executor(self, spec: KernelSpec, tiles: int) -> Executor:
        """One for passes over so many tiles; DeviceError where it cannot be had."""
        found = self._executors.get((spec.name, tiles))
        if found:
            return found
        begin_ns = self._backend.clock.now_ns
        if spec.name not in self._sessions:
            if not self._all:
                self.close()
            session = self._sessions[spec.name] = self._backend.open_session(
                spec, self._strategy.columns, self._timeout_ms
            )
            session.warm()
        made = self._executors[spec.name, tiles] = Executor(
            [self._sessions[spec.name]], self._strategy, tiles
        )
        self.open_ns += self._backend.clock.now_ns - begin_ns
        return made

    @property
    def allocations(self) -> int:
        """Bos made so far for tiles."""
        return self._allocated + sum(session.allocations for session in self._sessions.values())

    def wake(self) -> None:
        """Wake the device, if it may have gone to sleep."""
        for session in self._sessions.values():
            session.wake()

    def close(self) -> None:
        """Let go of all slots and contexts, but for what must be kept."""
        self._allocated = self.allocations
        released = dict.fromkeys(self._sessions, True)
        for (name, _), executor in self._executors.items():
            released[name] &= executor.release()
        self._executors = {}
        for name, session in self._sessions.items():
            if released[name]:
                session.close()
        self._sessions = {}
