"""Runs, runlists and contexts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.config.device import Device, Simulator
from npu.bench import RESUME_NS, Bench

ROOT = Path(__file__).parents[2]
REFUSED = r"CREATE_HWCTX IOCTL failed \(err=-?\d+\)"


def test_a_prepared_run(npu: Bench) -> None:
    job = npu.job(npu.open())
    assert job.run.state() == npu.state.ERT_CMD_STATE_NEW == 1
    for seed in range(3):
        npu.stage(job, seed)
        job.start()
        assert job.run.wait() == npu.state.ERT_CMD_STATE_COMPLETED == 4
        assert job.run.state() == npu.state.ERT_CMD_STATE_COMPLETED
        assert job.run.wait(1) == npu.state.ERT_CMD_STATE_COMPLETED, "at once: it has ended"
        npu.check(job)
    npu.stage(job, 3)
    job.start()
    assert job.run.wait2() is None
    npu.check(job)


def test_other_bos(npu: Bench) -> None:
    """What `set_arg` was last given counts."""
    opened = npu.open()
    job, other = npu.job(opened, 0), npu.job(opened, 1)
    job.start()
    job.run.wait()
    npu.check(job)
    npu.stage(job, 2)
    for index, bo in ((3, other.source), (4, other.target)):
        job.run.set_arg(index, bo)
    job.start()
    job.run.wait()
    npu.check(other)
    assert (npu.output(job) == ~job.expected).all()


def test_a_call_of_the_kernel(npu: Bench) -> None:
    opened = npu.open()
    job = npu.job(opened)
    run = opened.kernel(3, opened.instructions, opened.instructions.size(), job.source, job.target)
    assert run.wait() == npu.state.ERT_CMD_STATE_COMPLETED
    npu.check(job)


def test_states_in_flight(npu: Bench) -> None:
    """NEW from the start to the end, as amdxdna has it, and no other before COMPLETED."""
    opened = npu.open()
    jobs = [npu.job(opened, seed) for seed in range(4)]
    for job in jobs:
        job.start()
    seen = [int(jobs[-1].run.state())]
    while seen[-1] == 1:
        seen.append(int(jobs[-1].run.state()))
    assert set(seen) == {1, 4}
    assert [int(job.run.state()) for job in jobs] == [4] * 4, "in order"
    npu.check(*jobs)


def test_a_wait_that_times_out_ends_nothing(npu: Bench) -> None:
    opened = npu.open()
    jobs = [npu.job(opened, seed) for seed in range(4)]
    for job in jobs:
        job.start()
    with pytest.raises(RuntimeError, match="unexpected command state"):
        jobs[-1].run.wait(1)
    assert jobs[-1].run.state() == npu.state.ERT_CMD_STATE_NEW
    assert [int(job.run.wait()) for job in jobs] == [4] * 4
    npu.check(*jobs)


def test_a_second_start(npu: Bench) -> None:
    job = npu.job(npu.open())
    job.start()
    with pytest.raises(RuntimeError, match="bad command state, can't launch"):
        job.start()
    assert job.run.wait() == npu.state.ERT_CMD_STATE_COMPLETED
    npu.check(job)
    job.start()
    assert job.run.wait() == npu.state.ERT_CMD_STATE_COMPLETED
    npu.check(job)


@pytest.mark.parametrize("count", [1, 3, 25])
def test_a_runlist(npu: Bench, count: int) -> None:
    """25 do not fit in one chain of commands."""
    opened = npu.open()
    listed, jobs = (
        npu.pyxrt.runlist(opened.context),
        [npu.job(opened, seed) for seed in range(count)],
    )
    for job in jobs:
        listed.add(job.run)
    for seed in (0, 100):
        for number, job in enumerate(jobs):
            npu.stage(job, seed + number)
        npu.execute(listed, jobs)
        assert listed.wait() is None
        npu.check(*jobs)
        assert {int(job.run.state()) for job in jobs} == {1}, "amdxdna leaves them NEW"


def test_what_a_runlist_refuses(npu: Bench) -> None:
    opened = npu.open()
    listed, jobs = npu.pyxrt.runlist(opened.context), [npu.job(opened, seed) for seed in range(3)]
    listed.execute()
    listed.wait()
    for job in jobs[:2]:
        listed.add(job.run)
    with pytest.raises(
        RuntimeError, match="Run object belongs to a runlist and cannot be explicitly started"
    ):
        jobs[0].start()
    npu.execute(listed, jobs[:2])
    with pytest.raises(RuntimeError, match="must be idle before submitting"):
        listed.execute()
    with pytest.raises(RuntimeError, match="must be idle before adding"):
        listed.add(jobs[2].run)
    listed.wait()
    npu.check(*jobs[:2])


def test_four_contexts(npu: Bench) -> None:
    jobs = [npu.job(npu.open(), seed) for seed in range(4)]
    for _ in range(3):
        for job in jobs:
            job.start()
        for job in reversed(jobs):
            assert job.run.wait() == npu.state.ERT_CMD_STATE_COMPLETED
        npu.check(*jobs)


def test_as_many_contexts_as_there_are(npu: Bench) -> None:
    """Six on a Phoenix, over all processes."""
    contexts: list[Any] = []

    def fill() -> None:
        while len(contexts) < 64:
            contexts.append(npu.context())

    with pytest.raises(RuntimeError, match=REFUSED):
        fill()
    assert len(contexts) == 6 if npu.simulated else len(contexts) >= 4
    contexts.pop()
    contexts.append(npu.context())
    with pytest.raises(RuntimeError, match=REFUSED):
        npu.context()


def test_after_a_rest(npu: Bench) -> None:
    """The device is suspended in between: the next run takes longer, and is as right."""
    job = npu.job(npu.open())
    took_ns = []
    for seed in range(3):
        npu.stage(job, seed)
        begin_ns = npu.world.clock.now_ns
        job.start()
        assert job.run.wait() == npu.state.ERT_CMD_STATE_COMPLETED
        took_ns.append(npu.world.clock.now_ns - begin_ns)
        npu.check(job)
        if seed == 1:
            npu.idle()
    assert took_ns[2] - took_ns[1] > RESUME_NS // 10, (
        "was it suspended? its power/control must be auto"
    )


@pytest.mark.parametrize(
    ("before", "ends"), [("nothing", True), ("wait(1)", True), ("wait", False), ("state", False)]
)
def test_a_run_that_is_dropped(
    device: Device, request: pytest.FixtureRequest, tmp_path: Path, before: str, ends: bool
) -> None:
    """Before its end was seen, XRT aborts the process.

    The simulator raises ProcessAborted at the next call.
    """
    simulated = isinstance(device, Simulator)
    path = "sim" if simulated else str(Path(request.config.getoption("--kernels-dir")).absolute())
    found = (
        str(ROOT),
        str(ROOT / "tests"),
        os.environ.get("PYTHONPATH", ""),
    )  # XRT's setup script sets it
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(found)}
    command = [sys.executable, "-m", "npu.drop", path, before]
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if not ends:
        assert (ran.returncode, ran.stdout) == (0, "alive\n"), ran.stderr
    elif simulated:
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "ProcessAborted: a run was dropped before its completion was seen" in ran.stderr
    else:
        assert ran.returncode == -signal.SIGABRT, ran.stderr
