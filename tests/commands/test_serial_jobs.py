"""A job of a sweep leaves behind what it would with Hydra's own launcher."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from support.process import close_log_handlers

from harness.commands.hydra_private import BasicLauncher
from harness.commands.serial_jobs import SerialJobs, TaskFunction
from harness.config.compose import conf_dir, register

JOBS = [
    ["depth=2", "workload.tiles=3"],
    ["depth=1", "device.noise.enabled=true", "+seen='1e3'"],
    ["strategy=batch", "+seen=off"],
]
"""Numbers, and texts that YAML would read as numbers; a part of a file that is as before."""
events: list[tuple[str, Any]] = []


class Listener(Callback):
    """Stores the calls of a job's callbacks."""

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        events.append(("start", config.hydra.job.num))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        events.append(("end", job_return.status))


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Runs JOBS with Hydra's launcher, or with ours, in a folder of its own."""
    register()
    monkeypatch.chdir(tmp_path)
    events.clear()

    def run(own: bool, folder: Path, task: TaskFunction, *overrides: str) -> None:
        hydra = GlobalHydra.instance().hydra
        assert hydra
        master = hydra.compose_config(
            "config",
            ["hydra/sweeper=basic", f"hydra.sweep.dir={folder}", *overrides],
            RunMode.MULTIRUN,
        )
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(master))
        launcher = BasicLauncher()
        launcher.setup(hydra_context=context, task_function=task, config=master)
        jobs = SerialJobs(context, task, master)
        for number, job in enumerate(JOBS, 5):
            if own:
                jobs.run(job, number)
            else:
                _ = launcher.launch([job], number)[0].return_value

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield run
    HydraConfig.instance().cfg = None
    close_log_handlers()


def left_behind(folder: Path) -> dict[str, str]:
    """The text of each file, without the path of `folder`, times of day, and Hydra's own lines."""
    texts = {}
    for path in folder.rglob("*.*"):
        if path.is_file():
            # Hydra writes which job is next into the log of the job before.
            lines = [
                line for line in path.read_text().splitlines() if "hydra._internal" not in line
            ]
            text = "\n".join(line.split(" WARNING ")[-1] for line in lines)
            texts[str(path.relative_to(folder))] = text.replace(str(folder), "FOLDER")
    return texts


@pytest.mark.parametrize("chdir", [False, True])
def test_as_hydra(launch: Callable[..., None], tmp_path: Path, chdir: bool) -> None:
    seen: dict[bool, list[Any]] = {False: [], True: []}

    def run(own: bool) -> None:
        folder = tmp_path / ("own" if own else "hydra")

        def task(cfg: DictConfig) -> None:
            config = HydraConfig.get()
            logging.getLogger("harness").warning("job %s", config.job.num)
            plain = OmegaConf.to_container(cfg, resolve=True)
            assert isinstance(plain, dict)
            plain.pop("hydra", None)
            number = OmegaConf.create({"number": "${hydra:job.num}"}).number
            places = (config.runtime.output_dir, str(Path.cwd()))
            texts = [text.replace(str(folder), "FOLDER") for text in places]
            seen[own].append((plain, number, texts, os.environ["OF_THE_JOB"]))

        launch(
            own,
            folder,
            task,
            f"hydra.job.chdir={chdir}",
            "+hydra.job.env_set.OF_THE_JOB=there",
            f"+hydra.callbacks.mine._target_={Listener.__module__}.Listener",
        )

    for own in (False, True):
        run(own)
    assert len(seen[True]) == len(JOBS)
    assert seen[True] == seen[False]
    assert "OF_THE_JOB" not in os.environ
    assert Path.cwd() == tmp_path
    half = len(events) // 2
    assert half == 2 * len(JOBS)
    assert events[:half] == events[half:]
    files = left_behind(tmp_path / "own")
    assert len(files) == 4 * len(JOBS)
    assert files["6/harness.log"].endswith("harness: job 6")
    assert files == left_behind(tmp_path / "hydra")


def test_without_a_folder_of_hydras_own(launch: Callable[..., None], tmp_path: Path) -> None:
    launch(True, tmp_path / "own", lambda cfg: None, "hydra.output_subdir=null")
    assert not left_behind(tmp_path / "own")


def test_what_a_job_raises(launch: Callable[..., None], tmp_path: Path) -> None:
    outer = HydraConfig.instance().cfg

    def task(cfg: DictConfig) -> None:
        raise KeyError("the job's own")

    with pytest.raises(KeyError, match="the job's own"):
        launch(
            True,
            tmp_path / "own",
            task,
            "hydra.job.chdir=true",
            f"+hydra.callbacks.mine._target_={Listener.__module__}.Listener",
        )
    assert events == [("start", 5), ("end", JobStatus.FAILED)]
    assert Path.cwd() == tmp_path
    assert HydraConfig.instance().cfg is outer
