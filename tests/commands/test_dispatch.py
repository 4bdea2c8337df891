"""What all commands have in common: how they are found, what they say, and how they end."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from support.fork_server import Forked, environment
from support.process import LIMIT_S, Done, end, in_process
from support.window import SMALL

from harness import commands
from harness.commands import accounting, terminal
from harness.commands.main import all_commands, dispatch
from harness.commands.terminal import OutputError, output, say
from harness.models.whisper import ENCODERS

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120
NAMES = sorted(all_commands())
SIZES = ("COLUMNS", "LINES")
"""Variables that give the size of a terminal."""
QUICK = ("tracking=off", "workload.tiles=2", "measure.repeats=1", "measure.warmup=0")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_folder")]


def process(*arguments: str, stdout: int | None = None, **variables: str) -> Done:
    """`python -m harness` as a process of its own in this folder."""
    return end(Forked("", arguments, {**environment(), **variables}, stdout))


# Finding a command


def test_the_commands() -> None:
    assert NAMES == [
        "accounting",
        "calibrate",
        "compare",
        "doctor",
        "emulate",
        "kernel",
        "list",
        "noise-floor",
        "publish",
        "report",
        "roadmap",
        "roofline",
        "run",
        "sensitivity",
        "show",
        "tune",
        "ui",
    ]
    for command in all_commands().values():
        assert re.fullmatch(r"[a-z][^\n.]{20,80}", command.HELP)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_its_help(name: str) -> None:
    done = process(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"python -m harness {name if name != 'run' else 'strategy=pipelined'}" in done.out


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_one_help_for_all_fits_a_screen(flag: str) -> None:
    done = process(flag)
    assert (done.code, done.err) == (0, "")
    lines = done.out.rstrip().splitlines()
    assert 24 <= len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in NAMES)
    assert "  strategy     baseline, batch, pipelined, pooled, stacked" in lines
    assert any("depth=2" in line for line in lines)
    assert not any("schema" in line for line in lines), "an internal group"
    assert len([line for line in lines if line.startswith("  python -m harness ")]) == 3


def test_a_run_by_its_name() -> None:
    named, unnamed = process("run", *QUICK), process(*QUICK)
    assert (named.code, named.err) == (0, "")
    tables = [done.out.partition("results: ")[0] for done in (named, unnamed)]
    assert tables[0] == tables[1] != ""


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--version"], ["a=1", "--version"]])
def test_the_version_is_the_harnesss(arguments: list[str]) -> None:
    done = process(*arguments)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"harness {version('npu-harness')}, Hydra {version('hydra-core')}\n"


def test_a_new_command_is_one_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hello.py").write_text(
        "HELP = 'print a greeting'\n"
        "def main(arguments):\n    print('hello', *arguments)\n    return 3\n"
    )
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    assert dispatch(["hello", "you"]) == 3
    assert capsys.readouterr().out == "hello you\n"
    assert all_commands()["hello"].HELP == "print a greeting"
    sys.modules.pop("harness.commands.hello")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("acounting", "acounting: no such command; did you mean accounting? Allowed: accounting, "),
        ("main", "main: no such command; allowed: accounting, calibrate, "),
        ("help graph", "graph: no such command; allowed: "),
        ("show --cvs", "--cvs: no such flag; did you mean --csv? Allowed: --csv, --help, "),
        ("show --csv --json", "--csv --json: several forms of one table; give one"),
        ("show --csv=3", "--csv=3: takes no value; write --csv"),
        ("ui --prt 5", "--prt: no such flag; did you mean --port? Allowed: --help, --open, "),
        ("ui --port", "--port: no value; write --port <value>"),
        ("ui --port abc", "--port=abc: not a port; use 1024 to 65535"),
        ("graph a b", "graph: no such command; allowed: "),
        ("strategy pipelined", "strategy pipelined: write strategy=pipelined"),
        ("workload.tiles 5", "workload.tiles 5: write workload.tiles=5"),
        ("depth", "depth: no value; write depth=<value>"),
        ("depth=3 strategy pipelined", "strategy pipelined: write strategy=pipelined"),
        ("depth=3 acounting", "acounting: not an override; write key=value"),
        ("depth=3 list", "list: a command is the first argument; write harness list ..."),
        ("run list", "run list: two commands; give one"),
        ("emulate", "emulate needs a script: harness emulate SCRIPT [ARGUMENTS]"),
        ("strategy=pipelined -x", "-x: no such flag; allowed: --cfg, --config-dir, "),
    ],
)
def test_wrong_words(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"harness: {message}")


def test_flags_of_tables_may_stand_before_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for arguments in ("--json list kernel", "list kernel --json", "-q --json list kernel"):
        assert dispatch(arguments.split()) == 0
        printed.append(capsys.readouterr().out)
    assert len(set(printed)) == 1
    assert len(json.loads(printed[0])) > 3
    assert dispatch(["--csv", "run", *QUICK]) == 0
    assert dispatch(["--csv", "show"]) == 0
    row, again = capsys.readouterr().out.split("\nstrategy,")
    assert again.startswith(row.removeprefix("strategy,"))


@pytest.mark.parametrize("command", ["", "show", "run"])
def test_help_as_a_word(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["help", *command.split()]) == 0
    printed = capsys.readouterr().out
    assert dispatch([*command.split(), "--help"]) == 0
    assert capsys.readouterr().out == printed


def test_a_misspelt_command_leaves_nothing_behind(tmp_path: Path) -> None:
    assert dispatch(["acounting"]) == 2
    assert not list(tmp_path.iterdir())


# Endings


@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: Sequence[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(all_commands()[name], "main", interrupted)
    assert dispatch([name]) == 130
    assert capsys.readouterr() == ("", "harness: interrupted\n")


def test_a_package_that_is_missing_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacks(name: str) -> Callable[..., None]:
        def raises(*_: Any) -> None:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

        return raises

    monkeypatch.setattr(accounting, "report", lacks("rich.table"))
    assert dispatch(["accounting"]) == 2
    assert capsys.readouterr().err.startswith(
        f"harness: {sys.executable} has no rich.table; install the harness for it"
    )
    monkeypatch.setattr(accounting, "report", lacks("harness.mistake"))
    with pytest.raises(ModuleNotFoundError):
        dispatch(["accounting"])


def test_a_package_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_package.py").write_text("raise ImportError('libpng16.so:\\nno such file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(accounting, "report", lambda *_: import_module("broken_package"))
    assert dispatch(["accounting"]) == 2
    assert capsys.readouterr() == (
        "",
        f"harness: {sys.executable} cannot import broken_package (libpng16.so: no such file); "
        "install that package again, or use the Python that has the harness\n",
    )

    def mistake(*_: object) -> None:
        raise ImportError("cannot import name 'mistake'", name="harness.kernel")

    monkeypatch.setattr(accounting, "report", mistake)
    with pytest.raises(ImportError, match="mistake"):
        dispatch(["accounting"])


def test_a_run_leaves_the_process_as_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mine"])
    before = dict(os.environ), set(sys.modules)
    assert dispatch(["-m", "depth=1,0", *QUICK]) == 2
    assert sys.argv == ["mine"]
    assert dict(os.environ) == before[0]
    assert not {name for name in sys.modules if name.startswith("hydra_plugins.harness")}


# Output without a reader, or that cannot be written


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "--version",
        "--hydra-help",
        "--cfg all",
        "accounting whisper_base",
        "accounting --json",
        "accounting --help",
        "doctor --help",
        "emulate --help",
        f"run {' '.join(QUICK)}",
        f"-m depth=1,2 {' '.join(QUICK)}",
        f"run --csv {' '.join(QUICK)}",
        "list",
        "list --json",
        "sensitivity --strategies=baseline,pooled workload.tiles=2",
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_wants_no_more(arguments: str, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = process(*arguments.split(), stdout=writer, PYTHONUNBUFFERED=unbuffered)
    os.close(writer)
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ("--help", "help"),
        ("--cfg all", "output"),
        ("accounting", "report"),
        ("accounting --json", "report"),
        ("accounting --help", "help"),
        (f"run {' '.join(QUICK)}", "table"),
    ],
)
def test_a_full_stdout(arguments: str, what: str, unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = process(*arguments.split(), stdout=full.fileno(), PYTHONUNBUFFERED=unbuffered)
    assert done.code == 1
    assert done.err.startswith(f"harness: the {what} cannot be printed ([Errno 28] ")
    assert len(done.err.splitlines()) == 1


def test_a_closed_stderr_silences_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    say("a message")


def test_output_names_what_cannot_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    discarded = []
    monkeypatch.setattr(terminal, "_discard_stdout", lambda: discarded.append(1))
    with pytest.raises(OutputError) as error, output("list", "look elsewhere"):
        raise OSError(28, "No space left on device")
    said = "the list cannot be printed ([Errno 28] No space left on device); look elsewhere"
    assert str(error.value) == said
    with output("list"):
        raise BrokenPipeError
    assert discarded == [1, 1]


# Tables


def printed_on_a_terminal(term: str, columns: int, *arguments: str) -> str:
    """What the command prints on a terminal of that kind and width, without colours."""
    screen, terminal_fd = pty.openpty()
    fcntl.ioctl(terminal_fd, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    inherited = {key: each for key, each in environment().items() if key not in SIZES}
    process = Forked("", arguments, {**inherited, "TERM": term}, terminal_fd)
    os.close(terminal_fd)
    text = b""
    try:
        while block := os.read(screen, 1 << 16):
            text += block
    except OSError:  # EIO: the other end is closed
        pass
    os.close(screen)
    assert process.wait(LIMIT_S) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [60, 200])
@pytest.mark.parametrize("term", ["dumb", "unknown", "xterm-256color", ""])
def test_no_table_is_cut_whatever_the_terminal(term: str, columns: int) -> None:
    arguments = ("accounting", "whisper_base")
    into_a_file = process(*arguments).out
    assert "…" not in into_a_file
    screen = printed_on_a_terminal(term, columns, *arguments)
    if columns == 200 or term in ("dumb", "unknown"):
        assert screen == into_a_file
        return
    # In pieces: every word of every cell is there, as often as in the file.
    assert Counter(into_a_file.split()) <= Counter(screen.split())
    whole = into_a_file.splitlines()
    wide = [each for each in screen.splitlines() if len(each) > columns and each not in whole]
    assert wide == ["guide      6 blocks x 1500 frames / 64 frames a tile, nothing else"], (
        "one cell"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "strategy=baseline",
        "strategy=pipelined depth=3",
        "device.context_limit=2 workload=whisper_tiny workload.model=small workload.tiles=4",
        "-m device.context_limit=2,6 workload=whisper_tiny workload.model=small workload.tiles=4",
    ],
)
def test_the_hosts_columns_add_up(
    arguments: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ENCODERS, SMALL.name, SMALL)
    with in_process(monkeypatch, capfd) as run:
        done = run("tracking=off", "device.context_open_ns=60_000_000_000", *arguments.split())
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    headings = lines[0].replace("bound by", "bound_by").split()
    rows = [line for line in lines[1:] if line.endswith(" OK")]
    assert rows
    skipped = len(headings) - headings.index("ms/tile")
    for row in rows:
        numbers = re.sub(
            r" \([^)]*\)|(?<=device:) |(?<=host:) |(?<=both:) | (?=bound)", "", row
        ).split()[-skipped:]
        cells = dict(zip(headings[-skipped:], numbers, strict=True))
        stages = ("open", "alloc", "write", "launch", "wait", "read")
        total = sum(float(cells.get(stage, 0)) for stage in stages)
        assert total == pytest.approx(float(cells["ms/tile"]), abs=0.004), row
    assert ("open" in headings) is ("context_limit" in arguments)


# The emulator's trace


def test_a_trace_goes_to_a_folder_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    Path("script.py").write_text("import pyxrt\npyxrt.device(0)\n")
    for number in (1, 2):
        assert dispatch(["emulate", "script.py"]) == 0
        said = capfd.readouterr().out.splitlines()[-1]
        assert re.fullmatch(r"trace: outputs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-\d+/trace\.json", said)
        assert json.loads(Path(said.removeprefix("trace: ")).read_text())["traceEvents"]
        assert len(list(Path("outputs").rglob("trace.json"))) == number
    assert {path.name for path in Path.cwd().iterdir()} == {"script.py", "outputs"}


def test_a_trace_that_finds_no_folder(capfd: pytest.CaptureFixture[str]) -> None:
    Path("script.py").write_text("import pyxrt\npyxrt.device(0)\n")
    Path("outputs").write_text("mine")
    assert dispatch(["emulate", "script.py"]) == 1
    out, err = capfd.readouterr()
    assert "hazards: none" in out
    assert err.startswith("harness: the trace cannot be written ([Errno ")
    assert err.endswith("; give another file with --trace\n")


# Benchmarks


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("bench_*.py")), ids=str)
def test_a_benchmark_without_its_packages_says_which(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", path], capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "simpy" in line
    assert line.endswith("pip install -e '.[test]'")


def test_a_python_without_packages_still_says_what_is_wrong() -> None:
    assert shutil.which("sh")
    done = subprocess.run(
        [sys.executable, "-S", "-m", "harness", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert "install the harness for it" in line
