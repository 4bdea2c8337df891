"""Wrong requests exit with code 2 and one line that says what is allowed, and begin no run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.process import Shell, process

from harness.config.compose import conf_dir
from harness.config.device import Hardware, Simulator
from harness.config.phase import Phase
from harness.config.schema import Config, Measure, Tracking
from harness.config.strategy import Strategy
from harness.config.workload_keys import WORKLOAD_KEYS
from harness.kernel.folders import DECLARATIONS

pytestmark = pytest.mark.slow

SCHEMAS = {
    "": Config,
    "strategy.": Strategy,
    "workload.": WORKLOAD_KEYS,
    "phase.": Phase,
    "measure.": Measure,
    "tracking.": Tracking,
    "device.": Simulator,
    "device=hardware device.": Hardware,
}
Refused = Callable[..., str]


@pytest.fixture
def refused(shell: Shell, in_folder: Path) -> Refused:
    """Run the command with arguments that it must refuse; returns the line it says."""

    def run(*arguments: str, by: Shell = shell) -> str:
        done = by(*arguments)
        assert in_folder.is_dir(), "the folder that the command was given in is gone"
        assert (done.code, done.out) == (2, ""), done
        (line,) = done.err.splitlines()
        assert line.startswith("harness: ")
        assert not Path("outputs").exists(), "a wrong request leaves nothing behind"
        return line

    return run


def misspelt(name: str) -> str:
    """The name without its middle letter."""
    return name[: len(name) // 2] + name[len(name) // 2 + 1 :]


def fields() -> list[tuple[str, str]]:
    return [
        (prefix, field.name) for prefix, cls in SCHEMAS.items() for field in dataclasses.fields(cls)
    ]


def options() -> list[tuple[str, str]]:
    # `kernel=` is refused with a message of its own: declarations are no options.
    files = sorted(conf_dir().glob("*/*.yaml"))
    others = ("hydra", DECLARATIONS)
    return [(path.parent.name, path.stem) for path in files if path.parent.name not in others]


@pytest.mark.parametrize(("prefix", "name"), fields(), ids=lambda text: text or "top")
def test_misspelt_key(refused: Refused, prefix: str, name: str) -> None:
    *before, prefix = f" {prefix}".split(" ")[1:]
    line = refused(*before, f"{prefix}{misspelt(name)}=1")
    assert line.startswith(
        f"harness: {prefix}{misspelt(name)}=1: unknown key; did you mean {prefix}{name}=1? "
    )


@pytest.mark.parametrize(("group", "option"), options())
def test_misspelt_option(refused: Refused, group: str, option: str) -> None:
    line = refused(f"{group}={misspelt(option)}")
    assert line.startswith(
        f"harness: {group}={misspelt(option)}: no such option; did you mean {option}? "
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        # of another type
        ("depth=abc", ["a whole number"]),
        ("seed=1.5", ["a whole number"]),
        ("seed=nan", ["a whole number"]),
        ("depth=[1]", ["a whole number"]),
        ("depth=", ["a whole number"]),
        ("measure.repeats=few", ["a whole number"]),
        ("measure.width=narrow", ["a number"]),
        ("measure.cache_check=maybe", ["give true or false"]),
        ("measure.width=null", ["not allowed; it needs a value"]),
        ("device.exec_ns.attention=fast", ["a whole number"]),
        ("strategy.buffers=poold", ["did you mean pooled?"]),
        ("strategy.buffers=[1]", ["allowed: per_tile, pooled"]),
        ("verify=al", ["did you mean all?", "Allowed: all, device, off, reference"]),
        ("tracking.kind=locl", ["did you mean local?"]),
        ("workload.accounting=guid", ["did you mean guide?"]),
        ("workload.kernel=attentio", ["did you mean attention?"]),
        (
            "workload.kernel=matmul_32",
            ["no such kernel; did you mean matmul?", "matmul, matmul_64"],
        ),
        ("workload.kernel=attention_64", ["no such kernel; did you mean attention?"]),
        ("device.exec_ns=3", ["takes a value for each name; give device.exec_ns.<name>=<value>"]),
        ("phase.name=null", ["not allowed; it needs a value"]),
        ("phase.allows=[colums]", ["colums: unknown", "did you mean columns?"]),
        ("phase.guide_rtf=[1]", ["the least and the most"]),
        ("phase=dmaa", ["no such option", "dma"]),
        ("workload.model=whisper_bse", ["workload.model=whisper_bse", "give one of them"]),
        ("workload.accounting=full", ["use workload=whisper_tiny, whisper_base or whisper_small"]),
        ("workload.fused=true", ["use workload=whisper_base"]),
        ("workload.layer=0", ["use workload=whisper_base"]),
        ("workload.layer=one", ["a whole number"]),
        ("workload.fused=maybe", ["give true or false"]),
        ("workload.overlap_host=2.5", ["give true or false"]),
        ("workload.host_ms=null", ["not allowed; it needs a value"]),
        ("strategy={dept:1}", ["dept"]),
        # out of range
        ("depth=0", ["1 to 1024"]),
        ("strategy.depth=0", ["1 to 1024"]),
        ("strategy.columns=8", ["1 to 4", "usable columns"]),
        ("strategy.columns=0", ["1 or more"]),
        ("strategy.batch=0", ["1 to 4096"]),
        ("strategy.prefetch=-1", ["0 to 1024"]),
        ("workload.tiles=-1", ["1 to 10000000"]),
        ("workload.tiles=0", ["allowed: 1 to 10000000"]),
        ("workload.host_ms=-1", ["0 to 3600000"]),
        ("workload.host_ms=nan", ["0 to 3600000"]),
        ("workload.host_ms=abc", ["measured", "304.7"]),
        ("measure.repeats=0", ["1 to 10000"]),
        ("measure.warmup=-1", ["0 to 10000"]),
        ("measure.least_repeats=0", ["1 to 10000"]),
        ("measure.most_repeats=10001", ["1 to 10000", "measure.repeats=N"]),
        ("measure.most_repeats=3", ["fewer than measure.least_repeats=5; use 5 or more"]),
        ("measure.most_s=-1", ["0 to 86400"]),
        ("measure.width=0", ["0.0001 to 1", "0.005 is 0.5 %"]),
        ("measure.width=nan", ["0.0001 to 1"]),
        ("seed=-1", ["allowed: 0"]),
        ("device.launch_ns=-1", ["allowed: 0"]),
        ("device.sync_ns_per_mib=-1", ["allowed: 0"]),
        ("device.exec_ns.attention=-1", ["allowed: 0"]),
        ("device.queue_depth=0", ["allowed: 1"]),
        ("device.timeout_ms=0", ["allowed: 1"]),
        # not there
        ("+unknown=1", ["harness: +unknown=1: unknown key"]),
        ("+strategy.unknown=1", ["unknown key", "columns"]),
        ("++device.unknown=1", ["unknown key", "launch_ns"]),
        (
            "device.exec_ns.attentio=1",
            ["no such kernel", "mean device.exec_ns.attention=1?"],
        ),
        ("+device.exec_ns.attentio=1", ["no such kernel", "mean device.exec_ns.attention=1?"]),
        ("workload.fused=7", ["give true or false"]),
        ("hydra.run.di=x", ["unknown key"]),
        ("experiment=typo", ["no such option", "guide_baseline"]),
        ("+strategy=batch", ["strategy"]),
        ("device=hardware", ["pyxrt cannot be imported"]),
        ("depth=${nope}", ["depth", "nope"]),
        ("strategy.batch=${oc.env:NO_SUCH_VARIABLE}", ["NO_SUCH_VARIABLE"]),
        ("strategy.batch=???", ["strategy.batch", "missing"]),
        ("~strategy", ["strategy", "missing"]),
        # not an override
        ("depth", ["depth"]),
        ("depth=${", ["depth"]),
        ("depth=1,2", ["-m"]),
        ("depth=1,,2", ["an empty value in a list"]),
        ("device=null", ["not the name of an option; allowed: cpu, hardware, phoenix_2026"]),
        ("strategy=[a,b]", ["a list; give one option of strategy, without brackets"]),
        ("strategy=[pooled]", ["a list; give one option of strategy, without brackets"]),
        ("workload.range=[1]", ["not a range; give the least and the largest value"]),
        ("workload.range=low", ["workload.range=low"]),
        ("workload.range=[0,1]", ["belongs to random tiles", "add workload.source=random"]),
        ("workload.distribution=nomal", ["did you mean normal?", "Allowed: normal, uniform"]),
        ("workload.constants=w.npy", ["give the path of an .npz or .safetensors file"]),
        ("workload.constants=w.npz", ["no such file", "the path of an .npz or .safetensors file"]),
        ("workload.source=x.npz", ["no such file", ".npy, .npz or .safetensors file"]),
        ("workload.source=zeroes", ["give speech, random, zeros, an audio file"]),
        ("workload.tiles=1e3", ["workload.tiles=1e3: not allowed; give a whole number, such as 1"]),
    ],
)
def test_a_wrong_value(refused: Refused, override: str, said: list[str]) -> None:
    line = refused(override)
    key, _, value = override.lstrip("+~").partition("=")
    given = "" if set(value) & set("${?") else value
    assert all(text in line for text in (key.split(".")[-1], given, *said)), line


@pytest.mark.parametrize(
    "key", ["device.launch_ns", "device.sync_ns_per_mib", "device.exec_ns.attention"]
)
def test_more_than_the_clock_holds(refused: Refused, key: str) -> None:
    line = refused("tracking=off", f"{key}={2**63 - 1}")
    assert line.startswith(f"harness: {key}={2**63 - 1}: out of range; allowed: 0 to ")


@pytest.mark.parametrize(
    "arguments", ["depth=0", "dept=1", "strategy=pipelind", "device=hardware", "--nope"]
)
def test_the_exit_code_of_a_process(refused: Refused, arguments: str) -> None:
    assert arguments in refused(arguments, by=process)


def test_a_refused_run_removes_only_what_it_created(refused: Refused) -> None:
    Path("mine").mkdir()
    for folder in ("mine", "mine/of/run"):
        refused(f"hydra.run.dir={folder}", "tracking.backend=none")
        assert Path("mine").is_dir()
        assert not list(Path("mine").iterdir())


def test_of_two_values_of_a_key_the_last_counts(shell: Shell) -> None:
    done = shell("depth=1", "seed=1", "depth=0")
    (error,) = done.err.splitlines()
    assert error.startswith("harness: depth=0: ")


def test_a_traceback_with_v(shell: Shell) -> None:
    done = shell("depth=0", "-v")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Traceback (most recent call last):")
    assert done.err.splitlines()[-1].startswith("harness: depth=0: out of range")


# Audio


def no_bytes(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("RIFF, or so it says\n" * 100)


def no_samples(path: Path) -> None:
    soundfile.write(path, np.zeros(0), 16_000)


def not_numbers(path: Path) -> None:
    soundfile.write(path, np.array([0, np.nan, 1.0]), 16_000, subtype="FLOAT")


def nothing(path: Path) -> None:
    """Leaves it missing."""


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (no_bytes, "not audio"),
        (text, "not audio"),
        (no_samples, "holds no samples"),
        (not_numbers, "NaN"),
        (nothing, "no such file"),
        (Path.mkdir, "is a directory"),
    ],
)
def test_unusable_audio(
    refused: Refused, tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "clip.wav"
    make(path)
    line = refused(f"workload.source={path}")
    assert line.startswith(f"harness: workload.source={path}: ")
    assert said in line
    assert "speech, random" in line, "what to give instead"


def test_audio_without_permission(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Path, *_: object, **__: object) -> None:
        if self.name == "clip.wav":
            raise PermissionError(13, "Permission denied")
        return opened(self, *_, **__)

    opened = Path.open
    monkeypatch.setattr(Path, "open", denied)  # root may read everything
    assert "permission denied" in refused(f"workload.source={tmp_path / 'clip.wav'}")


# Sweeps


@pytest.mark.parametrize(
    ("swept", "said"),
    [
        ("depth=1,0", "depth=0"),
        ("strategy=baseline,pipelind", "did you mean pipelined?"),
        ("strategy.columns=1,2,8", "strategy.columns=8"),
        ("workload.tiles=10,x", "workload.tiles=x"),
        ("workload.tiles=10,1e3", "workload.tiles=1e3: not allowed; give a whole number"),
        ("++seed=0,-1", "harness: ++seed=-1: out of range"),
        ("+unknown=1,2", "unknown=1"),
        ("workload.source=speech,nowhere.wav", "nowhere.wav"),
        ("device=simulator,hardware", "pyxrt"),
        ("device=hardware depth=1,2", "pyxrt"),
    ],
)
def test_one_wrong_job_and_nothing_of_the_sweep_runs(
    refused: Refused, swept: str, said: str
) -> None:
    assert said in refused("-m", "tracking=off", *swept.split())


def test_a_wrong_sweep_opens_no_store(refused: Refused) -> None:
    refused("-m", "depth=1,0")
    assert not Path("outputs/mlflow.db").exists()


# Presets of one's own


@pytest.mark.parametrize(
    ("preset", "content", "said"),
    [
        (
            "strategy/mine",
            "buffers: pooled\nbatc: 3\n",
            ["strategy.batc", "mean strategy.batch?"],
        ),
        ("strategy/mine", "depth: deep\n", ["strategy.depth=deep", "a whole number"]),
        ("strategy/mine", "depth: ${dept}\n", ["strategy.depth: refers to dept"]),
        ("strategy/mine", "buffers: per_tile\nresident: true\n", ["strategy.resident=true"]),
        ("workload/mine", "kernel: gelu\ntiles: 0\n", ["workload.tiles=0: out of range"]),
        ("strategy/mine", "columns: 9\n", ["strategy.columns=9", "1 to 4"]),
        ("experiment/mine", "# @package _global_\ndept: 3\n", ["dept", "did you mean depth?"]),
        (
            "experiment/mine",
            "# @package _global_\nworkload:\n  tile: 3\n",
            ["workload.tile", "did you mean workload.tiles?"],
        ),
        (
            "experiment/mine",
            "# @package _global_\ndefaults:\n  - override /strategy: pipelind\n",
            ["did you mean pipelined?"],
        ),
        ("experiment/mine", "depth: [\n", ["mine.yaml", "line 2"]),
        ("experiment/mine", "# @package _global_\nverify: off\n", ["verify", '"off"']),
    ],
    ids=lambda value: value.splitlines()[-1] if isinstance(value, str) else "",
)
def test_a_wrong_preset(
    refused: Refused, tmp_path: Path, preset: str, content: str, said: list[str]
) -> None:
    path = (tmp_path / "mine" / preset).with_suffix(".yaml")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    line = refused("--config-dir", str(tmp_path / "mine"), f"{path.parent.name}=mine")
    assert line.startswith(f"harness: mine/{preset}.yaml: "), "the file"
    assert all(text in line for text in said), line


def test_a_wrong_preset_that_another_one_names(refused: Refused, tmp_path: Path) -> None:
    for name, content in {
        "strategy/deep": "depth: 0\n",
        "experiment/mine": "# @package _global_\ndefaults:\n  - override /strategy: deep\n",
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.yaml").write_text(content)
    line = refused(f"--config-dir={tmp_path}", "experiment=mine")
    assert line.startswith("harness: strategy/deep.yaml: strategy.depth=0: out of range")
    line = refused(f"--config-dir={tmp_path}", "experiment=mine", "strategy.depth=-1")
    assert line.startswith("harness: strategy.depth=-1: out of range"), "the override counts"


def test_a_preset_that_is_not_text(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "mine.yaml").write_bytes(b"\xff\xfe")
    line = refused(f"--config-dir={tmp_path}", "strategy=mine")
    assert line == "harness: strategy/mine.yaml: not a text file; save it as UTF-8"


def test_a_preset_without_permission(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "strategy" / "mine.yaml"
    path.parent.mkdir()
    path.write_text("batch: 2\n")

    def denied(file: Any, *arguments: Any, **options: Any) -> Any:
        if str(file) == str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(file, *arguments, **options)

    opened = open
    monkeypatch.setattr("builtins.open", denied)  # root may read everything
    line = refused(f"--config-dir={tmp_path}", "strategy=mine")
    assert line == (
        "harness: strategy/mine.yaml: cannot be read (Permission denied); change its permissions"
    )


@pytest.mark.parametrize("command", [[], ["list"], ["--help"]], ids=str)
def test_a_folder_of_presets_that_is_none(refused: Refused, command: list[str]) -> None:
    assert "--config-dir=nowhere: no such folder; give the folder of your own presets" in refused(
        *command, "--config-dir", "nowhere"
    )
    Path("file").touch()
    assert "--config-dir=file: not a folder; " in refused(*command, "--config-dir=file")
