"""Scripts that import pyxrt, run unmodified by the emulator."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.commands.emulate import ABORTED
from harness.commands.main import dispatch

XCLBIN = Path(__file__).parents[1] / "data" / "mlir_aie.xclbin"
HEAD = """
import sys
import time
import numpy as np
import pyxrt

TO = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
FROM = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE
DONE = pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED
device = pyxrt.device(0)
xclbin = pyxrt.xclbin("attention_64x64.xclbin")
uuid = device.register_xclbin(xclbin)
context = pyxrt.hw_context(device, uuid)
name = next(each.get_name() for each in xclbin.get_kernels() if "MLIR_AIE" in each.get_name())
kernel = pyxrt.kernel(context, name)
code = pyxrt.bo(device, 256, pyxrt.bo.cacheable, kernel.group_id(1))
code.write(np.zeros(64, np.uint32), 0)
code.sync(TO)

def pair():
    return (
        pyxrt.bo(device, 12288, pyxrt.bo.host_only, kernel.group_id(3)),
        pyxrt.bo(device, 4096, pyxrt.bo.host_only, kernel.group_id(4)),
    )

def stage(bo, seed):
    bo.write(np.random.default_rng(seed).integers(-64, 64, 12288, np.int8), 0)
    bo.sync(TO)

given, result = pair()
"""
SERIAL = """
for tile in range(3):
    stage(given, tile)
    run = kernel(3, code, 64, given, result)
    assert run.wait() == DONE
    result.sync(FROM)
    print("tile", tile, result.read(4, 0))
"""
SHARED = """
flying = []
for tile in range(4):  # two in flight, one pair of bos for both
    if len(flying) == 2:
        flying.pop(0).wait()
        result.sync(FROM)
    stage(given, tile)
    flying.append(kernel(3, code, 64, given, result))  # launched here
for run in flying:
    run.wait()
    result.sync(FROM)
"""


@dataclass
class Done:
    """What an emulation answered."""

    code: int
    out: str
    err: str
    trace: dict[str, Any] | None


Emulate = Callable[..., Done]


@pytest.fixture
def emulate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Emulate:
    monkeypatch.chdir(tmp_path)

    def run(body: str, *arguments: str, head: str = HEAD, options: tuple[str, ...] = ()) -> Done:
        (tmp_path / "script.py").write_text(head + body)
        code = dispatch(["emulate", "--trace", "trace.json", *options, "script.py", *arguments])
        out, err = capfd.readouterr()
        trace = tmp_path / "trace.json"
        return Done(code, out, err, json.loads(trace.read_text()) if trace.exists() else None)

    return run


def line_of(text: str, body: str) -> int:
    """Line of script.py in which `text` stands."""
    lines = (HEAD + body).splitlines()
    (found,) = (number for number, line in enumerate(lines, 1) if text in line)
    return found


def test_a_right_script(emulate: Emulate) -> None:
    done = emulate(SERIAL)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split("[")[0] for line in lines[:3]] == ["tile 0 ", "tile 1 ", "tile 2 "], (
        "its own output comes first"
    )
    calls = {
        line.split()[0]: line.split()[1:]
        for line in lines
        if line.startswith(("bo", "kernel()", "run."))
    }
    assert calls["kernel()"] == ["3", "0.207", "69.0", "launch"]
    assert calls["bo.sync(TO_DEVICE)"][0] == "4"
    assert calls["bo.sync(FROM_DEVICE)"] == ["3", "0.024", "8.0", "read"]
    assert (
        "column 0: 3 executions in 5.730 ms, 61.3 % busy from first to last; "
        "2 stalls of 0.318 ms in all" in lines
    )
    assert (
        "host: open 71.000 ms, alloc 0.036 ms, write 0.088 ms, launch 0.207 ms, wait 9.210 ms, "
        "read 0.024 ms" in lines
    )
    assert lines[-2:] == ["hazards: none", "trace: trace.json"]


def test_its_trace(emulate: Emulate) -> None:
    done = emulate(SERIAL)
    assert done.trace is not None
    events = done.trace["traceEvents"]
    launches = [event for event in events if event["name"] == "kernel()"]
    executions = [event for event in events if event["name"] == "exec"]
    assert [event["dur"] for event in launches] == [69.0] * 3
    assert {event["args"]["at"] for event in launches} == {
        f"script.py:{line_of('run = kernel', SERIAL)}"
    }
    assert [event["dur"] for event in executions] == [1910.0] * 3
    assert executions[1]["ts"] == launches[1]["ts"] + 69
    assert next(event for event in events if event["name"] == "load")["dur"] == 3300.0


def test_a_shared_bo_is_reported(emulate: Emulate) -> None:
    done = emulate(SHARED)
    assert done.code == 1
    launch, staged = line_of("launched here", SHARED), line_of("bo.sync(TO)", SHARED)
    assert (
        "hazard shared-output (3 times): two runs in flight write the same bytes: "
        "the first output is lost" in done.out
    )
    assert (
        "  remedy: give each run in flight an output bo of its own, or read the first output "
        "before the second launch\n" in done.out
    )
    assert f"  kernel() at script.py:{launch} (" in done.out
    assert f"  after launch at script.py:{launch} (" in done.out
    assert "hazard write-in-flight" in done.out
    assert f"  bo.sync at script.py:{staged} (" in done.out
    assert done.out.splitlines()[-2].startswith("hazards: ")
    assert done.trace is not None
    instants = {event["name"] for event in done.trace["traceEvents"] if event["ph"] == "i"}
    assert instants >= {"shared-output", "write-in-flight"}


def test_hazards_can_be_told_only_or_not_looked_for(emulate: Emulate) -> None:
    told = emulate(SHARED, options=("--hazards=report",))
    assert told.code == 0
    assert "hazard shared-output" in told.out
    off = emulate(SHARED, options=("--hazards=off",))
    assert off.code == 0
    assert "hazard" not in off.out


@pytest.mark.parametrize(
    ("body", "code", "err"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('no such model')", 1, "no such model"),
        ("raise ValueError('of the script')", 1, "ValueError: of the script"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
    ],
)
def test_a_scripts_own_end_is_kept(emulate: Emulate, body: str, code: int, err: str) -> None:
    done = emulate(f"\n{body}  # the end")
    assert done.code == code
    assert done.err.strip().endswith(err)
    assert "emulate.py" not in done.err, "a traceback shows the script's frames only"
    assert "hazards: none" in done.out


def test_a_script_sees_itself_as_always(emulate: Emulate, tmp_path: Path) -> None:
    (tmp_path / "sibling.py").write_text("WORD = 'found'\n")
    body = "\nimport sibling\nprint(sibling.WORD, __name__, sys.argv, __file__)\n"
    done = emulate(body, "--its", "args", "--hazards=off")
    assert (
        done.out.splitlines()[0]
        == "found __main__ ['script.py', '--its', 'args', '--hazards=off'] script.py"
    )
    assert "pyxrt" not in sys.modules


def test_its_clocks_show_what_the_device_takes(
    emulate: Emulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
begin, clock, wall = time.perf_counter(), time.monotonic_ns(), time.time()
time.sleep(30)
run = kernel(3, code, 64, given, result)
run.wait()
result.sync(FROM)
print(30 < time.perf_counter() - begin < 31, time.monotonic_ns() - clock > 30e9, \
time.time() - wall > 30)
"""
    slept: list[float] = []
    real = slept.append
    monkeypatch.setattr(time, "sleep", real)
    done = emulate(body)
    assert done.out.splitlines()[0] == "True True True"
    assert slept == [], "30 s of virtual time are no real time"
    assert time.sleep is real


