"""device=hardware from end to end: the lines that real hardware runs, over a stand-in for pyxrt."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.axlf_file import (
    ARGUMENTS,
    IP_LAYOUT,
    METADATA,
    PARTITION,
    TYPICAL,
    build,
    instances,
    kernel,
    partition,
    xml,
)
from support.fork_server import Forked
from support.npu_machine import Smi
from support.process import (
    INTERRUPTED,
    LIMIT_S,
    ROOT,
    TESTS,
    Done,
    Process,
    end,
    error_lines,
    marking,
    program,
    rows,
    wait_for,
)
from support.window import REGISTER_SMALL

from harness.device.host import locks

pytestmark = pytest.mark.slow


TILES = 12
KERNELS = ("attention", "layernorm", "matmul", "gelu")
ALWAYS_IDLE = "import harness.device.xrt.session; harness.device.xrt.session.WAKE_AFTER_NS = 0"
"""Has the device woken before every pass."""
ENDLESS = "measure.repeats=10000"
"""More passes than any test waits for."""
STRATEGIES = {
    "baseline": ("per_tile d1 b1 c1", []),
    "pooled": ("pooled d1 b1 c1", []),
    "pipelined": ("pooled d3 b1 c1", ["depth=3"]),
    "batch": ("pooled d1 b4 c1", []),
    "stacked": ("pooled d2 b4 c2 p1", ["strategy.columns=2", "strategy.prefetch=1"]),
}
REGULAR = {"refuse": -1, "exhausted": -1, "interrupt": False, "interrupt_at": "", "marks": []}
START = Callable[..., Process]


@pytest.fixture
def kernels(in_folder: Path) -> Path:
    """A folder with what stands for a built attention kernel."""
    folder = in_folder / "built"
    folder.mkdir()
    (folder / "attention.xclbin").write_bytes(b"no xclbin: the stand-in knows it by its name")
    np.arange(16, dtype=np.uint32).tofile(folder / "attention.insts.bin")
    return folder


@pytest.fixture
def start(kernels: Path) -> START:
    """Start the command on the stand-in: its arguments, and keywords for the stand-in.

    forked: false where the command line that /proc shows matters.
    """

    def begin(*arguments: str, setup: str = "", forked: bool = True, **wanted: Any) -> Process:
        settings = {"machine": {}, "faults": {}, "without": [], "answers": {}, **REGULAR, **wanted}
        settings |= {"locks": str(kernels.parent), "report": str(kernels.parent / "report.json")}
        paths = os.pathsep.join([str(TESTS / "standin"), str(ROOT), str(TESTS)])
        path = os.pathsep.join([str(kernels.parent / "bin"), os.environ["PATH"]])
        environment = {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": paths,
            "STAND_IN": json.dumps(settings),
        }
        given = [
            "device=hardware",
            f"device.kernels_dir={kernels}",
            "tracking=off",
            f"workload.tiles={TILES}",
            "measure.repeats=5",
        ]
        if forked:
            return Forked(setup, [*given, *arguments], environment)
        command = [sys.executable, *(program(setup) if setup else ["-m", "harness"]), *given]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*command, *arguments], stdout=pipe, stderr=pipe, text=True, env=environment
        )

    return begin


@pytest.fixture
def harness(start: START, in_folder: Path) -> Callable[..., Done]:
    """The same, until it has ended. It drops no run in flight, and a success has no hazard."""

    def run(*arguments: str, **wanted: Any) -> Done:
        done = end(start(*arguments, **wanted))
        assert done.code != -signal.SIGABRT, "a run in flight was dropped"
        assert "Traceback" not in done.err, done.err
        if (in_folder / "report.json").exists():
            report = json.loads((in_folder / "report.json").read_text())
            assert not report["aborted"]
            assert not report["hazards"] or done.code, "what a failure leaves unread is no mistake"
        return done

    return run


def build_others(kernels: Path) -> None:
    """As attention, so the encoder's other kernels."""
    for name in KERNELS[1:]:
        for ending in (".xclbin", ".insts.bin"):
            shutil.copy(kernels / f"attention{ending}", kernels / f"{name}{ending}")


def left_behind(in_folder: Path) -> tuple[int, list[str]]:
    """Runs in flight at the end of the process, and what was freed under any."""
    report = json.loads((in_folder / "report.json").read_text())
    return report["in_flight"], [told for told in report["hazards"] if told.startswith("freed")]


