"""Sweeps in other processes give the records of a serial sweep; real time runs alone.

The launchers are extras: pip install -e '.[joblib,slurm,ray]'.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf
from support.process import Done, Shell, end, shared_folder, start
from support.store import filed, import_mlflow, parent_id

from harness.commands.hydra_private import BasicLauncher
from harness.commands.launchers import BASIC, check_alone, check_launcher
from harness.commands.result_store import ResultStore
from harness.commands.resume import Request
from harness.commands.sweep_failure import FAILURE_FILE
from harness.commands.sweep_plan import Job, plan_of
from harness.config.compose import load
from harness.config.explain import explain
from harness.config.schema import Config
from harness.errors import RequestError
from harness.execution.outcome import Outcome
from harness.results.record import Record
from harness.results.sweep_runs import SweepRuns
from harness.tracking.store import SWEPT_VARIABLE

pytestmark = pytest.mark.slow

SWEEP = ("-m", "measure=quick", "workload.tiles=3", "depth=1,2", "device.faults.error=[0],[]")
VERDICTS = ["FAILED", "OK"] * 2
RAY = (
    "hydra/launcher=ray_npu",
    "hydra.launcher.ray.init.address=local",
    "+hydra.launcher.ray.init.num_cpus=2",
    "+hydra.launcher.ray.init.resources={npu: 2}",
)
LAUNCHERS = {
    "hydra_joblib_launcher": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "hydra_submitit_launcher": ("hydra/launcher=submitit_local", "tracking=off"),
    "hydra_ray_launcher": (*RAY, "tracking=off"),
}


def installed(package: str) -> bool:
    return bool(find_spec("hydra_plugins") and find_spec(f"hydra_plugins.{package}"))


def process(*arguments: str) -> Done:
    """A sweep in a process that other processes may import the harness in, as it does."""
    return end(start(*arguments, cwd=Path.cwd()))


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    """A record without times of day, measured times, and the words of the request."""
    left_out = {"created", "environment", "overrides", "name"}
    kept = {key: value for key, value in record.items() if key not in left_out}
    kept["accounting"].pop("measured_host_ms")
    kept["config"].pop("tracking")
    return kept


@pytest.fixture
def ray_folder() -> Iterator[str]:
    """A folder for Ray's sockets, whose paths may have 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as path:
        yield path


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    with shared_folder(tmp_path_factory, "serial"):
        done = end(start(*SWEEP, "tracking=off"))
        assert done.code == 1, done.err
        return [timeless(record) for record in done.records]


@pytest.mark.parametrize("package", LAUNCHERS)
def test_a_launcher_gives_the_records_of_a_serial_sweep(
    package: str, serial: list[dict[str, Any]], in_folder: object, ray_folder: str
) -> None:
    if not installed(package):
        pytest.skip(f"{package} is not installed")
    own = [f"+hydra.launcher.ray.init._temp_dir={ray_folder}"] if "ray" in package else []
    done = process(*SWEEP, *LAUNCHERS[package], *own)
    assert (done.code, done.verdicts) == (1, VERDICTS), done.err
    assert [timeless(record) for record in done.records] == serial
    assert done.out.count("OK\n") == 2
    assert done.out.count("FAILED") == 4, "two rows, and two lines below the table"
    if "tracking=off" not in LAUNCHERS[package]:
        parent, *children = filed()
        assert {parent_id(child) for child in children} == {parent.info.run_id}
        assert len(children) == 4


def test_records_of_an_earlier_sweep_are_no_result(in_folder: Path) -> None:
    """In the same folder, with resume=off."""
    (in_folder / "sweep" / "0").mkdir(parents=True)
    (in_folder / "sweep" / "0" / "record.json").write_text("{}")
    job = Job(Request("key", "pipelined", ["depth=1"]), {}, resumes=False, repeats=False)
    plan = replace(plan_of(load(), Path("sweep"), [job]), elsewhere=True)
    assert plan.rows(SweepRuns(pytest.fail)) == []
    assert plan.lost([]) == 1


WALL = load("device.clock=wall")
HARDWARE = load("device=hardware")


@pytest.mark.parametrize(
    ("config", "launcher", "allowed"),
    [
        (load(), {}, True),
        (WALL, {"_target_": BASIC}, True),
        (WALL, {"n_jobs": 2}, False),
        (HARDWARE, {"_target_": BASIC}, True),
        (HARDWARE, {"ray": {"remote": {"num_cpus": 1, "resources": {}}}}, False),
        (HARDWARE, {"ray": {"remote": {"resources": {"npu": 1}}}}, True),
        (HARDWARE, {"gres": None}, False),
        (HARDWARE, {"gres": "gpu:1"}, False),
        (HARDWARE, {"gres": "npu:1"}, True),
    ],
)
def test_real_time_runs_alone_on_a_device(
    config: Config, launcher: dict[str, Any], allowed: bool
) -> None:
    refused = pytest.raises(RequestError, match="this launcher runs jobs side by side")
    with nullcontext() if allowed else refused:
        check_alone(config, OmegaConf.create(launcher))


