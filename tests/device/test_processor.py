"""The processor as a device: copies, order, threads, the GIL, and the cache of compiled kernels."""

from __future__ import annotations

import gc
import os
import re
import signal
import stat
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.process import LIMIT_S
from support.processor import ADD_SOURCE, add_source, needs_compiler, own_cache
from support.rig import ODD, SUB
from support.small_device import ADD, make_tiles

from harness.config.device import Cpu
from harness.config.strategy import Buffers, Strategy
from harness.config.workload import BLOCK, BLOCK_LINKS
from harness.device.clock import host_now_ns
from harness.device.cpu import compiler, session
from harness.device.cpu.backend import CpuBackend
from harness.device.cpu.compiler import Compiler, compile_kernel, find_compiler
from harness.device.cpu.worker import State
from harness.device.interrupt import on_delayed_signal
from harness.device.open import open_backend
from harness.errors import DeviceCallError, DeviceError, DeviceTimeoutError, RequestError
from harness.execution.executor import Executor
from harness.execution.verify import Checker
from harness.inputs.chain import make_chain
from harness.inputs.generate import make_chain_tiles
from harness.kernel import KernelSpec, kernel_source, load_kernel
from harness.measure.timeline import Stage

PATIENCE_MS = LIMIT_S * 1000
"""Only an execution that hangs takes as long."""


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("column ")]


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    own_cache(monkeypatch)
    gc.collect()
    for each in threading.enumerate():
        if each.name.startswith("column "):
            each.join()


def numpy_backend(**settings: Any) -> CpuBackend:
    return CpuBackend(Cpu(**settings), lambda name: None)


def native_backend(source: Path, **settings: Any) -> CpuBackend:
    needs_compiler()
    return CpuBackend(Cpu(**settings), lambda name: source)


def opened(backend: CpuBackend, spec: KernelSpec = ADD, columns: int = 1) -> list[Any]:
    """A session, and an allocated submission of one tile on each of its columns."""
    of_kernel = backend.open_session(spec, columns, PATIENCE_MS)
    slots = [of_kernel.slot(column, 1, [1]) for column in range(columns)]
    for slot in slots:
        slot.allocate()
    return [of_kernel, *(slot.submissions[1] for slot in slots)]


# Copies


def test_staging_and_collecting_copy_between_host_and_device() -> None:
    of_kernel, submission = opened(numpy_backend())
    tiles = make_tiles(ADD, 2)
    submission.poison(np.full((1, 128), 7, np.uint8))
    submission.stage(tiles.batches(1)(0))
    submission._targets[0][0][:] = tiles.batches(1)(1)[0]  # written, and not copied
    submission.launch()
    submission.wait(1)
    assert (submission.outputs == 7).all(), "not collected"
    submission.collect()
    np.testing.assert_array_equal(submission.outputs, tiles.expect(0, 1))
    of_kernel.close()


def test_buffers_begin_on_cache_lines_and_each_tile_too() -> None:
    of_kernel = numpy_backend().open_session(ODD, 1, PATIENCE_MS)
    slot = of_kernel.slot(0, 3, [3])
    slot.allocate()
    for _, host, device in slot.submissions[3]._targets:
        assert host.ctypes.data % 64 == device.ctypes.data % 64 == 0
        assert host.strides == (64, 1)
    of_kernel.close()


