"""The pages are true: commands print what is shown, links work, references are current."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import make_reference  # noqa: E402
from shown_commands import BLOCK, Done, Shown, pages, run, shown_on  # noqa: E402

from harness.hazard import Kind  # noqa: E402

FOLDERS = ("docs", "kernels", "benchmarks", "harness", "tests")
"""Folders with pages; others may hold an environment or a whole root file system."""
MARKDOWN = sorted(
    [*ROOT.glob("*.md"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*.md"))]
)
README_LINES = 150
PROSE_COLUMNS = 100
LINK = re.compile(r"\]\(([^)\s]+)\)")
EXTERNAL = re.compile(r"https?://[\w.-]+(:\d+)?(/\S*)?")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def runnable(page: Path, slow: bool) -> list[Shown]:
    """The slow commands of a page that can run here, or all others."""
    left_out = {"unrun", *({"compiler"} if not shutil.which("c++") else ())}
    shown = [each for each in shown_on(page) if not each.words & left_out]
    return [each for each in shown if ("slow" in each.words) is slow]


def executed(page: Path, folder: Path, slow: bool) -> list[tuple[Shown, Done]]:
    """The slow commands of a page, or all others, and what they did."""
    shown = runnable(page, slow)
    return list(zip(shown, run(shown, folder), strict=True))


def check(done: list[tuple[Shown, Done]]) -> None:
    for shown, result in done:
        assert result.code == int("fails" in shown.words), (shown.code, result)
        assert "Traceback" not in result.err, (shown.code, result)
        if shown.compared:
            assert result.text.splitlines() == (shown.output or "").splitlines(), shown.code


QUICK = [page for page in pages() if runnable(page, slow=False)]
SLOW = [page for page in pages() if runnable(page, slow=True)]


@pytest.mark.slow
@pytest.mark.parametrize("page", QUICK, ids=name_of)
def test_commands_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    check(executed(page, tmp_path, slow=False))


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=name_of)
def test_long_commands_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    check(executed(page, tmp_path, slow=True))


@pytest.mark.parametrize("page", MARKDOWN, ids=name_of)
def test_blocks_are_of_a_known_kind(page: Path) -> None:
    """A misspelt word would silently leave a command unchecked."""
    text = page.read_text()
    assert (
        text.count("\n```") + text.startswith("```")
        == 2 * len(BLOCK.findall(text))
        + len(re.findall(r"^```\n(?:(?!```).*\n)*?```$", text, re.MULTILINE)) * 2
    )
    for language, words, _ in BLOCK.findall(text):
        assert language in {"console", "python", "text", "yaml", "sh"}, page
        assert set(words.split()) <= {"slow", "varies", "fails", "unrun", "compiler"}, page
        assert not words.strip() or language in {"console", "python"}, page


def test_every_command_is_run_or_says_why_not() -> None:
    for page in MARKDOWN:
        if page not in pages():
            assert "```console" not in page.read_text(), page


def test_overrides_of_commands_that_do_not_run_compose(tmp_path: Path) -> None:
    """Commands for an NPU are not run; their requests are composed."""
    commands = [each.code for page in pages() for each in shown_on(page) if "unrun" in each.words]
    requests = [each for each in commands if "-m harness device=" in each]
    assert requests
    for request in requests:
        arguments = [each for each in request.split()[3:] if each != "-m"]
        single = [each.split(",")[0] for each in arguments]
        assert make_reference.compose.load(*single)


def anchors(page: Path) -> set[str]:
    """Anchors of a page, as GitHub makes them from its headings."""
    text = BLOCK.sub("", page.read_text())
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {each.replace(" ", "-") for each in kept}


@pytest.mark.parametrize("page", MARKDOWN, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", BLOCK.sub("", page.read_text()))
    for link in LINK.findall(text):
        if ":" in link:
            assert EXTERNAL.fullmatch(link), f"{name_of(page)}: {link}"
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{name_of(page)}: {link}"
        assert not anchor or anchor in anchors(path), f"{name_of(page)}: {link}"


def test_every_page_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in text, page


def test_every_hazard_is_described() -> None:
    described = (ROOT / "docs" / "emulate.md").read_text().partition("## Hazards")[2]
    rows = [line.split("|")[1] for line in described.splitlines() if line.startswith("|")][2:]
    named = [name.strip() for row in rows for name in row.split(",")]
    assert sorted(named) == sorted(kind.value for kind in Kind)
    for kind in Kind:
        assert kind.explanation, kind
        assert kind.remedy, kind


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_lines_of_prose_are_not_long(page: Path) -> None:
    """Tables and blocks are as wide as they must be."""
    prose = BLOCK.sub("", page.read_text()).splitlines()
    assert [line for line in prose if len(line) > PROSE_COLUMNS and not line.startswith("|")] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_pictures_are_small_and_name_no_folder() -> None:
    for path in (ROOT / "docs" / "images").iterdir():
        content = path.read_bytes()
        assert len(content) < 100_000, path
        assert b"/home" not in content
        assert str(ROOT).encode() not in content


def test_reference_pages_are_current() -> None:
    """`python docs/make_reference.py` writes them."""
    for page, text in make_reference.pages().items():
        assert page.read_text() == text, page


def test_every_dataclass_of_a_record_is_described() -> None:
    """Those that a field of a described one refers to."""
    for cls, fields in make_reference.RECORD_FIELDS.items():
        assert set(fields) == {each.name for each in make_reference.dataclasses.fields(cls)}, cls
    described = set(make_reference.RECORD_CLASSES)
    for cls in described:
        for hint in make_reference.typing.get_type_hints(cls).values():
            for each in (hint, *make_reference.typing.get_args(hint)):
                if make_reference.dataclasses.is_dataclass(each):
                    assert each in described, each


def test_the_tree_names_every_folder() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    tree = re.search(r"## The tree\n+```text\n(.*?)```", text, re.DOTALL)
    assert tree is not None
    named = {line.split()[0] for line in tree[1].splitlines() if not line.startswith(" ")}
    below = {line.split()[0] for line in tree[1].splitlines() if line.startswith("  ")}
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a checkout of git")
    parts = [Path(line).parts for line in listed.stdout.splitlines()]
    assert {f"{each[0]}/" for each in parts if len(each) > 1 and each[0][0] != "."} <= named
    packages = {f"{each[1]}/" for each in parts if len(each) > 2 and each[0] == "harness"}
    assert packages <= below


def block_after(page: str, heading: str, language: str) -> str:
    """The first block of a language below a heading."""
    text = (ROOT / page).read_text()
    found = re.search(rf"^```{language}\n(.*?)```", text[text.index(heading) :], re.DOTALL | re.M)
    assert found is not None
    return found[1]


def test_make_run_passes_overrides_through() -> None:
    arguments = ["make", "-n", "-C", str(ROOT), "run", "ARGS=strategy=batch workload.tiles=40"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "python -m harness strategy=batch workload.tiles=40" in done.stdout


def test_benchmarks_named_are_there() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text()
    named = re.findall(r"^`python (benchmarks/\w+\.py)`$", text, re.MULTILINE)
    assert sorted(named) == sorted(
        f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("bench_*.py")
    )


def harness(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments, "tracking=off"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_strategy_and_a_kernel_of_ones_own(tmp_path: Path) -> None:
    """The strategy and the kernel of docs/extending.md, in a copy of the tree."""
    for part in ("harness", "conf", "kernels"):
        shutil.copytree(ROOT / part, tmp_path / part)
    strategy = block_after("docs/extending.md", "## A strategy", "yaml")
    (tmp_path / "conf" / "strategy" / "mine.yaml").write_text(strategy)
    spec = block_after("docs/extending.md", "## A kernel", "python")
    assert ast.parse(spec)
    (tmp_path / "kernels" / "add").mkdir()
    (tmp_path / "kernels" / "add" / "spec.py").write_text(spec)
    (tmp_path / "conf" / "workload" / "add.yaml").write_text("kernel: add\n")
    done = harness(tmp_path, "strategy=mine", "depth=3", "workload=add")
    assert done.returncode == 0, done.stderr
    assert "pooled d3 b1 c1 p1" in done.stdout
    assert "OK" in done.stdout
