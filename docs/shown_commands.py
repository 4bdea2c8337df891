"""Run the commands and the Python that the pages show, and compare or replace the outputs.

A page's ```console blocks contain commands after `$ ` (continued after `> `), each followed by its
output: what it writes to stdout, then to stderr. A ```python block may be followed by a ```text
block, its output. All of a page run in order, in one folder that starts with copies of benchmarks/,
docs/ and tests/data/. Words after `console` or `python` say more:

    slow      takes longer than seconds
    varies    the output differs from run to run and is not compared
    fails     the commands exit with 1
    unrun     needs what a test does not have: an NPU, the network, root
    compiler  needs a C++ compiler, and is not run without one

Commands of the harness run in forks of one process that has imported it and MLflow, so that a page
takes as long as its work. Runs and sweeps leave empty files as pictures. That process is a fork of
the tests' server of forks. It serves all pages: for each, it reads a line of JSON and writes one.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
HARNESS = ("python -m harness", "harness")
COPIED = ("benchmarks", "docs", "tests/data")
"""Folders of the checkout that commands name."""
VARYING = {
    r"\d{4}-\d{2}-\d{2}/\d{2}-\d{2}-\d{2}-\d{6}": "<date>/<time>",
    r"\bsweep \d{2}-\d{2}-\d{2}-\d{6}": "sweep <time>",
    r"(?<=%22)[0-9a-f]{32}|\b[0-9a-f]{32}\b": "<id>",
    r"(outputs/tune/[\w+-]+)-[0-9a-f]{8}\b": r"\1-<id>",
}
"""Dates and ids in the names of folders, ids of MLflow, and what the pages show for them."""


@dataclass(frozen=True)
class Shown:
    """A command or Python code of a page, and the output below it.

    output_at: place of the output in the page's text. output: None where no output is shown.
    """

    page: Path
    code: str
    is_python: bool
    words: frozenset[str]
    output: str | None
    output_at: tuple[int, int]

    @property
    def compared(self) -> bool:
        """Whether the output must be what the page shows."""
        return self.output is not None and not self.words & {"varies", "unrun"}


def pages() -> list[Path]:
    """Every page with commands that run."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def shown_on(page: Path) -> list[Shown]:
    """Commands and Python of a page, in order."""
    text = page.read_text()
    blocks = list(BLOCK.finditer(text))
    result: list[Shown] = []
    for index, block in enumerate(blocks):
        words = frozenset(block[2].split())
        if block[1] == "console":
            result += _commands(page, words, block)
        elif block[1] == "python":
            after = blocks[index + 1 : index + 2]
            is_output = after and after[0][1] == "text" and after[0].start() - block.end() <= 2
            output, place = (after[0][3], after[0].span(3)) if is_output else (None, (0, 0))
            result.append(Shown(page, block[3], True, words, output, place))
    return result


def _commands(page: Path, words: frozenset[str], block: re.Match[str]) -> Iterator[Shown]:
    offset, code = block.start(3), ""
    begin = offset
    for line in [*block[3].splitlines(keepends=True), "$ "]:
        if line.startswith("$ ") or (line.startswith("> ") and begin == offset):
            if line.startswith("$ ") and code:
                output = page.read_text()[begin:offset]
                yield Shown(page, code, False, words, output or None, (begin, offset))
                code = ""
            code += line[2:]
            begin = offset + len(line)
        offset += len(line)


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """What a terminal shows, without blanks at the ends of lines."""
        lines = (self.out + self.err).splitlines()
        return "".join(f"{line.rstrip()}\n" for line in lines)