def locked() -> bool:
    """Whether a command has come as far as the device."""
    lock = Path("npu-harness-0.lock")
    return lock.exists() and bool(lock.read_text())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run(harness: Callable[..., Done], strategy: str) -> None:
    label, arguments = STRATEGIES[strategy]
    done = harness(f"strategy={strategy}", *arguments)
    assert (done.code, done.err) == (0, "")
    (row,) = rows(done.out)
    assert row.startswith(f"{label} ")
    record = done.record
    assert (record["verdict"], record["device"]) == ("OK", "hardware")
    metrics = record["metrics"]
    assert metrics["verify/tiles"] == TILES * 7, "verification, warm-up and five passes"
    assert metrics["verify/mismatches"] == 0
    assert metrics["time/total_ms"] >= TILES * 0.3 / (2 if strategy == "stacked" else 1)
    assert metrics["time/exec_ms"] is None, "pyxrt gives no timestamps of the device"
    assert metrics["hazard/count"] is None, "hardware does not look for hazards"
    assert metrics["harness/self_us"] > 0
    assert record["machine"]["before"]["kernel"] == os.uname().release
    assert record["machine"]["before"] == record["machine"]["after"]


@pytest.mark.parametrize(
    "arguments", [["depth=3"], ["strategy=stacked", "strategy.resident=true"]], ids=" ".join
)
@pytest.mark.parametrize("without", [[], ["runlist"]], ids=["", "no runlists"])
def test_a_chain(
    harness: Callable[..., Done], kernels: Path, arguments: list[str], without: list[str]
) -> None:
    build_others(kernels)
    done = harness("workload=encoder_block", f"workload.tiles={TILES}", *arguments, without=without)
    assert (done.code, done.err, done.record["verdict"]) == (0, "", "OK")
    assert done.record["metrics"]["verify/tiles"] == TILES * 7
    done = harness(
        "workload=encoder_block", *arguments, without=without, faults={"error": [3 * TILES]}
    )
    assert (done.code, done.records[-1]["verdict"]) == (1, "FAILED")


def test_outputs_are_compared(harness: Callable[..., Done]) -> None:
    done = harness("strategy=pipelined", faults={"corrupt": [TILES + 3]})
    assert (done.code, done.record["verdict"]) == (1, "WRONG")
    assert "tile 3" in done.record["reason"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"error": [TILES + 7]}, "failed"),
        ({"abort": [TILES + 7]}, "ABORT"),
        ({"lost": TILES + 7}, ""),
    ],
    ids=["error", "abort", "lost"],
)
def test_a_device_that_fails(
    harness: Callable[..., Done], strategy: str, fault: Any, reason: str
) -> None:
    done = harness(
        f"strategy={strategy}",
        *STRATEGIES[strategy][1],
        faults=fault,
        machine={"watchdog_ns": 200_000_000},
    )
    assert (done.code, done.record["verdict"], done.err) == (1, "FAILED", "")
    assert reason in done.record["reason"]
    assert done.record["metrics"]["time/total_ms"] is None


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_hang_that_the_watchdog_ends(harness: Callable[..., Done], strategy: str) -> None:
    hang, machine = {"hang": [TILES + 7]}, {"watchdog_ns": 300_000_000}
    done = harness(f"strategy={strategy}", *STRATEGIES[strategy][1], faults=hang, machine=machine)
    assert (done.code, done.record["verdict"]) == (1, "FAILED")
    assert "TIMEOUT" in done.record["reason"]


@pytest.mark.parametrize("strategy", ["baseline", "pipelined"])
def test_a_hang_that_nothing_ends(harness: Callable[..., Done], strategy: str) -> None:
    """The run stays in flight to the end of the process, which must not destroy it."""
    done = harness(
        f"strategy={strategy}",
        "device.timeout_ms=100",
        faults={"hang": [7]},
        machine={"watchdog_ns": 0},
    )
    assert (done.code, done.record["verdict"]) == (1, "FAILED")
    assert "device.timeout_ms=100" in done.record["reason"]


def test_a_sweep_goes_on_past_a_hang(harness: Callable[..., Done]) -> None:
    done = harness(
        *("-m", "strategy=pooled,pipelined"),
        faults={"hang": [7]},
        machine={"watchdog_ns": 300_000_000},
    )
    assert (done.code, done.verdicts) == (1, ["FAILED", "OK"])


