"""Which pictures a run and a sweep leave, and that a failure to draw loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.pictures import Broken, Hanging, Here, Quick
from support.process import TESTS, Done, Shell, in_process, wait_for
from support.store import filed, import_mlflow, runs_of

from harness.commands import draw_process
from harness.commands.attach_pictures import local_store_of
from harness.commands.draw_process import Drawing
from harness.commands.launchers import measures_real_time
from harness.commands.main import dispatch
from harness.commands.pictures import SWITCH, Pictures
from harness.config.compose import load
from harness.report.pictures.curves import CurvesPicture
from harness.report.pictures.files import Picture
from harness.report.pictures.timeline import TimelinePicture
from harness.study.sweep_curves import Curve, Point, SweepCurves
from harness.tracking.store import TrackingError

pytestmark = pytest.mark.slow
QUICK = ("workload.tiles=4", "measure.repeats=1", "measure.warmup=0")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    import_mlflow()
    with pytest.MonkeyPatch.context() as monkeypatch, in_process(monkeypatch) as run:
        monkeypatch.setattr("harness.commands.pictures.Drawing", Here)
        monkeypatch.setenv(SWITCH, "on")
        monkeypatch.chdir(tmp_path_factory.mktemp("pictures"))
        yield run


@pytest.fixture(scope="module")
def single(shell: Shell) -> Done:
    return shell("strategy=pipelined", *QUICK)


@pytest.fixture(scope="module")
def sweep(shell: Shell) -> Done:
    return shell("-m", "strategy=baseline,pipelined,pooled", "depth=1,2", "resume=off", *QUICK)


def drawing_of(*pictures: Picture) -> Drawing:
    drawing = Drawing()
    drawing.draw(pictures)
    return drawing


def artifacts(run: Any) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://"))


def test_a_run_leaves_its_timeline_in_its_folder_and_in_mlflow(single: Done) -> None:
    assert single.code == 0
    (folder,) = single.folders
    content = (folder / "timeline.png").read_bytes()
    assert content.startswith(PNG)
    (run,) = runs_of(single)
    assert (artifacts(run) / "timeline.png").read_bytes() == content


def test_the_last_lines_name_the_pictures(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for tracking in ("off", "local"):
        shell("seed=31", f"tracking={tracking}", *QUICK)
        line = next(each for each in capfd.readouterr().out.splitlines() if "results: " in each)
        assert line.endswith(": record.json, trace.json (open it in ui.perfetto.dev), timeline.png")
        shell("-m", "seed=32,33", "resume=off", f"tracking={tracking}", *QUICK)
        line = next(each for each in capfd.readouterr().out.splitlines() if "results: " in each)
        assert line.endswith(
            ": a folder per run, curves.png, 0/timeline.png (harness show prints the table again)"
        )
    monkeypatch.setenv(SWITCH, "off")
    shell("-m", "seed=32,33", "resume=off", "tracking=off", *QUICK)
    line = next(each for each in capfd.readouterr().out.splitlines() if "results: " in each)
    assert line.endswith(": a folder per run (harness show prints the table again)")


def test_a_sweep_leaves_curves_and_the_timeline_of_its_fastest_run(sweep: Done) -> None:
    assert sweep.code == 0
    with_timeline = {
        json.loads((folder / "record.json").read_text())["label"]
        for folder in sweep.folders
        if (folder / "timeline.png").exists()
    }
    assert with_timeline == {"pooled d2 b1 c1"}
    folder = sweep.folders[0].parent
    assert (folder / "curves.png").read_bytes().startswith(PNG)
    (parent,) = [each for each in filed() if each.data.tags.get("sweep") == str(folder.absolute())]
    assert (artifacts(parent) / "curves.png").is_file()
    for run, each in zip(runs_of(sweep), sweep.folders, strict=True):
        assert (artifacts(run) / "timeline.png").exists() == (each / "timeline.png").exists()


def test_a_resumed_sweep_draws_all_its_rows(sweep: Done, shell: Shell, monkeypatch) -> None:
    drawn: list[Picture] = []
    monkeypatch.setattr(Here, "wait", lambda self: drawn.extend(self._pictures) or [])
    again = shell("-m", "strategy=baseline,pipelined", "depth=1,2,3", "tracking=off", *QUICK)
    curves, timeline = drawn
    assert curves.path == again.folders[0].parent / "curves.png"
    assert timeline.path.name == "timeline.png"
    (baseline, pipelined) = curves.curves.curves
    assert (baseline.name, [each.x for each in baseline.points]) == ("baseline", [1])
    assert (pipelined.name, [each.x for each in pipelined.points]) == ("pipelined", [1, 2, 3])


def test_nothing_is_drawn_after_an_interruption_or_without_wish(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    def refused(*_: Any) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(Here, "draw", refused)
        patch.setattr("harness.commands.run.log.info", interrupted)
        assert shell("-m", "seed=7,8", "tracking=off", *QUICK).code == 130
    monkeypatch.setattr("harness.commands.pictures.Drawing", refused)
    monkeypatch.setenv(SWITCH, "off")
    assert shell("seed=9", "tracking=off", *QUICK).code == 0
    assert shell("-m", "seed=17,18", "tracking=off", *QUICK).code == 0


@pytest.mark.parametrize(
    ("overrides", "early"),
    [(["tracking=local"], True), (["device.clock=virtual,wall"], False)],
)
def test_the_process_that_draws_starts_while_jobs_run_unless_one_is_timed(
    overrides: list[str], early: bool, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    class Noted(Here):
        def __init__(self) -> None:
            super().__init__()
            events.append("start")

        def draw(self, pictures: Sequence[Picture]) -> None:
            events.append("draw")

        def cancel(self) -> None:
            events.append("cancel")

    def job(*_: Any) -> None:
        events.append("job")

    monkeypatch.setattr("harness.commands.pictures.Drawing", Noted)
    monkeypatch.setattr("harness.commands.run.log.info", job)
    swept = ["-m", "depth=1,2", "strategy=pipelined", "tracking=off", "resume=off"]
    assert shell(*swept, *overrides, *QUICK).code == 0
    jobs = ["job"] * events.count("job")
    assert len(jobs) > 1
    assert events == (["start", *jobs, "draw"] if early else [*jobs, "start", "draw"])


def test_a_picture_that_cannot_be_drawn_is_one_message(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TimelinePicture, "figure", Broken.figure)
    done = shell("seed=10", "tracking=off", *QUICK)
    assert done.code == 0
    (folder,) = done.folders
    path = folder.absolute() / "timeline.png"
    message = f"{path}: cannot be drawn (no $FONTS at all); everything else is stored"
    assert capfd.readouterr().err == f"harness: {message}\n"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".hydra",
        "harness.log",
        "record.json",
        "trace.json",
    ]


@pytest.mark.parametrize(
    ("overrides", "timed"),
    [
        ([], False),
        (["device.clock=wall"], True),
        (["device=cpu"], True),
        (["device=hardware"], True),
    ],
)
def test_only_virtual_time_is_not_disturbed(overrides: list[str], timed: bool) -> None:
    assert measures_real_time(load(*overrides)) is timed


def test_cancelled_pictures_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class Slow:
        def draw(self, pictures: Sequence[Picture]) -> None:
            events.append("begin")

        def cancel(self) -> None:
            events.append("cancel")

    monkeypatch.setattr("harness.commands.pictures.Drawing", Slow)
    monkeypatch.setenv(SWITCH, "on")
    pictures = Pictures(events.append)
    pictures.begin([Broken(Path("p.png"))])
    pictures.cancel()
    pictures.prepare()
    pictures.begin([Broken(Path("p.png"))])
    assert pictures.end() == []
    assert events == ["begin", "cancel"]


def test_another_process_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A module of the current folder must not take the place of another one.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numpy.py").write_text("raise SystemExit(1)")
    curves = SweepCurves("", "strategy", (Curve("mine", (Point(0, 0, 2.0, 1.0),)),))
    whole = CurvesPicture(tmp_path, "a sweep", curves)
    drawing = drawing_of(TimelinePicture(tmp_path / "absent"), whole)
    (line,) = drawing.wait()
    assert line.startswith(f"{tmp_path}/absent/timeline.png: cannot be drawn ([Errno 2] No such")
    assert drawing.drawn == [whole.path]
    assert whole.path.read_bytes().startswith(PNG)
    assert drawing.wait() == []


@pytest.mark.parametrize("ends", ["killed", "late", "cancelled"])
def test_a_process_that_does_not_end_well_leaves_no_part_of_a_file(
    ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)
    older, whole = tmp_path / "p.png", Quick(tmp_path / "q.png")
    older.touch()
    drawing = drawing_of(whole, Hanging(older))
    process = drawing._process
    assert process is not None
    wait_for(lambda: [*tmp_path.glob(".p.png.*")])
    reason = {"killed": "its process ended with -9", "late": "it took longer than 0 s"}
    if ends == "cancelled":
        drawing.cancel()
        assert drawing.wait() == []
    else:
        if ends == "killed":
            os.kill(process.pid, signal.SIGKILL)
        else:
            monkeypatch.setattr(draw_process, "TIMEOUT_S", 0)
        assert drawing.wait() == [
            f"{tmp_path}/p.png: cannot be drawn ({reason[ends]}); everything else is stored"
        ]
        assert drawing.drawn == [whole.path], "not the older file"
    assert process.returncode == -9
    assert sorted(tmp_path.iterdir()) == [older, whole.path]


@pytest.mark.parametrize("ends", ["wait", "cancel", "kill"])
def test_a_process_without_pictures_ends_with_the_command(ends: str, tmp_path: Path) -> None:
    code = (
        "import signal; from harness.commands.draw_process import Drawing; drawing = Drawing(); "
        "print(drawing._process.pid, flush=True); "
        + ("signal.pause()" if ends == "kill" else f"drawing.{ends}()")
    )
    command = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert command.stdout is not None
    pid = int(command.stdout.readline())
    if ends == "kill":
        command.kill()
    command.communicate()
    wait_for(lambda: not is_running(pid))
    assert [*tmp_path.iterdir()] == []


def is_running(pid: int) -> bool:
    """Whether a process exists that is no zombie: its parent may have been killed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_no_process_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "absent"))
    (line,) = drawing_of(Broken(tmp_path / "p.png")).wait()
    assert line.startswith(f"{tmp_path}/p.png: cannot be drawn ([Errno 2] No such file")