@pytest.mark.slow
def test_a_script_that_polls_gets_on(emulate: Emulate) -> None:
    body = """
run = kernel(3, code, 64, given, result)
looks = 0
while run.state() != DONE:
    looks += 1
result.sync(FROM)
print(looks)
"""
    done = emulate(body)
    assert (done.code, int(done.out.splitlines()[0])) == (
        0,
        pytest.approx((3300 + 1910 + 60) * 10, rel=0.01),
    )


def test_a_run_that_is_dropped_ends_the_process(emulate: Emulate) -> None:
    body = "\nkernel(3, code, 64, given, result)\nbo = pair()\nprint('not reached')\n"
    done = emulate(body)
    assert done.code == 1
    assert "process ended: a run was dropped before its completion was seen" in done.out
    assert "hazard run-dropped" in done.out
    assert "not reached" not in done.out
    assert emulate(body, options=("--hazards=off",)).code == ABORTED


@pytest.mark.parametrize("body", ["print(3)", "import pyxrt"])
def test_a_script_that_never_calls_pyxrt(emulate: Emulate, body: str) -> None:
    """An exit code of 0 and no hazards would look like a right program."""
    done = emulate(body, head="")
    assert done.code == 0
    assert "nothing was emulated: the script made no call of pyxrt; often it looks" in done.out
    assert "hazards: none" not in done.out


def test_real_xclbins_are_read(emulate: Emulate, tmp_path: Path) -> None:
    shutil.copy(XCLBIN, tmp_path / "design.xclbin")
    body = """
other = pyxrt.xclbin("design.xclbin")
print([(each.get_name(), each.get_num_args()) for each in other.get_kernels()], \
other.get_uuid().to_string())
unknown = pyxrt.kernel(pyxrt.hw_context(device, device.register_xclbin(other)), "MLIR_AIE")
for _ in range(2):
    run = unknown(3, code, 64, given, result)
    run.wait()
"""
    one = "device.columns=5"  # the design takes four, the script's other context one
    done = emulate(body, options=("--set", one))
    assert done.code == 0
    assert done.out.splitlines()[0] == "[('MLIR_AIE', 8)] 651c6d14-b727-15f3-c477-4f4af97bd475"
    notes = [line for line in done.out.splitlines() if line.startswith("note: design.xclbin")]
    assert len(notes) == 1
    assert "takes 27 us" in notes[0]
    known = emulate(body, options=("--set", one, "--set", "+device.xclbins={design*:attention}"))
    assert "note: design.xclbin: simulated as kernel attention (device.xclbins)" in known.out