WIDE = ["strategy.columns=4"]
"""Of six contexts: what one run has not given back, the next one misses."""


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("without", [[], ["runlist"]], ids=["", "no runlists"])
def test_contexts_are_given_back_after_a_failure(
    harness: Callable[..., Done], strategy: str, without: list[str]
) -> None:
    faults = {"error": [7], "hang": [TILES * 7 + 9]}
    machine = {"watchdog_ns": 300_000_000}
    arguments = [
        "-m",
        f"strategy={strategy}",
        *STRATEGIES[strategy][1],
        *WIDE,
        "seed=1,2,3",
        "measure.repeats=5",
    ]
    done = harness(*arguments, faults=faults, machine=machine, without=without)
    reasons = [record["reason"] for record in done.records]
    assert not any("CREATE_HWCTX" in reason for reason in reasons), reasons
    assert done.verdicts.count("OK") >= 1
    assert done.verdicts[0] == "FAILED"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("without", [[], ["runlist"]], ids=["", "no runlists"])
def test_a_start_that_is_refused(
    harness: Callable[..., Done], strategy: str, without: list[str]
) -> None:
    """To XRT it is in flight: dropped, it would end the process."""
    done = harness(f"strategy={strategy}", *STRATEGIES[strategy][1], refuse=1, without=without)
    assert (done.code, done.record["verdict"]) == (1, "FAILED")
    assert "EXEC_CMD IOCTL failed (err=-5)" in done.record["reason"]


def test_what_a_kept_run_holds_is_told(harness: Callable[..., Done]) -> None:
    never = {"faults": {"hang": [2]}, "machine": {"watchdog_ns": 0}}
    done = harness("-m", "strategy=pooled", *WIDE, "seed=1,2", refuse=2, **never)
    assert done.verdicts == ["FAILED", "FAILED"]
    assert (
        "runs of this process that never ended hold contexts: attention"
        in done.records[1]["reason"]
    )


def test_out_of_memory_for_bos(harness: Callable[..., Done]) -> None:
    done = harness("strategy=pooled", exhausted=1)
    assert (done.code, done.record["verdict"]) == (1, "FAILED")
    assert "bad_alloc" in done.record["reason"]


def test_more_columns_than_there_are(harness: Callable[..., Done], kernels: Path) -> None:
    put(kernels, "attention", columns=2)
    assert harness("strategy=pooled", "strategy.columns=2").code == 0
    done = harness("strategy=pooled", "strategy.columns=3")
    assert (done.code, done.out) == (2, "")
    (line,) = error_lines(done)
    assert (
        "strategy.columns=3: the xclbin of attention is 2 columns wide and the device has 4" in line
    )
    assert "use 1 to 2" in line


def test_an_xclbin_wider_than_the_device(harness: Callable[..., Done], kernels: Path) -> None:
    put(kernels, "attention", columns=8)
    done = harness("strategy=pooled")
    assert (done.code, done.out) == (2, "")
    (line,) = error_lines(done)
    assert "attention.xclbin: wants 8 columns, and the device has 4 (device.columns); " in line


def test_passes_far_apart(harness: Callable[..., Done]) -> None:
    """The harness wakes an idle device; it keeps nothing of that and counts none in a pass."""
    done = harness("-m", "seed=1,2,3", "strategy=pooled", *WIDE, setup=ALWAYS_IDLE)
    assert (done.code, done.verdicts) == (0, ["OK"] * 3), [
        record["reason"] for record in done.records
    ]
    assert [record["metrics"]["alloc/steady_state"] for record in done.records] == [0] * 3
    done = harness("measure.warmup=0", "strategy=pooled", *WIDE, setup=ALWAYS_IDLE)
    assert (done.code, done.err) == (0, "")


def test_a_pyxrt_without_runlists(harness: Callable[..., Done]) -> None:
    done = harness("-m", "strategy=batch,pooled", without=["runlist"])
    assert (done.code, done.verdicts) == (0, ["OK", "OK"])
    assert [record["label"] for record in done.records] == [
        "pooled d1 b4 c1 no-runlist",
        "pooled d1 b1 c1",
    ]
    assert rows(done.out)[0].startswith("pooled d1 b4 c1 no-runlist ")


