"""The README is true: its commands run, their output is what it shows, what it names is there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
ENTRIES = [
    [
        (each.splitlines()[0], each.splitlines()[1:])
        for each in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    ]
    for block in BLOCKS
]
COMMANDS = [entry for entries in ENTRIES for entry in entries]
TOGETHER = [entries for entries in ENTRIES if not entries[0][0].startswith("python benchmarks/")]


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of the README in `folder`; `make run` by what make would run."""
    if command == "make run":
        dry = subprocess.run(
            ["make", "-n", "-C", ROOT, "run"], capture_output=True, text=True, check=True
        ).stdout
        (command,) = re.findall(r"python (-m harness .*)$", dry, re.MULTILINE)
        command = f"python {command}"
    program, *arguments = shlex.split(command)
    assert program == "python"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for script in (each for each in arguments if each.startswith("benchmarks/")):
        (folder / script).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / script, folder / script)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("entries", TOGETHER, ids=[entries[0][0] for entries in TOGETHER])
def test_commands_do_what_is_shown(entries: list[tuple[str, list[str]]], tmp_path: Path) -> None:
    """Commands of a block in one folder, one after the other; where nothing is shown, what is said may be more."""
    for command, shown in entries:
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stderr
        if shown:
            assert done.stderr == ""
            assert lines(done.stdout) == lines("\n".join(shown))
        assert all(line.startswith("harness: ") for line in done.stderr.splitlines())


def test_make_run_passes_overrides_through() -> None:
    arguments = ["make", "-n", "-C", str(ROOT), "run", "ARGS=strategy=batch workload.tiles=40"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "python -m harness strategy=batch workload.tiles=40" in done.stdout


def test_benchmarks_named_are_there() -> None:
    named = [
        command.split()[1] for command, _ in COMMANDS if command.startswith("python benchmarks/")
    ]
    assert sorted(named) == sorted(
        f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("bench_*.py")
    )


def test_links_lead_somewhere() -> None:
    for path in ROOT.rglob("*.md"):
        if not {".venv", "outputs", "node_modules"} & set(path.relative_to(ROOT).parts):
            for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
                assert target.startswith("https://") or (path.parent / target).exists(), (
                    f"{path.name}: {target}"
                )


def test_the_tree_names_every_folder() -> None:
    tree = re.search(r"## The tree\n+```\n(.*?)```", TEXT, re.DOTALL)
    assert tree is not None
    named = {line.split()[0] for line in tree[1].splitlines()}
    top = {
        f"{path.name}/"
        for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith((".", "_"))
    }
    assert top | {"outputs/"} <= named | {"dist/", "build/"}


def test_a_strategy_of_ones_own_is_yaml_only(tmp_path: Path) -> None:
    yaml = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert yaml is not None
    (tmp_path / "mine" / "strategy").mkdir(parents=True)
    (tmp_path / "mine" / "strategy" / "mine.yaml").write_text(yaml[1])
    done = run(
        f"python -m harness --config-dir {tmp_path / 'mine'} strategy=mine tracking=off", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "pooled d2 b1 c1 p1" in done.stdout


def test_a_kernel_of_ones_own_is_a_folder(tmp_path: Path) -> None:
    """The README's kernel, in a copy of the tree's kernels, through the whole command."""
    python = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert python is not None
    for part in ("harness", "conf", "kernels"):
        shutil.copytree(ROOT / part, tmp_path / part)
    (tmp_path / "kernels" / "add").mkdir()
    (tmp_path / "kernels" / "add" / "spec.py").write_text(python[1])
    (tmp_path / "conf" / "workload" / "add.yaml").write_text("kernel: add\n")
    arguments = ["-m", "harness", "workload=add", "+device.exec_ns.add=100000", "tracking=off"]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stdout