WIDE = """
try:
    pyxrt.hw_context(device, device.register_xclbin(pyxrt.xclbin("design.xclbin")))
except RuntimeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--set", "device.columns=2"), "the xclbin wants 4 columns, and the device has 2 "),
        ((), "contexts of other widths hold columns that one of 4 needs; "),
    ],
)
def test_a_context_without_columns_is_explained(
    emulate: Emulate, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    """The script gets the text of XRT; the report tells what it means."""
    shutil.copy(XCLBIN, tmp_path / "design.xclbin")
    done = emulate(WIDE, options=options)
    text = "DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-19): No such device"
    assert done.out.splitlines()[0] == text
    (note,) = [line for line in done.out.splitlines() if line.startswith("note: hw_context")]
    assert note.startswith(f"note: hw_context failed with No such device: {reason}")


def test_patterns_can_be_given(emulate: Emulate) -> None:
    body = (
        "\nother = pyxrt.xclbin('deep/foo_mha.bin')\nprint(other.get_kernels()[0].get_num_args())\n"
    )
    done = emulate(body, options=("--xclbin", "*mha*=attention"))
    assert (done.code, done.out.splitlines()[0]) == (0, "8")


def test_threads_take_turns(emulate: Emulate) -> None:
    body = """
import threading
def work():
    mine, out = pair()
    for tile in range(30):
        stage(mine, tile)
        run = kernel(3, code, 64, mine, out)
        run.wait()
        out.sync(FROM)
threads = [threading.Thread(target=work) for _ in range(4)]
sys.setswitchinterval(1e-5)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    done = emulate(body)
    sys.setswitchinterval(0.005)
    assert (done.code, done.err) == (0, "")
    calls = {
        line.split()[0]: line.split()[1]
        for line in done.out.splitlines()
        if line.startswith(("kernel()", "run."))
    }
    assert calls == {"kernel()": "120", "run.wait": "120"}
    assert "hazards: none" in done.out


def test_other_forms_of_the_report(emulate: Emulate) -> None:
    body = SHARED + "print('end of the script')\n"
    rows = emulate(body, options=("--json",))
    assert rows.code == 1
    own, _, printed = rows.out.partition("\n")
    assert own == "end of the script"
    assert {row["call"]: row["count"] for row in json.loads(printed)}["kernel()"] == 4
    quiet = emulate(body, options=("-q",)).out
    assert quiet.count("\nhazard ") == emulate(body).out.count("\nhazard ") > 0
    assert "note: " not in quiet
    assert "column 0: " not in quiet


def test_a_missing_xclbin_that_no_pattern_names(emulate: Emulate) -> None:
    done = emulate("\npyxrt.xclbin('gelu.bin')")
    assert done.code == 1
    assert done.err.strip().endswith("RuntimeError: No such file or directory 'gelu.bin'")


@pytest.mark.parametrize(
    ("options", "script", "message"),
    [
        ((), "nothing.py", "nothing.py: no such file"),
        (("--hazards=of",), "script.py", "device.hazards=of: not allowed; did you mean off?"),
        (("--clock=wal",), "script.py", "device.clock=wal: not allowed; did you mean wall?"),
        (
            ("--set", "device.colums=1"),
            "script.py",
            "device.colums=1: unknown key; did you mean device.columns=1?",
        ),
        (("--set", "device.columns=0"), "script.py", "device.columns=0: out of range"),
        (("--xclbin", "mha"), "script.py", "--xclbin mha: give PATTERN=KERNEL each"),
        (("--xclbin", "*=atention"), "script.py", "kernel atention: no "),
        (("--set", "columns"), "script.py", "--set columns: no value; give KEY=VALUE"),
    ],
)
def test_a_wrong_request(
    in_folder: Callable[[], Any],
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    script: str,
    message: str,
) -> None:
    Path("script.py").write_text("print('ran')")
    assert dispatch(["emulate", *options, script]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"harness: {message}")
    assert len(err.splitlines()) == 1


def test_a_trace_that_cannot_be_written(emulate: Emulate) -> None:
    done = emulate(SERIAL, options=("--trace", "nowhere/trace.json"))
    assert done.code == 1
    assert "nowhere/trace.json: the trace cannot be written" in done.err
    assert "hazards: none" in done.out


def test_real_time(emulate: Emulate) -> None:
    begin = time.perf_counter()
    done = emulate(SERIAL, options=("--clock=wall",))
    assert done.code == 0
    assert "ms of wall time" in done.out
    assert time.perf_counter() - begin > 0.080, "what virtual time says it takes"


def test_the_command(in_folder: Callable[[], Any]) -> None:
    Path("script.py").write_text(HEAD + SHARED)
    command = [sys.executable, "-m", "harness", "emulate", "script.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "hazard shared-output" in done.stdout
    assert done.stderr == ""