@pytest.mark.parametrize("watchdog_ns", [0, 300_000_000])
def test_a_hang_without_runlists(harness: Callable[..., Done], watchdog_ns: int) -> None:
    done = harness(
        *("strategy=batch", "device.timeout_ms=5000" if watchdog_ns else "device.timeout_ms=100"),
        without=["runlist"],
        faults={"hang": [5]},
        machine={"watchdog_ns": watchdog_ns},
    )
    assert (done.code, done.record["verdict"]) == (1, "FAILED")


def test_no_context_left(harness: Callable[..., Done]) -> None:
    done = harness("strategy=pooled", "strategy.columns=4", machine={"context_limit": 2})
    assert (done.code, done.record["verdict"]) == (1, "FAILED")
    assert "err=-22" in done.record["reason"]
    assert "aie-partitions" in done.record["reason"], "who has them"


def starts(in_folder: Path) -> int:
    """Submissions of a process that has ended."""
    return json.loads((in_folder / "report.json").read_text())["starts"]


@pytest.mark.parametrize("strategy", ["pooled", "stacked"])
def test_ctrl_c_in_a_pass(start: START, strategy: str) -> None:
    running = start(f"strategy={strategy}", "workload.tiles=3000", ENDLESS, marks=["start 900"])
    wait_for(Path("start 900").exists, running)
    running.send_signal(signal.SIGINT)
    done = end(running)
    assert done.code == 130
    assert error_lines(done) == [INTERRUPTED]
    assert done.record["reason"] == "interrupted"


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_a_run_hangs(start: START, times: int, in_folder: Path) -> None:
    """Once: the harness waits for the end of the run, which the watchdog brings about.

    Twice: it leaves the run in flight and still does not drop it.
    """
    running = start(
        *("strategy=pipelined", "device.timeout_ms=600000"),
        setup=marking("harness.execution.executor:finish_in_flight", "drain"),
        faults={"hang": [7]},
        machine={"watchdog_ns": 0 if times == 2 else 300_000_000},
        interrupt_at="start 7",
    )
    if times == 2:
        wait_for(Path("drain").exists, running)
        running.send_signal(signal.SIGINT)
    done = end(running)
    assert done.code == 130
    assert done.record["reason"] == "interrupted"
    left = json.loads((in_folder / "report.json").read_text())["in_flight"]
    assert left == 0 if times == 1 else left > 0
    assert starts(in_folder) <= 9, "nothing is started after Ctrl-C but what was under way"


def test_ctrl_c_that_only_the_end_of_a_failed_runlist_lets_through(
    harness: Callable[..., Done],
) -> None:
    done = harness(
        *("-m", "strategy=batch", "seed=1,2"),
        interrupt=True,
        faults={"hang": [7]},
        machine={"watchdog_ns": 300_000_000},
    )
    assert (done.code, done.verdicts) == (130, ["FAILED"]), "the sweep ends"
    assert done.record["reason"].startswith("interrupted")


def test_ctrl_c_that_is_ignored(start: START) -> None:
    """By a shell that starts jobs in the background, or nohup."""
    marks = [f"start {number}" for number in range(500, 5500, 500)]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        running = start(
            "strategy=pooled", "workload.tiles=1000", marks=["opening", *marks], forked=False
        )
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for state in ("opening", *marks):
        wait_for(Path(state).exists, running)
        running.send_signal(signal.SIGINT)
    done = end(running)
    assert (done.code, done.verdicts) == (0, ["OK"])


def test_the_machine_changes(harness: Callable[..., Done]) -> None:
    def told(mode: str) -> str:
        return json.dumps({"platforms": [{"status": {"power_mode": mode}}]})

    done = harness(
        "strategy=pooled",
        answers={"platform": [told("balanced"), told("performance"), told("default")]},
    )
    record = done.record
    assert (done.code, record["verdict"]) == (1, "INVALID")
    assert "power mode: performance -> default" in record["reason"]
    assert record["reason"] in done.out
    assert record["metrics"]["time/total_ms"] is None
    assert len(record["samples"]["total_ns"]) == 5, "what was measured is kept"
    assert record["machine"]["before"]["power_mode"] == "performance"
    assert record["machine"]["after"]["power_mode"] == "default"


