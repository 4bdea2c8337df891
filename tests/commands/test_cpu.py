"""device=cpu from end to end: it says that it is no NPU, and how it fails."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from support.process import (
    INTERRUPTED,
    Shell,
    end,
    error_lines,
    marking,
    rows,
    start,
    wait_for,
)
from support.processor import needs_compiler, own_cache
from support.record_samples import a_record

from harness.device.cpu.program import ReferenceProgram
from harness.device.host.state import MachineState, Processor, changes, processor_state
from harness.execution.outcome import MachineStates
from harness.report.processor import processor_lines
from harness.report.runs import STOPPED_BY_RULE
from harness.results.run_key import device_fingerprint

pytestmark = pytest.mark.slow

SHORT = ("device=cpu", "workload.tiles=6", "measure.repeats=3", "tracking=off")
NOT_AN_NPU = "device=cpu: times and RTF are of this machine's processor, not of an NPU"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_cache(monkeypatch)


@pytest.fixture
def by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel has C++."""
    monkeypatch.setattr("harness.device.cpu.backend.kernel_source", lambda name: None)


def test_table_lines_record_and_trace_say_cpu(shell: Shell) -> None:
    needs_compiler()
    done = shell("-m", *SHORT, "strategy=baseline,batch", "depth=1")
    assert (done.code, done.verdicts) == (0, ["OK"] * 2)
    heading, *_ = done.out.splitlines()
    assert heading.split()[:3] == ["strategy", "run", "device"]
    for row in rows(done.out):
        assert row.split()[4] == "cpu", "after the four words of the label"
        assert "(cpu) " in row, "the RTF"
    assert f"\n{NOT_AN_NPU}: " in done.out
    assert "\nC++ by " in done.out
    assert "\nRTF (guide accounting): " in done.out
    for record in done.records:
        processor = record["machine"]["before"]["processor"]
        assert (record["device"], processor["programs"]) == ("cpu", {"attention": "C++"})
        assert processor["compiler"]
        assert processor["flags"] == "-O3 -march=native"
        assert processor["allowed"]
        assert record["metrics"]["time/exec_ms"] > 0
        assert record["metrics"]["hazard/count"] is None
        assert record["metrics"]["verify/tiles"] == 6 * (1 + 1 + 3)
    names = [
        event["args"]["name"]
        for folder in done.folders
        for event in json.loads((folder / "trace.json").read_text())["traceEvents"]
        if event["name"] == "process_name"
    ]
    assert len(names) == 4
    assert all(" cpu" in name for name in names), "as the name of the run"


def test_passes_go_on_until_their_times_end_them(shell: Shell, by_numpy: None) -> None:
    done = shell("device=cpu", "workload.tiles=2", "tracking=off", "measure=quick")
    assert (done.code, done.err) == (0, "")
    stop, samples = done.record["stop"], done.record["samples"]
    assert 3 <= len(samples["total_ns"]) <= 20
    assert stop["reason"] in {each.value for each in STOPPED_BY_RULE}
    heading, row, *lines = done.out.splitlines()
    assert "stop" in heading.split()
    assert f" {stop['reason']} " in row
    assert any(line.startswith(stop["reason"]) for line in lines)
    assert (len(samples["warmup_ns"]), samples["cold"]) == (1, False)


def test_a_kernel_without_c_plus_plus_is_named(shell: Shell, by_numpy: None) -> None:
    done = shell(*SHORT, "device.compiler=absent", "strategy=pipelined")
    assert (done.code, done.err) == (0, "")
    assert "attention: no C++ in kernels/, so numpy executes its reference\n" in done.out
    assert "C++ by" not in done.out


def test_the_fastest_run_is_one_of_each_device(shell: Shell, by_numpy: None) -> None:
    done = shell("-m", *SHORT[1:], "device=simulator,cpu", "strategy=pooled,batch")
    marked = [line for line in done.out.splitlines() if line.startswith("* ")]
    assert len(marked) == 3, "a row of each device, and the line that explains the mark"
    assert marked[-1] == "* fastest right run of each device, accounting or kernel"
    assert sum("(cpu)" in line for line in done.out.splitlines()) == 2


def test_without_a_compiler_nothing_runs(shell: Shell) -> None:
    done = shell(*SHORT, "device.compiler=absent++")
    assert (done.code, done.out, done.folders) == (2, "", [])
    (line,) = error_lines(done)
    assert "install the package g++ (Debian, Ubuntu) or gcc-c++ (Fedora)" in line