def test_show_draws_the_pictures_of_stored_runs(
    sweep: Done, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sweep.folders[0].parent
    paths = [folder / "curves.png", *(each / "timeline.png" for each in sweep.folders)]
    before = paths[0].read_bytes()
    paths[0].unlink()
    assert dispatch(["show", str(folder), "--pictures"]) == 0
    *_, added = lines = capfd.readouterr().out.splitlines()
    assert lines[-len(paths) - 1 : -1] == [f"written: {p}" for p in paths]
    number = len(sweep.folders)
    store = "sqlite:///outputs/mlflow.db"
    assert added == f"added to MLflow ({store}): timeline.png of {number} of {number} runs"
    assert paths[0].read_bytes() == before
    assert all(path.read_bytes().startswith(PNG) for path in paths)
    for run, path in zip(runs_of(sweep), paths[1:], strict=True):
        assert (artifacts(run) / "timeline.png").read_bytes() == path.read_bytes()
    monkeypatch.setattr(TimelinePicture, "figure", Broken.figure)
    assert dispatch(["show", str(sweep.folders[0]), "--pictures"]) == 1
    printed = capfd.readouterr()
    assert "timeline.png: cannot be drawn (no $FONTS at all)" in printed.err
    assert "written" not in printed.out, "an older picture is there"
    assert "added to MLflow" not in printed.out


def test_pictures_of_runs_that_no_local_store_has_stay_in_their_folders(
    shell: Shell, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (off,) = shell("seed=21", "tracking=off", *QUICK).folders
    assert dispatch(["show", str(off), "--pictures"]) == 0
    assert "added to MLflow" not in capfd.readouterr().out
    monkeypatch.setattr("harness.tracking.local_runs.LocalRuns.write", fail_to_store)
    done = shell("seed=22", *QUICK)
    assert done.code == 1
    capfd.readouterr()
    assert dispatch(["show", str(done.folders[0]), "--pictures"]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == (
        "added to MLflow (sqlite:///outputs/mlflow.db): timeline.png of 0 of 1 runs; "
        "harness publish stores the others there"
    )


def fail_to_store(*_: Any, **__: Any) -> Any:
    raise TrackingError("no room")


def test_the_store_of_a_record_of_an_earlier_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    group = {"kind": "local", "uri": "sqlite:///a.db", "artifacts": "a", "experiment": "mine"}
    assert local_store_of(group) is None
    Path("a.db").touch()
    store = local_store_of(group)
    assert store
    assert (store.backend, store.experiment) == ("mlflow", "mine")
