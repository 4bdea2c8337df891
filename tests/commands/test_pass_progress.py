"""The progress of a sweep: number of the job, time left, and a line every 10 s in a pipe."""

from __future__ import annotations

import math
import threading

import pytest

from harness.commands import pass_progress
from harness.commands.pass_progress import LINE_S, SweepProgress, duration, patience


def test_a_piped_sweep_prints_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = [0.0]
    progress = SweepProgress(3, now_s=lambda: now_s[0])
    first = progress.job("pooled d1 b1 c1", 2)
    first("verify", 0.0)
    assert capsys.readouterr().err == ""
    now_s[0] = LINE_S
    first("verify", 0.5)
    assert capsys.readouterr().err == "harness: job 1 of 3: pooled d1 b1 c1: verify 50%\n"
    first("verify", 0.9)
    now_s[0] = 2 * LINE_S - 0.1
    second = progress.job("pooled d2 b1 c1", 2)
    second("pass 1 of 1", 0.0)
    assert capsys.readouterr().err == ""
    now_s[0] = 2 * LINE_S
    second("pass 1 of 1", 0.5)
    line = "harness: job 2 of 3, 40 s left: pooled d2 b1 c1: pass 1 of 1 50%\n"
    assert capsys.readouterr().err == line, "one job took 19.9 s, and two are left"
    progress.close()


def test_quiet_sweeps_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = [0.0]
    job = SweepProgress(3, hidden=True, now_s=lambda: now_s[0]).job("pooled", 2)
    now_s[0] = 2 * LINE_S
    job("verify", 0.5)
    assert capsys.readouterr().err == ""


def test_jobs_of_other_processes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pass_progress, "WATCH_S", 0.001)
    now_s, counted = [0.0], threading.Semaphore(0)

    def count() -> int:
        counted.release()
        if now_s[0] > LINE_S:
            raise OSError("the folder is gone")
        return 5

    for hidden, line in ((True, ""), (False, "harness: 5 of 20 jobs have ended, 30 s left\n")):
        now_s[0] = 0.0
        progress = SweepProgress(20, hidden=hidden, now_s=lambda: now_s[0])
        progress.watch(count)
        now_s[0] = LINE_S
        if not hidden:
            counted.acquire()
            now_s[0] = 3 * LINE_S
            counted.acquire()
        progress.close()
        assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (5_399, "90 min"), (5_400, "1.5 h")],
)
def test_durations(time_s: float, text: str) -> None:
    assert duration(time_s) == text


def test_a_reference_that_takes_long_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, said = list[str](), threading.Event()

    def remark(line: str) -> None:
        lines.append(line)
        said.set()

    monkeypatch.setattr("harness.commands.pass_progress.LINE_S", 0)
    with patience(["relu", "gelu", "relu"], remark):
        said.wait()
    assert len(lines) == 1
    assert "still computing inputs and references of relu, gelu; Ctrl-C stops" in lines[0]
    monkeypatch.setattr("harness.commands.pass_progress.LINE_S", math.inf)
    with patience(["relu"], remark):
        pass
    assert len(lines) == 1
