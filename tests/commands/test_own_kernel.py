"""A kernel in the user's folder, through the commands: where it is found, and its messages."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness import api
from harness.commands.launchers import Task
from harness.commands.main import dispatch
from harness.config.compose import load
from harness.errors import RequestError
from harness.kernel import load_kernel
from harness.kernel.folders import VARIABLE, looking_in
from harness.results.run_key import kernel_hashes, kernel_of_run, own_kernels

DECLARATION = """# Halves; the second sentence. More.
arguments:
  - {name: x, direction: in, dtype: int8, shape: [8, 64]}
  - {name: y, direction: out, dtype: int8, shape: [8, 64]}
reference: reference:halve
cost: {ns: 20000}
"""
REFERENCE = """
def halve(x):
    return x >> 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path, content in {
        "conf/kernel/halve.yaml": DECLARATION,
        "conf/workload/mine.yaml": "# Mine.\nkernel: halve\ntiles: 3\n",
        "kernels/halve/reference.py": REFERENCE,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert dispatch([*arguments, "tracking=off"]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert not list(Path().rglob("record.json"))
    return err


def test_kernel_and_workload_of_the_current_folder(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["workload=mine", "tracking=off", "--json"]) == 0
    (path,) = folder.rglob("record.json")
    record = json.loads(path.read_text())
    assert (record["verdict"], record["kernel"]) == ("OK", "halve")
    (hashed,) = record["kernel_hashes"].values()
    assert len(hashed) == 64
    # A stored run is shown without its kernel.
    (folder / "conf" / "kernel" / "halve.yaml").unlink()
    capfd.readouterr()
    assert dispatch(["show", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)


def test_a_stored_run_takes_nothing_from_a_kernel_that_has_changed(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = "halve: an execution takes 20.0 us, as the kernel declares\n"
    assert dispatch(["workload=mine", "tracking=off"]) == 0
    assert line in capfd.readouterr().out
    path = folder / "conf" / "kernel" / "halve.yaml"
    path.write_text(DECLARATION.replace("20000", "90000"))
    assert dispatch(["show"]) == 0
    assert "an execution takes" not in capfd.readouterr().out
    with pytest.raises(RequestError, match="kernel halve: has changed since the run; run it again"):
        kernel_of_run("halve", {"halve": "another"})
    path.write_text(DECLARATION)
    assert dispatch(["show"]) == 0
    assert line in capfd.readouterr().out


def test_the_folder_of_config_dir(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert dispatch(["--config-dir", "../conf", "workload=mine", "tracking=off", "-q"]) == 0
    assert VARIABLE not in os.environ
    with pytest.raises(RequestError, match="workload=mine: no such option"):
        load("workload=mine")


def test_other_commands_that_take_config_dir(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    monkeypatch.setattr("harness.commands.roofline.save", lambda picture: picture.path)
    there = "--config-dir", "../conf"
    assert dispatch(["roofline", "halve", "mine", "-q", *there]) == 0
    assert "halve" in capfd.readouterr().out
    # A wrong request is cheap, and comes after the presets.
    wrong = "sensitivity", "workload=mine", "device.clock=wall"
    assert "device.clock=wall: numbers are" in refused(capfd, *wrong, *there)
    for command in (["roofline"], wrong):
        line = refused(capfd, *command, "--config-dir", "nope")
        assert line.startswith("harness: --config-dir=nope: no such folder")


def test_lists_mark_what_is_the_users(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["list", "kernels", "workloads"]) == 0
    lines = [" ".join(line.split()) for line in capfd.readouterr().out.splitlines()]
    assert "* halve Halves; the second sentence" in lines
    assert "* mine Mine" in lines
    assert "* from conf" in lines


def test_a_hidden_kernel_of_the_harness_is_reported_once(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = folder / "conf" / "kernel" / "gelu.yaml"
    path.write_text(DECLARATION.replace("arguments", "folder: halve\narguments", 1))
    sweep = ["-m", "strategy=baseline,pooled", "workload.kernel=gelu", "tracking=off"]
    assert dispatch([*sweep, "workload.tiles=3"]) == 0
    err = capfd.readouterr().err
    line = "harness: kernel gelu: conf/kernel/gelu.yaml is used, not the kernel of the harness\n"
    assert err.count(line) == 1


def test_an_unused_preset_is_reported_once(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("pooled", "own"):
        (folder / "conf" / "strategy").mkdir(exist_ok=True)
        (folder / "conf" / "strategy" / f"{name}.yaml").write_text("buffers: pooled\ndepth: 7\n")
    arguments = ["-m", "strategy=pooled,own", "tracking=off", "workload.tiles=1,2"]
    assert dispatch([*arguments, "measure.repeats=1"]) == 0
    line = (
        "harness: strategy=pooled: the preset of the harness is used, not "
        "conf/strategy/pooled.yaml; rename yours\n"
    )
    err = capfd.readouterr().err
    assert (err.count(line), err.count("rename")) == (1, 1)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("return 1 / 0", "(ZeroDivisionError: division by zero, reference.py line 3); it takes"),
        ("return x[:, :3]", "y.y: given int8[3, 64], takes int8[8, 64] per tile); it takes the "),
        (
            "return x.astype('f4')",
            "y.y: given float32[8, 64], takes int8[8, 64] per tile); it takes the ",
        ),
        ("return x, x", "given 2 arrays, takes 1: y); it takes the input parts as read-only "),
        ("raise SystemExit(0)", "(SystemExit: 0, reference.py line 3); it takes the input parts"),
        ("x[:] = 0", "(ValueError: assignment destination is read-only, reference.py line 3)"),
    ],
)
def test_a_wrong_reference_runs_nothing(
    folder: Path, capfd: pytest.CaptureFixture[str], reference: str, said: str
) -> None:
    text = REFERENCE.replace("return x >> 1", reference)
    (folder / "kernels" / "halve" / "reference.py").write_text(text)
    line = refused(capfd, "workload.kernel=halve")
    assert line.startswith("harness: kernel halve: its reference fails (")
    assert said in line


SQUARE = """
arguments:
  - {name: a, direction: in, dtype: int8, shape: [16, 16]}
  - {name: b, direction: in, dtype: int8, shape: [16, 16]}
  - {name: y, direction: out, dtype: int8, shape: [16, 16]}
reference: reference:square
ops: 8192
cost: {ns: 20000}
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("workload=whisper_tiny", "workload.matmul=square"),
        ("workload=whisper_tiny", "workload.matmul=square", "workload.layer=0"),
        ("workload.kernel=square", "verify=device"),
        ("-m", "workload.kernel=attention,square"),
    ],
)
@pytest.mark.parametrize("body", ["raise OSError", "return a if len(a) > 1 else a[0]"])
def test_a_wrong_reference_is_refused_whatever_uses_it(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], body: str
) -> None:
    (folder / "conf" / "kernel" / "square.yaml").write_text(SQUARE)
    (folder / "kernels" / "square").mkdir()
    path = folder / "kernels" / "square" / "reference.py"
    path.write_text(f"def square(a, b):\n    {body}\n")
    assert "kernel square: its reference fails (" in refused(capfd, *arguments)
    assert not Path("outputs").exists()


def test_ctrl_c_in_a_reference_leaves_no_folder(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = REFERENCE.replace(
        "return", "if len(x) > 2:\n        raise KeyboardInterrupt\n    return"
    )
    (folder / "kernels" / "halve" / "reference.py").write_text(text)
    assert dispatch(["workload=mine", "tracking=off"]) == 130
    assert capfd.readouterr().err == "harness: interrupted\n"
    assert not Path("outputs").exists()


def test_a_wrong_declaration_runs_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = DECLARATION.replace("direction: out", "direction: output")
    (folder / "conf" / "kernel" / "halve.yaml").write_text(text)
    line = refused(capfd, "workload.kernel=halve")
    assert line.startswith("harness: conf/kernel/halve.yaml: arguments[1].direction=output: not ")
    assert "did you mean out? Allowed: constant, in, inout, out, scalar, unused" in line


@pytest.mark.parametrize("file", ["2fast.yaml", "half.way.yaml", "other.yml"])
def test_a_file_whose_name_is_no_kernels(
    folder: Path, capfd: pytest.CaptureFixture[str], file: str
) -> None:
    (folder / "conf" / "kernel" / file).write_text(DECLARATION)
    line = refused(capfd, f"workload.kernel={Path(file).stem}")
    assert f"/{file} is not read; name it <name>.yaml, with letters, digits, - and _" in line


def test_a_kernel_is_no_option_of_a_group(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = refused(capfd, "kernel=halve")
    assert "kernel=halve: not a group of options; give workload.kernel=halve" in line
    assert "did you mean device.exec_ns.halve=1?" in refused(capfd, "+device.exec_ns.halv=1")


def test_processes_of_a_launcher_look_in_the_same_folders(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Worker:
        presentation = here = None

    with looking_in(Path("conf")):
        make, (_, _, _, *variables) = Task(Worker()).__reduce__()
    assert make.__name__ == "_remote_task"
    monkeypatch.setenv(*dict(variables).popitem())
    monkeypatch.chdir("/")
    assert load_kernel("halve").own


def test_keys_of_runs_follow_the_users_kernels(folder: Path) -> None:
    device = {"kind": "simulator"}
    config = {"workload": {"kernel": "halve"}, "device": device}
    first = own_kernels(config)
    assert list(first) == list(kernel_hashes(config)) == ["halve"]
    (folder / "kernels" / "halve" / "halve.cc").write_text("// other\n")
    assert own_kernels(config) != first
    ours = {"workload": {"kernel": "gelu"}, "device": device}
    assert own_kernels(ours) == {}
    assert list(kernel_hashes(ours)) == ["gelu"]
    compiled = {"kind": "hardware", "index": 0}
    text = DECLARATION + "xclbin: a.xclbin\n"
    (folder / "conf" / "kernel" / "halve.yaml").write_text(text)
    before = own_kernels({**config, "device": compiled})
    (folder / "kernels" / "halve" / "a.xclbin").write_text("built")
    assert own_kernels({**config, "device": compiled}) != before


def test_an_edit_in_the_same_process_is_seen(folder: Path) -> None:
    arguments = ("workload=mine", "tracking=off", "verify=all")
    assert api.run(*arguments).ok
    path = folder / "kernels" / "halve" / "reference.py"
    path.write_text(REFERENCE.replace("x >> 1", "x // 0 + y"))
    with pytest.raises(RequestError, match="its reference fails"):
        api.run(*arguments)
    path.write_text(REFERENCE.replace("1", "2"))
    assert api.run(*arguments).ok, "tiles, expected outputs and the simulated kernel agree"