def test_a_reference_cannot_change_its_inputs() -> None:
    def changing(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        left += right
        return left

    of_kernel, submission = opened(numpy_backend(), replace(ADD, reference=changing))
    submission.stage(make_tiles(ADD, 1).batches(1)(0))
    submission.launch()
    with pytest.raises(DeviceError, match=r"the kernel failed .ValueError: .*read-only"):
        submission.wait(1)
    of_kernel.close()


def test_a_kernel_of_two_inputs() -> None:
    backend, tiles = numpy_backend(), make_tiles(SUB, 5)
    executor = Executor([backend.open_session(SUB, 1, PATIENCE_MS)], Strategy(batch=2, depth=2), 5)
    checker = Checker(tiles)
    executor.run(tiles, checker, checker.poison)
    assert (checker.compared, checker.mismatches) == (5, 0)
    executor.close()


# States and order


def test_states_of_a_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def reference(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        begun.set()
        go_on.wait()
        return left + right

    of_kernel, submission = opened(numpy_backend(), replace(ADD, reference=reference))
    later = of_kernel.slot(0, 1, [1])
    later.allocate()
    states = [submission.execution.state]
    for each in (submission, later.submissions[1]):
        each.stage(make_tiles(ADD, 1).batches(1)(0))
        each.launch()
    begun.wait()
    states += [submission.execution.state, later.submissions[1].execution.state]
    with pytest.raises(DeviceCallError, match="launched while in state RUNNING"):
        submission.launch()
    with pytest.raises(DeviceTimeoutError):
        submission.wait(0)
    go_on.set()
    later.submissions[1].wait(1)
    states.append(submission.execution.state)
    assert states == [State.NEW, State.RUNNING, State.QUEUED, State.COMPLETED]
    submission.wait(0)
    of_kernel.close()


def test_a_column_executes_in_the_order_of_launches() -> None:
    order: list[int] = []

    def reference(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        order.append(int(left[0, 0, 0]))
        return left + right

    spec = replace(ADD, reference=reference)
    of_kernel = numpy_backend().open_session(spec, 1, PATIENCE_MS)
    slots = [of_kernel.slot(0, 1, [1]) for _ in range(9)]
    for number, slot in enumerate(slots):
        slot.allocate()
        slot.submissions[1].stage([np.full(256, number, np.uint8)])
    for slot in slots:
        slot.submissions[1].launch()
    slots[-1].submissions[1].wait(1)
    assert order == [*range(9)]
    of_kernel.close()


def test_two_columns_execute_at_the_same_time() -> None:
    """Each waits for the other, and would wait for ever if they took turns."""
    both = threading.Barrier(2)

    def reference(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        both.wait()
        return left + right

    of_kernel, *submissions = opened(numpy_backend(), replace(ADD, reference=reference), 2)
    for submission in submissions:
        submission.stage(make_tiles(ADD, 1).batches(1)(0))
        submission.launch()
    for submission in submissions:
        submission.wait(1)
    of_kernel.close()


def test_the_host_works_while_a_kernel_computes(tmp_path: Path) -> None:
    """The kernel ends when the host has written a byte: with the GIL, the host never could."""
    source = tmp_path / "add.cc"
    source.write_text(
        ADD_SOURCE.replace("{\n  for", "{\n  while (*(const volatile int8_t *)in != 1) {}\n  for")
    )
    of_kernel, submission = opened(native_backend(source))
    submission.stage([np.zeros(256, np.uint8)])
    submission.launch()
    while submission.execution.state is not State.RUNNING:
        pass
    ((_, _, device),) = submission._targets
    device[:] = 1
    submission.wait(1)
    submission.collect()
    assert (submission.outputs == 2).all()
    of_kernel.close()


def test_each_column_has_its_own_static_variables(tmp_path: Path) -> None:
    """As on an NPU, where they are in the memory of a core."""
    source = tmp_path / "add.cc"
    source.write_text(
        'extern "C" void add(const char *in, char *out) { static char calls; *out = ++calls; }'
    )
    backend = native_backend(source)
    of_kernel, *submissions = opened(backend, ADD, 2)
    firsts = []
    for submission in (*submissions, submissions[0]):
        submission.launch()
        submission.wait(1)
        submission.collect()
        firsts.append(int(submission.outputs[0, 0]))
    assert firsts == [1, 1, 2]
    of_kernel.close()


@pytest.mark.parametrize("compiled", [False, True])
def test_the_bell_rings_once_for_each_execution(compiled: bool) -> None:
    backend = native_backend(add_source()) if compiled else numpy_backend()
    of_kernel = backend.open_session(ADD, 1, PATIENCE_MS)
    slots = [of_kernel.slot(0, 1, [1]) for _ in range(3)]
    for slot in slots:
        slot.allocate()
        slot.submissions[1].launch()
    of_kernel.close()
    rung = os.eventfd_read(backend.bell.descriptor)
    assert len(slots) <= rung <= len(slots) + 1, "and once at the end of the thread"
    backend.bell.ring()
    backend.bell.wait(LIMIT_S * 1000)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(backend.bell.descriptor)


# Threads


def test_threads_end_with_their_session() -> None:
    backend = numpy_backend()
    one = backend.open_session(ADD, 2, PATIENCE_MS)
    assert threads() == ["column 0 add", "column 1 add"]
    one.close()
    assert threads() == []
    assert (one.columns, backend.free_contexts) == (0, 64)
    one.close()
    another = backend.open_session(ADD, 1, PATIENCE_MS)
    ended = [each for each in threading.enumerate() if each.name == "column 2 add"]
    del another
    gc.collect()
    for each in ended:
        each.join(LIMIT_S)
        assert not each.is_alive()
    assert backend.free_contexts == 64


def test_threads_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    starts, start = [], threading.Thread.start

    def limited(self: threading.Thread) -> None:
        starts.append(self)
        if len(starts) == 3:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(DeviceError, match=r"opening add on 4 column.*can't start new thread"):
        numpy_backend().open_session(ADD, 4, PATIENCE_MS)
    assert threads() == []


def test_an_execution_that_never_ends_keeps_other_sessions_closed() -> None:
    """It would take a core from whatever is measured next in this process."""
    go_on = threading.Event()

    def reference(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        go_on.wait()
        return left + right

    backend = numpy_backend()
    of_kernel = backend.open_session(replace(ADD, reference=reference), 1, 1)
    slot = of_kernel.slot(0, 1, [1])
    slot.allocate()
    slot.submissions[1].launch()
    with pytest.raises(DeviceTimeoutError, match=r"device\.timeout_ms=1"):
        slot.submissions[1].wait(1)
    slot.keep()
    assert slot.close()
    of_kernel.close()
    with pytest.raises(DeviceError, match="an earlier execution of add has not ended"):
        backend.open_session(ADD, 1, PATIENCE_MS)
    (worker,) = session._stuck
    go_on.set()
    worker._thread.join()
    backend.open_session(ADD, 1, PATIENCE_MS).close()
    assert not session._stuck


def test_ctrl_c_in_a_wait_is_heard_and_leaves_nothing_in_flight() -> None:
    """The execution ends only when Ctrl-C has been noticed, and the others after it."""
    heard, executed = threading.Event(), list[int]()

    def reference(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        if not executed:
            signal.raise_signal(signal.SIGINT)
            heard.wait()
        executed.append(1)
        return left + right

    of_kernel = numpy_backend().open_session(replace(ADD, reference=reference), 1, PATIENCE_MS)
    executor = Executor([of_kernel], Strategy(depth=3), 9)
    with pytest.raises(KeyboardInterrupt), on_delayed_signal(heard.set):
        executor.run(make_tiles(ADD, 9), lambda first, outputs: None)
    assert len(executed) == 3, "those in flight ended, and no other was launched"
    executor.close()
    assert threads() == []


def test_an_exception_of_a_reference_fails_its_execution_only() -> None:
    def reference(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        if left[0, 0, 0] == 1:
            raise ZeroDivisionError("by tile 1")
        return left + right

    of_kernel, submission = opened(numpy_backend(), replace(ADD, reference=reference))
    for value in (0, 1, 2):
        submission.stage([np.full(256, value, np.uint8)])
        submission.launch()
        if value == 1:
            with pytest.raises(DeviceError, match=r"add: .*\(ZeroDivisionError: by tile 1\)"):
                submission.wait(1)
            assert submission.execution.state is State.FAILED
        else:
            submission.wait(1)
    of_kernel.close()


# Strategies, on kernels in C++


@pytest.mark.parametrize(
    "knobs",
    [
        {"buffers": Buffers.per_tile},
        {"depth": 3, "columns": 2, "prefetch": 1},
        {"depth": 2, "batch": 3, "resident": True},
    ],
    ids=["baseline", "columns", "resident batches"],
)
@pytest.mark.slow
def test_a_chain(knobs: dict[str, Any]) -> None:
    needs_compiler()
    chain = make_chain([load_kernel(name) for name in BLOCK], BLOCK_LINKS)
    tiles = make_chain_tiles(chain, 7, "random", 0, host_now_ns, 7)
    strategy, backend = Strategy(**knobs), open_backend(Cpu())
    sessions = [backend.open_session(spec, strategy.columns, PATIENCE_MS) for spec in chain.kernels]
    constants = tiles.constants_to_hold(strategy.resident)
    executor = Executor(sessions, strategy, 7, constants, chain.links)
    checker = Checker(tiles)
    marks = executor.run(tiles, checker, checker.poison)
    assert (checker.compared, checker.first_mismatch) == (7, "")
    timeline = marks.timeline()
    execs = timeline.of(Stage.EXEC)
    assert len(execs) == 7 * len(BLOCK)
    assert (execs[:, 5] > execs[:, 4]).all()
    # No execution begins before its own launch, or ends after the wait for it.
    for stage, field, is_after in ((Stage.LAUNCH, 4, True), (Stage.WAIT, 5, False)):
        for _, first, count, _, *times, kernel in timeline.of(stage).tolist():
            own = execs[(execs[:, 1] >= first) & (execs[:, 1] < first + count)]
            own = own[own[:, 6] == kernel]
            limit = times[field - 4]
            assert (own[:, 4] >= limit).all() if is_after else (own[:, 5] <= limit).all()
    assert backend.read_state().processor.programs == dict.fromkeys(BLOCK, "C++")
    executor.close()
    assert threads() == []


# The compiler and its cache


def test_a_kernel_is_compiled_once_for_each_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_compiler()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    header, source = tmp_path / "part.h", tmp_path / "add.cc"
    header.write_text("#define FIRST 1\n")
    source.write_text(f'#include "part.h"\n{ADD_SOURCE}')
    found = find_compiler(Cpu())

    def build(flags: str = "-O1", by: Compiler = found) -> Path:
        return compile_kernel(ADD, source, by, flags)

    first = build()
    changed_ns = first.stat().st_mtime_ns
    assert build() == first
    assert first.stat().st_mtime_ns == changed_ns, "not compiled again"
    header.write_text("#define FIRST 2\n")
    others = [build(), build("-O2"), build(by=replace(found, version="another"))]
    assert len({first, *others}) == 4
    assert sorted(compiler.cache_folder().iterdir()) == sorted([first, *others]), "nothing else"


def test_the_source_of_a_variant_is_that_of_its_folder() -> None:
    large, small = load_kernel("matmul_64"), load_kernel("matmul")
    assert kernel_source(large) == kernel_source(small) is not None
    assert kernel_source(replace(small, name="absent")) is None


def test_cpp_is_not_used_for_other_arguments() -> None:
    """C++ of `matmul` uses 16x16 elements, whatever the size of the buffers."""
    large, small = load_kernel("matmul_64"), load_kernel("matmul")
    assert kernel_source(replace(small, arguments=large.arguments)) is None
    assert kernel_source(replace(small, folder=None)) is None
    in_python = replace(ADD, name="matmul")
    backend, tiles = CpuBackend(Cpu(compiler="absent++")), make_tiles(in_python, 2)
    executor = Executor([backend.open_session(in_python, 1, PATIENCE_MS)], Strategy(), 2)
    checker = Checker(tiles)
    executor.run(tiles, checker, checker.poison)
    assert (checker.compared, checker.mismatches) == (2, 0)
    executor.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("void other();", r"'add' was not declared|undeclared identifier 'add'"),
        ('extern "C" void add(char *, char *, char *) {}', "its declaration has 2 buffers"),
        (
            'extern "C" void add(const char *, short *) {}',
            r"a pointer is to larger elements than its declaration has \(operands: 1 B, ",
        ),
        ("#include <absent.h>", r"absent\.h: No such file|'absent\.h' file not found"),
        (
            'extern "C" void add(const char *a, char *b) { *b = c; }',
            r"'c' was not declared|undeclared identifier 'c'",
        ),
    ],
)
def test_what_does_not_compile(text: str, said: str, tmp_path: Path) -> None:
    needs_compiler()
    source = tmp_path / "add.cc"
    source.write_text(text)
    with pytest.raises(
        RequestError, match="the C\\+\\+ of kernel add does not compile: "
    ) as raised:
        native_backend(source).prepare(ADD, 1)
    message = str(raised.value).replace("\N{LEFT SINGLE QUOTATION MARK}", "'")
    assert re.search(said, message), "as g++ or as clang++ reports it"
    assert "\n" not in message
    log = Path(message.rpartition(" ")[2])
    assert "error" in log.read_text()


def test_the_function_of_a_kernel_with_a_hyphen(tmp_path: Path) -> None:
    source = tmp_path / "add.cc"
    source.write_text('extern "C" void my_add(char *, char *) {}')
    native_backend(source, flags="-O0").prepare(replace(ADD, name="my-add"), 1)


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Cpu(compiler="absent++")
    with pytest.raises(RequestError, match=r"install the package g\+\+ \(Debian.*gcc-c\+\+"):
        CpuBackend(device, lambda name: add_source()).prepare(ADD, 1)
    CpuBackend(device, lambda name: None).prepare(ADD, 1)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(RequestError, match=r"cannot be stored there .*XDG_CACHE_HOME=<folder>"):
        native_backend(add_source()).prepare(ADD, 1)


def test_a_library_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    backend = native_backend(add_source())
    backend.prepare(ADD, 1)
    (library,) = compiler.cache_folder().glob("*.so")
    library.write_bytes(b"damaged")
    with pytest.raises(RequestError, match=r"cannot be loaded .*delete it to compile it again"):
        backend.open_session(ADD, 1, PATIENCE_MS)


def test_a_compiler_that_cannot_be_started(tmp_path: Path) -> None:
    script = tmp_path / "c++"
    script.write_text("not a program")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(RequestError, match=r"cannot be started \(Exec format error\)"):
        find_compiler(Cpu(compiler=str(script)))