def test_what_does_not_compile_does_not_run(
    shell: Shell, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_compiler()
    source = tmp_path / "attention.cc"
    source.write_text("#warning first\n#error not yet\n")
    monkeypatch.setattr("harness.device.cpu.backend.kernel_source", lambda name: source)
    done = shell(*SHORT)
    assert (done.code, done.out, done.folders) == (2, "", [])
    (line,) = error_lines(done)
    assert "the C++ of kernel attention does not compile: " in line
    assert "not yet; all messages are in " in line
    assert "first" in (cache / "attention.log").read_text()


def test_an_execution_that_fails_fails_the_run(
    shell: Shell, by_numpy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bind(self: ReferenceProgram, *_: Any) -> Any:
        return lambda bell: {}["absent"]

    monkeypatch.setattr(ReferenceProgram, "bind", bind)
    done = shell(*SHORT, "strategy=pipelined", "depth=3")
    assert (done.code, done.err) == (1, "")
    reason = "attention: the kernel failed (KeyError: 'absent')"
    assert (done.record["verdict"], done.record["reason"]) == ("FAILED", reason)


def test_wrong_outputs_are_not_timed(
    shell: Shell, by_numpy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bind(self: ReferenceProgram, *_: Any) -> Any:
        return lambda bell: None

    monkeypatch.setattr(ReferenceProgram, "bind", bind)
    done = shell(*SHORT)
    assert (done.code, done.record["verdict"]) == (1, "WRONG"), "the poison is still there"
    assert done.record["metrics"]["time/total_ms"] is None


HANGS = """
from pathlib import Path
import harness.device.cpu.backend as backend
backend.kernel_source = lambda name: Path("attention.cc").absolute()
"""


def test_a_kernel_that_never_ends_ends_with_the_process(in_folder: Path) -> None:
    needs_compiler()
    (in_folder / "attention.cc").write_text(
        'extern "C" void attention(const volatile char *in, char *out) { while (true) *out = *in; }'
    )
    done = end(start(*SHORT, "device.timeout_ms=20", setup=HANGS))
    assert done.code == 1
    reason = "attention: no completion within device.timeout_ms=20"
    assert (done.record["verdict"], done.record["reason"]) == ("FAILED", reason)


def test_ctrl_c_in_a_pass(in_folder: Path) -> None:
    needs_compiler()
    setup = marking("harness.device.cpu.worker:Worker.put", "reached", 50)
    endless = ("device=cpu", "tracking=off", "measure.repeats=10000", "workload.tiles=40")
    running = start(*endless, setup=setup, forked=True)
    wait_for(Path("reached").exists, running)
    running.send_signal(signal.SIGINT)
    done = end(running)
    assert (done.code, error_lines(done)) == (130, [INTERRUPTED])
    assert (done.record["verdict"], done.record["reason"]) == ("FAILED", "interrupted")


# What is known about the processor


def state(allowed: list[int], **others: Any) -> MachineState:
    fields = {"model": "A", "pinned": True, "compiler": None, "flags": "", "programs": {}}
    return MachineState(processor=Processor(allowed=allowed, **{**fields, **others}))


def test_the_processor_is_read() -> None:
    read = processor_state("g++ 12", "-O3", {"add": "C++"}).processor
    assert read
    assert read.allowed
    assert (read.compiler, read.flags, read.programs) == ("g++ 12", "-O3", {"add": "C++"})


def test_other_processors_are_a_change_of_the_machine() -> None:
    assert changes(state([0, 1]), state([0, 1])) == []
    assert changes(state([0, 1]), state([0])) == ["processors of this process: 0,1 -> 0"]


def test_columns_that_share_processors_are_named() -> None:
    record = a_record()
    object.__setattr__(record, "machine", MachineStates(state([3]), None))
    assert processor_lines(record) == [
        f"{NOT_AN_NPU}: A, 1 processor, pinned",
        "1 column and the host share 1 processor, pinned",
    ]
    object.__setattr__(record, "machine", MachineStates(state([3, 4], pinned=False), None))
    assert processor_lines(record) == [f"{NOT_AN_NPU}: A, 2 processors"]
    object.__setattr__(record, "machine", None)
    assert processor_lines(record) == [NOT_AN_NPU]


def test_a_run_is_known_by_its_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    device = {"kind": "cpu", "compiler": "c++", "flags": "-O3"}
    monkeypatch.setattr("harness.results.run_key.version_of", lambda name: f"{name} 1")
    one = device_fingerprint(device)
    assert device_fingerprint(device) == one
    assert device_fingerprint({**device, "compiler": "clang++"}) != one
