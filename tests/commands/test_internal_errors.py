"""Whose fault an error is: only errors of the device's library fail a run; others are our own."""

from __future__ import annotations

from typing import Any

import pytest
from support.process import Shell

from harness.commands import sweeper
from harness.config.schema import Config
from harness.execution.verify import Checker, OutputCopies
from harness.sim import pyxrt

pytestmark = pytest.mark.slow


def fail(*given: Any) -> None:
    raise RecursionError("maximum recursion depth exceeded")


@pytest.mark.parametrize("workload", ["attention", "encoder_block", "whisper_tiny"])
def test_a_comparison_that_fails_is_an_internal_error(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, workload: str
) -> None:
    monkeypatch.setattr(Checker, "__call__", fail)
    done = shell("tracking=off", f"workload={workload}", "workload.tiles=4")
    assert done.code == 1
    assert "internal error: RecursionError: maximum recursion depth exceeded" in done.err
    assert done.records == [], "not a failed run"
    assert not plugged().aborted, "no run in flight was dropped"


def test_a_sink_that_fails_at_full_speed_is_one_too(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OutputCopies, "__call__", fail)
    done = shell("tracking=off", "strategy=pipelined", "depth=3")
    assert (done.code, done.records) == (1, [])
    assert "internal error: RecursionError" in done.err
    assert not plugged().aborted


@pytest.mark.parametrize("error", [TypeError, ValueError, OSError])
def test_a_fault_in_the_checks_before_a_sweep_is_one_too(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fault(config: Config) -> Config:
        raise error("a fault")

    monkeypatch.setattr(sweeper, "preflight", fault)
    done = shell("-m", "tracking=off", "depth=1,2")
    assert (done.code, done.records) == (1, [])
    assert done.err == (
        f"harness: internal error: {error.__name__}: a fault; -v prints the traceback\n"
    )


@pytest.mark.parametrize(
    ("owner", "method", "number"),
    [
        (pyxrt.run, "start", 5),
        (pyxrt.run, "state", 5),
        (pyxrt.bo, "sync", 9),
        (pyxrt.bo, "map", 4),
        (pyxrt.run, "set_arg", 7),
    ],
    ids=["start", "wait", "sync", "allocate", "bind"],
)
@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_what_the_device_raises_fails_the_run(
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
    number: int,
    error: type[Exception],
) -> None:
    right, calls = getattr(owner, method), []

    def broken(self: Any, *given: Any) -> Any:
        calls.append(method)
        if len(calls) == number:
            raise error("DRM_IOCTL_AMDXDNA_EXEC_CMD IOCTL failed (err=-19): No such device")
        return right(self, *given)

    monkeypatch.setattr(owner, method, broken)
    done = shell("tracking=off", "strategy=baseline", "workload.tiles=6")
    assert (done.code, done.record["verdict"]) == (1, "FAILED")
    assert done.record["reason"].endswith("No such device (the device is lost)")
    assert "internal" not in done.err
    assert not plugged().aborted


def plugged() -> Any:
    """The machine that the last run was on."""
    from harness.sim.xclbin import machines

    return machines[0]