def test_another_power_mode_than_was_asked_for(
    harness: Callable[..., Done], in_folder: Path
) -> None:
    """xrt-smi says yes, the device something else: an OK would allow wrong comparisons."""
    smi = Smi(in_folder / "bin")
    told = json.dumps({"platforms": [{"status": {"power_mode": "default"}}]})
    done = harness("strategy=pooled", "device.power_mode=performance", answers={"platform": [told]})
    assert (done.code, done.record["verdict"]) == (1, "INVALID")
    assert "device.power_mode=performance: the device was in mode default" in done.record["reason"]
    assert smi.mode == "default", "restored"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_run_leaves_its_record_and_no_power_mode(
    start: START, in_folder: Path, number: signal.Signals
) -> None:
    smi = Smi(in_folder / "bin")
    arguments = ("strategy=pooled", "workload.tiles=3000", ENDLESS, "device.power_mode=turbo")
    running = start(*arguments, marks=["start 900"])
    wait_for(Path("start 900").exists, running)
    assert smi.mode == "turbo"
    running.send_signal(number)
    done = end(running)
    assert (done.code, smi.mode) == (128 + number, "default")
    assert done.record["reason"] == "interrupted"


# An encoder's window, whose kernels' contexts are opened as they are needed

WINDOW = ["workload=whisper_tiny", "workload.tiles=3", "measure.repeats=3"]
SMALL_WINDOW = [*WINDOW, "workload.model=small"]
TWO = "strategy.columns=2"
"""Of four kernels: eight contexts, two more than there are."""


@pytest.mark.parametrize(
    ("arguments", "without"),
    [([], []), ([TWO], []), ([TWO, "strategy.batch=4"], ["runlist"])],
    ids=["kept", "reopened", "no runlists"],
)
def test_a_window(
    harness: Callable[..., Done], kernels: Path, arguments: list[str], without: list[str]
) -> None:
    build_others(kernels)
    done = harness(*SMALL_WINDOW, *arguments, setup=REGISTER_SMALL, without=without)
    assert (done.code, done.err, done.record["verdict"]) == (0, "", "OK")
    assert done.record["metrics"]["verify/mismatches"] == 0
    assert (done.record["totals"]["open_ns"] > 0) == bool(arguments), (
        "contexts that stay open are opened once"
    )
    assert done.record["label"].endswith("no-runlist") == bool(without)


@pytest.mark.parametrize("fault", [{"error": [0]}, {"hang": [90]}], ids=str)
def test_a_window_that_fails(
    harness: Callable[..., Done], kernels: Path, in_folder: Path, fault: Any
) -> None:
    """A context's first run fails, or a later one: the next run lacks what the failed one keeps."""
    build_others(kernels)
    arguments = ("-m", "seed=1,2", *SMALL_WINDOW, "strategy.columns=4")
    done = harness(
        *arguments, setup=REGISTER_SMALL, faults=fault, machine={"watchdog_ns": 300_000_000}
    )
    assert done.verdicts == ["FAILED", "OK"], [record["reason"] for record in done.records]
    assert left_behind(in_folder) == (0, [])


@pytest.mark.parametrize("hang", [1, 90])
def test_a_window_with_a_hang_that_nothing_ends(
    harness: Callable[..., Done], kernels: Path, in_folder: Path, hang: int
) -> None:
    """Nothing that the run needs goes before it.

    The harness keeps its instructions and its context as it keeps its buffers.
    """
    build_others(kernels)
    hanging = {"faults": {"hang": [hang]}, "machine": {"watchdog_ns": 0}}
    done = harness(*SMALL_WINDOW, TWO, "device.timeout_ms=100", setup=REGISTER_SMALL, **hanging)
    assert (done.code, done.record["verdict"]) == (1, "FAILED")
    left, freed = left_behind(in_folder)
    assert left >= 1
    assert not freed


def test_a_device_that_hangs_when_it_is_woken(
    harness: Callable[..., Done], in_folder: Path
) -> None:
    hang = {"faults": {"hang": [0]}, "machine": {"watchdog_ns": 0}}
    done = harness("strategy=pooled", "device.timeout_ms=100", setup=ALWAYS_IDLE, **hang)
    assert (done.code, done.record["verdict"]) == (1, "FAILED")
    assert left_behind(in_folder) == (1, [])