@pytest.mark.parametrize(
    ("target", "extra"),
    [
        ("hydra_joblib_launcher.joblib_launcher.JoblibLauncher", "joblib"),
        ("hydra_ray_launcher.ray_launcher.RayLauncher", "ray"),
        ("hydra_submitit_launcher.submitit_launcher.SlurmLauncher", "slurm"),
    ],
)
def test_a_launcher_that_is_not_installed(
    target: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hydra_plugins", f"hydra_plugins.{target.partition('.')[0]}"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RequestError, match=rf"pip install '<wheel>.whl\[{extra}\]'"):
        check_launcher(OmegaConf.create({"_target_": f"hydra_plugins.{target}"}))


def test_a_launcher_of_a_package_that_is_not_installed() -> None:
    message = explain(HydraException("Could not find 'hydra/launcher/joblib'"))
    assert message == (
        "hydra/launcher=joblib: not installed; pip install '.[joblib]' in the source folder, or "
        "pip install '<wheel>.whl[joblib]'"
    )


@pytest.mark.parametrize(
    ("launcher", "package", "extra"),
    [("submitit_local", "submitit", "slurm"), ("ray_local", "ray", "ray")],
)
def test_a_launcher_whose_engine_is_not_installed(
    launcher: str, package: str, extra: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hydra's plugin is there, but not what it imports when it launches."""
    plugin = f"hydra_plugins.hydra_{package}_launcher"
    if not installed(plugin.partition(".")[2]):
        monkeypatch.setitem(sys.modules, plugin, ModuleType(plugin))
        module = ModuleType(f"{plugin}.{package}_launcher")
        module.RayLauncher = type("RayLauncher", (BasicLauncher,), {"__init__": take})  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, package, None)
    done = shell("-m", f"hydra/launcher={launcher}", "depth=1,2")
    assert (done.code, done.out, done.folders) == (2, "", [])
    assert done.err == (
        f"harness: hydra/launcher: {package} is not installed; pip install '.[{extra}]' in the "
        f"source folder, or pip install '<wheel>.whl[{extra}]'\n"
    )


def take(self: object, **settings: object) -> None:
    """Accept any settings of a launcher."""


def test_other_processes_do_not_ask_mlflow_after_a_failure(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("sweep").mkdir()
    Path("sweep/multirun.yaml").touch()
    monkeypatch.setenv(SWEPT_VARIABLE, "depth")
    failed = shell("hydra.run.dir=sweep/0", "tracking.uri=sqlite:////proc/nowhere/mlflow.db")
    assert (failed.code, failed.err) == (0, ""), "the process of the sweep reports it"
    assert "/proc/nowhere" in Path("sweep", FAILURE_FILE).read_text()
    other = shell("hydra.run.dir=sweep/1")
    assert (other.code, other.err) == (0, "")
    assert not Path("outputs/mlflow.db").exists()
    assert {each.name for each in Path("sweep").glob("*/record.json")} == {"record.json"}


def test_the_process_of_a_sweep_reports_what_others_left_out_of_mlflow(
    shell: Shell,
) -> None:
    """Failures of MLflow, and runs that a killed process left out: exit code as in one process."""
    sweep = shell("-m", "depth=1,2", "hydra.sweep.dir=sweep", "workload.tiles=3", "tracking=off")
    assert sweep.code == 0
    runs = [(Record.load(folder), folder) for folder in sorted(Path("sweep").glob("?"))]
    assert len(runs) == 2
    import_mlflow()
    lines: list[str] = []
    config = load("tracking.artifacts=/proc/nowhere")
    results = ResultStore(Path.cwd(), lines.append, lines.append)
    results.begin_sweep(config, Path("sweep"), [], ["depth"])
    other = ResultStore(Path.cwd(), lines.append, lines.append)
    other.store(config, runs[0][0], UNTIMED, runs[0][1])
    assert lines == [], "the process of the sweep reports it"
    results.end_sweep(config, Path("sweep"), runs, elsewhere=True)
    (line,) = lines
    assert "/proc/nowhere" in line
    assert line.endswith(
        "; the records are stored (harness publish sweep stores in MLflow what it lacks)"
    )
    assert not [*Path("sweep").rglob(FAILURE_FILE)]
    lines.clear()
    config = load("tracking.experiment=other")
    again = ResultStore(Path.cwd(), lines.append, lines.append)
    again.begin_sweep(config, Path("sweep"), [], ["depth"])
    again.end_sweep(config, Path("sweep"), runs, elsewhere=True)
    assert lines == [
        "2 of 2 records are not in MLflow; harness publish sweep tracking.experiment=other "
        "stores them there"
    ]
    published = shell("publish", "sweep", "tracking.experiment=other")
    assert published.out.endswith(": 2 published, 0 already there\n")


UNTIMED = cast(Outcome, SimpleNamespace(timeline=None))
