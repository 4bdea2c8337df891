"""The backend over this machine's processor, with one small kernel and executions that fail."""

from __future__ import annotations

import shutil
import time
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import pytest

from harness.config.device import Cpu, Faults
from harness.device.cpu import session
from harness.device.cpu.backend import CpuBackend
from harness.device.cpu.program import NativeProgram, ReferenceProgram
from harness.device.cpu.worker import Worker

ADD_SOURCE = """
#include <stdint.h>

extern "C" void add(const int8_t *__restrict in, int8_t *__restrict out) {
  for (int i = 0; i < 128; ++i) out[i] = static_cast<int8_t>(in[i] + in[128 + i]);
}
"""


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


def own_cache(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Compile into a cache that the tests of this process share, not into the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", _folder().name)
    return Path(_folder().name) / "npu-harness" / "cpu"


def needs_compiler() -> None:
    """Skip the test where there is no C++ compiler."""
    if shutil.which(Cpu().compiler) is None:
        pytest.skip("no C++ compiler: install g++ to run kernels in C++ on device=cpu")


def add_source() -> Path:
    """A file with the C++ of `support.small_device.ADD`."""
    path = Path(_folder().name) / "add.cc"
    if not path.exists():
        path.write_text(ADD_SOURCE)
    return path


class Processor:
    """The processor of this machine; executions take time and fail as the simulator's do."""

    aborted = ""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._released = Event()
        self._backends: list[CpuBackend] = []

    def open(
        self,
        compiled: bool,
        exec_ns: dict[str, int],
        faults: Faults | None = None,
        context_limit: int = 64,
        **_: Any,
    ) -> CpuBackend:
        """A backend whose executions take `exec_ns`, before the kernel's own time."""
        if compiled:
            needs_compiler()
            own_cache(self._monkeypatch)
        kind = NativeProgram if compiled else ReferenceProgram
        bind, numbers, faults = kind.bind, count(), faults or Faults()

        def slow_bind(program: Any, buffers: Any, stamps: Any) -> Any:
            execute = bind(program, buffers, stamps)

            def run(bell: int) -> None:
                number = next(numbers)
                time.sleep(exec_ns["add"] / 1e9)
                if number in faults.hang:
                    self._released.wait()
                if number in faults.error:
                    raise ValueError("of a test")
                if number in faults.abort:
                    raise SystemExit("of a test")
                execute(bell)

            return run

        self._monkeypatch.setattr(kind, "bind", slow_bind)
        source = add_source() if compiled else None
        backend = CpuBackend(Cpu(context_limit=context_limit), lambda name: source)
        self._backends.append(backend)
        return backend

    @property
    def contexts(self) -> list[Worker]:
        """The threads of all open sessions."""
        sessions = (each for backend in self._backends for each in backend.sessions)
        return [worker for each in sessions for worker in each.workers]

    def end(self) -> None:
        """End what hangs, which would keep the next test from opening a session."""
        self._released.set()
        for worker in list(session._stuck):
            worker._thread.join()
