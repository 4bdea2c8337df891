"""A device that goes wrong, and buffers used wrongly, as the command answers them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.process import Done, Shell, in_process, rows

from harness.device.xrt.slot import XrtSlot
from harness.hazard import Kind
from harness.measure.metrics import METRIC_NAMES
from harness.sim.machine import Machine

pytestmark = pytest.mark.slow

STRATEGIES = {
    "baseline": [],
    "pipelined": ["depth=3"],
    "batch": [],
    "stacked": ["strategy.columns=2", "strategy.prefetch=1"],
}
TILES = 12
BROKEN = TILES + 7
"""The eighth execution of the warm-up, which follows the verification."""


@pytest.fixture
def aborts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have ended the process."""
    found: list[str] = []
    monkeypatch.setattr(Machine, "abort", lambda self, reason: found.append(reason))
    return found


@pytest.fixture
def shell(
    in_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    aborts: list[str],
) -> Iterator[Shell]:
    with in_process(monkeypatch, capfd) as run:
        yield lambda *arguments: run("tracking=off", f"workload.tiles={TILES}", *arguments)
    assert not aborts, "no run in flight is ever dropped"


def check_failed(done: Done, reason: str, verdict: str = "FAILED", said: str = "") -> None:
    record = done.record
    assert done.code == 1
    assert done.err == said
    assert record["verdict"] == verdict
    assert reason in record["reason"]
    assert "\n" not in record["reason"]
    assert f"{verdict} {record['label']}: {record['reason']}" in done.out.splitlines()
    assert set(record["metrics"]) == set(METRIC_NAMES)
    assert record["metrics"]["time/total_ms"] is None, "nothing is timed that failed"
    assert record["environment"]["python"]
    assert record["config"]["device"]["faults"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("fault", "single", "listed"),
    [
        (
            "hang",
            "the device ended the run in state ERT_CMD_STATE_TIMEOUT",
            "(ERT_CMD_STATE_TIMEOUT)",
        ),
        ("error", "the device ended the run in state ERT_CMD_STATE_ERROR", "(ERT_CMD_STATE_ERROR)"),
        ("abort", "the device ended the run in state ERT_CMD_STATE_ABORT", "(ERT_CMD_STATE_ABORT)"),
    ],
)
def test_a_command_that_fails(
    shell: Shell, strategy: str, fault: str, single: str, listed: str
) -> None:
    done = shell(f"strategy={strategy}", *STRATEGIES[strategy], f"device.faults.{fault}=[{BROKEN}]")
    in_list = strategy in ("batch", "stacked")
    check_failed(done, f"runlist failed execution {listed}" if in_list else f"attention: {single}")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_device_that_is_lost(shell: Shell, strategy: str) -> None:
    done = shell(f"strategy={strategy}", *STRATEGIES[strategy], f"device.faults.lost={BROKEN}")
    assert any(
        text in done.record["reason"]
        for text in ("err=-19): No such device", "ERT_CMD_STATE_ABORT")
    )
    assert "the device" in done.record["reason"], "what that means"
    check_failed(done, "")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_output_that_is_corrupted(shell: Shell, strategy: str) -> None:
    done = shell(f"strategy={strategy}", *STRATEGIES[strategy], f"device.faults.corrupt=[{BROKEN}]")
    check_failed(done, "tile 7: out[0, 0] is ", "WRONG")
    assert done.record["reason"].endswith("1 of 12 tiles wrong in the warm-up")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_context_that_is_refused(shell: Shell, strategy: str) -> None:
    done = shell(f"strategy={strategy}", *STRATEGIES[strategy], "device.faults.refuse_context=[0]")
    check_failed(done, "CREATE_HWCTX IOCTL failed (err=-22): Invalid argument")


def test_a_second_context_that_is_refused(shell: Shell) -> None:
    check_failed(
        shell("strategy.columns=3", "device.faults.refuse_context=[1]"), "on 3 column(s): DRM_IOCTL"
    )


@pytest.mark.parametrize("strategy", ["baseline", "pipelined"])
def test_slow_tiles_are_waited_for(shell: Shell, strategy: str) -> None:
    slow = f"device.faults.slow=[{2 * TILES + 3}]"  # in the first timed pass
    done = shell(f"strategy={strategy}", "measure.repeats=3", slow, "device.faults.slow_factor=11")
    assert (done.code, done.record["verdict"]) == (0, "OK")
    first, *others = done.record["samples"]["total_ns"]
    assert first > max(others) + 10 * 1_800_000, "eleven times 1.91 ms for one tile"
    assert done.record["timed_pass"] != 0, "the median pass is not the slow one"