@pytest.mark.parametrize(
    ("wanted", "state", "kept"),
    [
        ({"machine": {"context_open_ns": 1_000_000_000}}, "opening", 0),
        ({"faults": {"hang": [1]}, "machine": {"watchdog_ns": 0}}, "start 1", 1),
        ({"machine": {"exec_ns": dict.fromkeys(KERNELS, 50_000_000)}}, "start 20", 0),
    ],
    ids=["opening", "a first run", "a pass"],
)
def test_ctrl_c_in_a_window(
    start: START, kernels: Path, in_folder: Path, wanted: dict[str, Any], state: str, kept: int
) -> None:
    """Its first pass has 200 calls a column: for ten seconds, none is a context's first run."""
    build_others(kernels)
    arguments = (*WINDOW, "workload.tiles=400", TWO, "device.timeout_ms=600000")
    running = start(*arguments, marks=[state], **wanted)
    wait_for(Path(state).exists, running)
    running.send_signal(signal.SIGINT)
    done = end(running)
    assert (done.code, done.record["reason"]) == (130, "interrupted")
    assert error_lines(done) == [INTERRUPTED]
    assert left_behind(in_folder) == (kept, [])


# One experiment at a time


def test_two_processes_at_once(start: START, harness: Callable[..., Done]) -> None:
    first = start("strategy=pooled", "workload.tiles=2000", ENDLESS, forked=False)
    wait_for(locked, first)
    done = harness("strategy=pooled")
    assert (done.code, done.out) == (2, "")
    (line,) = error_lines(done)
    assert f"pid {first.pid} (" in line
    assert "workload.tiles=2000" in line, "the command of the holder"
    first.send_signal(signal.SIGINT)
    assert end(first).code == 130


def test_a_killed_holder_leaves_no_lock(
    start: START, harness: Callable[..., Done], in_folder: Path
) -> None:
    first = start("strategy=pooled", "workload.tiles=2000", ENDLESS)
    wait_for(locked, first)
    first.kill()
    end(first)
    assert (in_folder / "npu-harness-0.lock").exists()
    assert harness("strategy=pooled").code == 0


def test_the_holder_is_told_without_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "FOLDER", tmp_path)
    assert locks.holder(0) is None
    lock = locks.lock_device(0)
    assert f"pid {os.getpid()} " in str(locks.holder(0))
    assert locks.holder(1) is None
    recorded = json.loads((tmp_path / "npu-harness-0.lock").read_text())
    assert recorded["command"] == shlex.join(sys.orig_argv)
    (tmp_path / "npu-harness-0.lock").write_text(
        json.dumps({**recorded, "command": "another that had this pid"})
    )
    assert locks.holder(0) is None
    lock.release()


def test_contexts_are_opened_one_process_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "FOLDER", tmp_path)
    code = (
        "from pathlib import Path; from harness.device.host import locks\n"
        f"locks.FOLDER = Path({str(tmp_path)!r})\n"
        "taken = locks._try_lock\n"
        "def tell(lock):\n"
        "    found = taken(lock)\n"
        "    print('free' if found else 'busy', flush=True)\n"
        "    return found\n"
        "locks._try_lock = tell\n"
        "with locks.opening(0): print('in', flush=True)"
    )
    with locks.opening(0):
        other = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ},
        )
        assert other.stdout
        assert [other.stdout.readline() for _ in range(3)] == ["busy\n"] * 3
    *before, free, inside = other.communicate(timeout=LIMIT_S)[0].split()
    assert (set(before) <= {"busy"}, free, inside) == (True, "free", "in")


def test_a_lock_outlives_no_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "FOLDER", tmp_path)
    lock = locks.lock_device(0)
    begun, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.write(begun[1], b"x")
        os.close(go[1])
        os.read(go[0], 1)
        os._exit(0)
    os.read(begun[0], 1)
    try:
        lock.release()
        locks.lock_device(0).release()
    finally:
        for end_of_pipe in (*begun, *go):
            os.close(end_of_pipe)
        assert os.waitpid(child, 0)[1] == 0


def test_a_lock_is_taken_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pwrite(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(locks, "FOLDER", tmp_path)
    monkeypatch.setattr(os, "pwrite", pwrite)
    lock = locks.lock_device(0)
    with pytest.raises(locks.RequestError, match="another process runs an experiment"):
        locks.lock_device(0)
    lock.release()


def test_contexts_that_another_opens_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "FOLDER", tmp_path)
    monkeypatch.setattr(locks, "OPENING_ATTEMPTS", 2)
    said_of_it = rf"pid {os.getpid()} .* has been opening contexts"
    with locks.opening(0), pytest.raises(locks.DeviceError, match=said_of_it), locks.opening(0):
        pass