def run(shown: Sequence[Shown], folder: Path) -> list[Done]:
    """Run commands of one page in a folder, in order."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    tasks = [{"code": each.code, "python": each.is_python} for each in shown]
    server = _server()
    server.write(f"{json.dumps({'folder': str(folder), 'tasks': tasks})}\n")
    server.flush()
    results = json.loads(server.readline())
    return [
        Done(each["code"], _placeless(each["out"], folder), _placeless(each["err"], folder))
        for each in results
    ]


@cache
def _server() -> IO[str]:
    """The connection to the server, which ends with this process."""
    sys.path.append(str(ROOT / "tests"))
    from support.fork_server import Forked

    ours, its = socket.socketpair()
    docs = str(Path(__file__).parent)
    setup = f"import sys; sys.path.append({docs!r}); import shown_commands as s; s.serve()"
    Forked(setup, [], {**os.environ, "PYTHONPATH": str(ROOT)}, stdout=its.fileno())
    its.close()
    with ours:
        return ours.makefile("rw")


def _placeless(text: str, folder: Path) -> str:
    """The text with relative paths, and without what differs from run to run: dates and ids."""
    for each in {str(folder), str(folder.resolve())}:
        text = text.replace(f"{each}/", "")
    for pattern, replacement in VARYING.items():
        text = re.sub(pattern, replacement, text)
    return text


def rewrite_outputs() -> None:
    """Run everything that is shown, and replace the outputs on the pages."""
    for page in pages():
        shown = [each for each in shown_on(page) if "unrun" not in each.words]
        if not any(each.compared for each in shown):
            continue
        with tempfile.TemporaryDirectory() as folder:
            results = run(shown, Path(folder))
        text = page.read_text()
        for each, done in reversed(list(zip(shown, results, strict=True))):
            if done.code != int("fails" in each.words):
                sys.exit(f"{page.name}: {each.code}exit code {done.code}\n{done.err}")
            if each.compared:
                begin, end = each.output_at
                text = text[:begin] + done.text + text[end:]
        page.write_text(text)


def serve() -> None:
    """Run the tasks of each line from the socket that is stdout; write a line of what they did."""
    for line in os.fdopen(os.dup(1)):
        page = json.loads(line)
        os.chdir(page["folder"])
        done = []
        codes: list[str] = []
        for task in page["tasks"]:
            if task["python"]:
                done.append(_forked(partial(_execute, list(codes), task["code"])))
                codes.append(task["code"])
            else:
                done.append(_command(task["code"]))
        print(json.dumps(done), flush=True)
    sys.exit()


def _command(line: str) -> dict[str, Any]:
    from support.fork_server import compose_presets

    line = line.strip()
    if line == "make run":
        dry = subprocess.run(
            ["make", "-n", "-C", ROOT, "run"], capture_output=True, text=True, check=True
        )
        (arguments,) = re.findall(r"python -m harness (.*)$", dry.stdout, re.MULTILINE)
        done = _command(f"harness {arguments}")
        # `make run` starts in the source tree, where `make ui` is the shorter way.
        return {**done, "out": done["out"].replace("MLflow: harness ui,", "MLflow: make ui,")}
    for name in HARNESS:
        if line == name or line.startswith(f"{name} "):
            arguments = shlex.split(line[len(name) :])
            compose_presets(arguments)
            return _forked(partial(_harness, arguments))
    line = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", line)
    shell = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    return {"code": shell.returncode, "out": shell.stdout, "err": shell.stderr}


class _Undrawn:
    """Writes empty pictures: drawing would take longer than the commands."""

    drawn: Sequence[Path] = ()

    def draw(self, wanted: Sequence[Any]) -> None:
        self.drawn = [each.path for each in wanted]
        for path in self.drawn:
            path.touch()

    def wait(self) -> list[str]:
        return []

    def cancel(self) -> None:
        pass


def _harness(arguments: list[str]) -> None:
    from harness.commands import pictures
    from harness.commands.main import main

    os.environ[pictures.SWITCH] = "on"
    vars(pictures)["Drawing"] = _Undrawn
    sys.argv = ["harness", *arguments]
    main()


def _execute(before: Sequence[str], code: str) -> None:
    """Execute a block of Python after the blocks before it, whose output is dropped."""
    names: dict[str, Any] = {"__name__": "__main__"}
    with redirect_stdout(StringIO()):
        for each in before:
            exec(each, names)
    exec(code, names)


def _forked(action: Any) -> dict[str, Any]:
    """Run an action in a fork of this process; returns its exit code and what it wrote."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            code: Any = 1
            try:
                action()
                code = 0
            except SystemExit as ended:
                code = ended.code or 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return {"code": code, "out": out.read(), "err": err.read()}