def test_a_tile_too_slow_is_timed_out_by_the_watchdog(shell: Shell) -> None:
    done = shell(f"device.faults.slow=[{BROKEN}]", "device.faults.slow_factor=4000")
    check_failed(done, "state ERT_CMD_STATE_TIMEOUT")
    assert done.record["reason"].count("watchdog") == 1, "what the state means is said once"


def test_a_device_without_a_watchdog_hangs_no_longer_than_the_timeout(
    shell: Shell, aborts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept_s: list[float] = []
    sleep = time.sleep

    def log_calls(duration_s: float) -> None:
        slept_s.append(duration_s)
        sleep(duration_s)

    monkeypatch.setattr(time, "sleep", log_calls)
    hang = f"device.faults.hang=[{BROKEN}]"
    done = shell(
        "device.clock=wall",
        "device.watchdog_ns=0",
        "device.timeout_ms=30",
        hang,
        "device.context_open_ns=0",
    )
    waited = (
        "harness: waiting for 2 submissions in flight; "
        "Ctrl-C stops waiting and leaves them running\n"
    )
    check_failed(done, "attention: no completion within device.timeout_ms=30", said=waited)
    assert 0 < sum(slept_s) < 15, "what is waited for is bounded"


def test_a_sweep_goes_on(shell: Shell) -> None:
    done = shell("-m", "strategy=pooled,pipelined", f"device.faults.lost={BROKEN},-1")
    assert done.code == 1
    assert done.verdicts == ["FAILED", "OK", "FAILED", "OK"]
    assert [row.split()[-1] for row in rows(done.out)] == done.verdicts


@pytest.fixture
def sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All slots bind the bos of the first: the classic fault."""
    first: list[XrtSlot] = []
    original = XrtSlot.allocate

    def allocate(self: XrtSlot) -> None:
        original(self)
        for other in [slot for slot in first if slot._session is self._session][:1]:
            for argument, bo in enumerate(other._bos):
                self._runs[1][0].set_arg(3 + argument, bo)
        first.append(self)

    monkeypatch.setattr(XrtSlot, "allocate", allocate)


def test_a_hazard_fails_the_run(shell: Shell, sharing: None) -> None:
    done = shell("strategy=pipelined")
    check_failed(done, "shared-output: run.start at ", "HAZARD")
    hazards = done.record["hazards"]
    assert {hazard["kind"] for hazard in hazards} >= {Kind.SHARED_OUTPUT.value}
    assert done.record["metrics"]["hazard/count"] == sum(hazard["count"] for hazard in hazards) > 0
    for hazard in hazards:
        assert Path(hazard["later"]["file"]).name in (
            "backend.py",
            "executor.py",
            "slot.py",
            "session.py",
        )
        assert hazard["later"]["line"] > 0


def test_a_hazard_can_be_told_only(shell: Shell, sharing: None) -> None:
    done = shell("strategy=pipelined", "device.hazards=report", "verify=off")
    assert (done.code, done.record["verdict"]) == (0, "OK")
    count = done.record["metrics"]["hazard/count"]
    assert count == sum(hazard["count"] for hazard in done.record["hazards"]) > 0
    assert (
        f"OK pooled d2 b1 c1, despite {count} hazards (device.hazards=report)"
        in done.out.splitlines()
    )


def test_what_a_hazard_leaves_undefined_is_wrong(shell: Shell, sharing: None) -> None:
    check_failed(shell("strategy=pipelined", "device.hazards=report"), "tile ", "WRONG")
    done = shell("strategy=pipelined", "device.hazards=off")
    check_failed(done, "tile ", "WRONG")
    assert (done.record["hazards"], done.record["metrics"]["hazard/count"]) == ([], None)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_harness_itself_has_no_hazards(shell: Shell, strategy: str) -> None:
    for more in ([], ["verify=off"], ["measure.warmup=0"]):
        done = shell(f"strategy={strategy}", *STRATEGIES[strategy], *more)
        assert (done.code, done.record["verdict"]) == (0, "OK")
        assert (done.record["hazards"], done.record["metrics"]["hazard/count"]) == ([], 0)