def test_a_lock_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "npu-harness-0.lock").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(locks, "FOLDER", tmp_path)
    with pytest.raises(
        locks.RequestError, match=r"npu-harness-0\.lock: the lock file .* cannot be opened"
    ):
        locks.lock_device(0)


# Files of kernels


def put(kernels: Path, *names: str, bos: int = 5, columns: int = 1) -> None:
    """An xclbin with kernels of these names in the place of attention's."""
    content = TYPICAL | {
        METADATA: xml(*(kernel(name, *ARGUMENTS[: 3 + bos]) for name in names)),
        IP_LAYOUT: instances(*(f"{name}:one" for name in names)),
        PARTITION: partition(columns),
    }
    (kernels / "attention.xclbin").write_bytes(build(content))


@pytest.mark.parametrize(
    "names", [("attention",), ("MLIR_AIE",), ("attention", "MLIR_AIE")], ids=" ".join
)
def test_the_kernel_is_found_by_its_name(
    harness: Callable[..., Done], kernels: Path, names: tuple[str, ...]
) -> None:
    put(kernels, *names)
    done = harness("strategy=pooled")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(
    ("spoil", "arguments", "said_of_it"),
    [
        (lambda kernels: (kernels / "attention.xclbin").unlink(), [], "attention.xclbin"),
        (lambda kernels: (kernels / "attention.insts.bin").unlink(), [], "attention.insts.bin"),
        (
            lambda kernels: (kernels / "attention.insts.bin").write_text("no hex"),
            [],
            "no instructions",
        ),
        (
            lambda kernels: (kernels / "attention.insts.bin").write_bytes(b"\0\1\2"),
            [],
            "no instructions",
        ),
        (lambda kernels: (kernels / "attention.insts.bin").write_bytes(b""), [], "no instructions"),
        (
            lambda kernels: None,
            ["device.xclbin.attention=gone.xclbin"],
            "device.xclbin.attention=gone.xclbin",
        ),
        (
            lambda kernels: None,
            ["device.insts.attention=gone.bin"],
            "device.insts.attention=gone.bin",
        ),
        (
            lambda kernels: None,
            ["device.xclbin.atention=a.xclbin"],
            "did you mean device.xclbin.attention=",
        ),
        (
            lambda kernels: put(kernels, "other"),
            [],
            "contains other; needs one kernel named attention or MLIR_AIE",
        ),
        (
            lambda kernels: put(kernels, "MLIR_AIE", "MLIR_AIE2"),
            [],
            "contains MLIR_AIE, MLIR_AIE2; needs one kernel",
        ),
        (
            lambda kernels: put(kernels, "attention", bos=1),
            [],
            "declares 4 arguments; attention takes 5",
        ),
        (lambda kernels: None, ["device.index=1"], "device.index=1"),
        (lambda kernels: None, ["device.index=99999999999"], "device.index=99999999999"),
        (
            lambda kernels: (kernels / "attention.xclbin").write_bytes(
                (ROOT / "tests/data/mlir_aie.xclbin").read_bytes()[:99]
            ),
            [],
            "cannot read an xclbin",
        ),
    ],
    ids=[
        *("xclbin", "insts", "text", "bytes", "empty", "override", "instructions", "kernel"),
        *("name", "names", "arguments", "index", "far", "broken"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["-m", "depth=1,2"]], ids=["run", "sweep"])
def test_files_that_will_not_do(
    harness: Callable[..., Done],
    kernels: Path,
    spoil: Any,
    arguments: list[str],
    said_of_it: str,
    flags: list[str],
) -> None:
    spoil(kernels)
    done = harness(*flags, *arguments)
    assert (done.code, done.out, done.folders) == (2, "", [])
    (line,) = error_lines(done)
    assert said_of_it in line


def test_files_given_by_path(harness: Callable[..., Done], kernels: Path, in_folder: Path) -> None:
    elsewhere = in_folder / "my attention"
    kernels.rename(elsewhere)
    (elsewhere / "attention.xclbin").rename(elsewhere / "final attention.xclbin")
    words = np.fromfile(elsewhere / "attention.insts.bin", np.uint32)
    (elsewhere / "insts.txt").write_text("".join(f"{word:08X}\n" for word in words))
    given = [f"device.xclbin.attention='{elsewhere / 'final attention.xclbin'}'"]
    done = harness(*given, f"device.insts.attention='{elsewhere / 'insts.txt'}'")
    assert (done.code, done.err) == (0, "")
