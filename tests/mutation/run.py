"""Change the code of measure/ and results/ in one place at a time, and list what no test notices.

    python tests/mutation/run.py [module ...]       e.g. measure.stats results.identity

Each mutant runs the focused tests of its module in a child process, which compiles the changed code
in memory: no file is touched. Exit code 0 if every survivor is listed in README.md, else 1.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from time import monotonic

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
HEAVY = ("scipy.stats", "hypothesis", "pydantic", "rich.table", "harness.execution.executor")
"""Imported once, before the children are forked; none of them imports a module that is mutated."""
TIMEOUT_S = 120
TESTS = {
    "measure.bounds": ("measure/test_totals_by_hand.py", "measure/test_metrics.py"),
    "measure.totals": ("measure/test_totals_by_hand.py", "measure/test_metrics.py"),
    "measure.metric": ("measure/test_metrics.py", "measure/test_metric_table.py"),
    "measure.metrics": ("measure/test_metrics.py", "measure/test_metric_table.py"),
    "measure.rtf": ("measure/test_totals_by_hand.py", "measure/test_metrics.py"),
    "measure.stats": ("measure/test_metrics.py", "measure/test_intervals.py"),
    "results.speedup": ("results/test_identity.py",),
    "results.identity": ("results/test_identity.py",),
}
LEFT_OUT = "not identical_noise"
"""Simulations of many trials: too slow to repeat for every mutant."""
SWAPS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}


@dataclass(frozen=True)
class Mutant:
    """One changed module: `name` says what became what, without line numbers, which move."""

    module: str
    name: str
    line: int
    tree: ast.Module


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of a module."""
    source = path_of(module).read_text()
    count = len(list(ast.walk(ast.parse(source))))
    names: dict[str, int] = {}
    for number in range(count):
        tree = ast.parse(source)
        node = list(ast.walk(tree))[number]
        if any(part is node for each in decorators(tree) for part in ast.walk(each)):
            continue  # frozen=True: no behaviour that a test should see
        for change in changes(node):
            mutated = copy.deepcopy(tree)
            place = list(ast.walk(mutated))[number]
            line = line_of(mutated, place)
            before = ast.unparse(statement_of(mutated, place)).splitlines()[0]
            change_node(place, change)
            after = ast.unparse(statement_of(mutated, place)).splitlines()[0]
            name = difference(before, after) or f"{before} ({type(change).__name__})"
            names[name] = names.get(name, 0) + 1
            suffix = f" #{names[name]}" if names[name] > 1 else ""
            yield Mutant(module, name + suffix, line, ast.fix_missing_locations(mutated))


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What to put in a node's place, or in its operator's."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield from (swap() for swap in SWAPS.get(type(node.ops[0]), ()))
    elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        yield from (swap() for swap in SWAPS.get(type(node.op), ()))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield from (ast.Constant(node.value + step) for step in (1, -1))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Return) and node.value and not is_none(node.value):
        yield ast.Constant(None)


def decorators(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield from node.decorator_list


def is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def change_node(node: ast.AST, change: ast.AST) -> None:
    if isinstance(node, ast.Compare):
        node.ops = [change]  # type: ignore[list-item]
    elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        node.op = change  # type: ignore[assignment]
    elif isinstance(node, ast.Return):
        node.value = change  # type: ignore[assignment]
    elif isinstance(node, ast.Constant) and isinstance(change, ast.Constant):
        node.value = change.value
    elif isinstance(node, ast.UnaryOp):
        node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)


def statement_of(tree: ast.Module, node: ast.AST) -> ast.AST:
    """The innermost statement, or row of a table, that a node is part of."""
    inside = [
        each
        for each in ast.walk(tree)
        if isinstance(each, ast.stmt | ast.keyword | ast.Lambda)
        and any(part is node for part in ast.walk(each))
    ]
    return inside[-1]


def line_of(tree: ast.Module, node: ast.AST) -> int:
    return getattr(node, "lineno", None) or getattr(statement_of(tree, node), "lineno", 0)


def difference(before: str, after: str) -> str:
    return "" if before == after else f"{before} -> {after}"


def path_of(module: str) -> Path:
    return ROOT / "harness" / f"{module.replace('.', '/')}.py"


def survives(mutant: Mutant) -> bool:
    """Whether the focused tests pass with it; a mutant that hangs is noticed."""
    child = os.fork()
    if not child:
        os.setsid()
        os._exit(run_tests(mutant))
    end_s = monotonic() + TIMEOUT_S
    while monotonic() < end_s:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status == 0
        signal.sigtimedwait([signal.SIGCHLD], 0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def run_tests(mutant: Mutant) -> int:
    """In a child process: load the mutant in place of its module, and run the tests silently."""
    name = f"harness.{mutant.module}"
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> object:
        if fullname == name:
            return compile(mutant.tree, path_of(mutant.module), "exec")
        return original(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[assignment, method-assign]
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    files = [str(ROOT / "tests" / each) for each in TESTS[mutant.module]]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-k", LEFT_OUT]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # some of HEAVY are plugins
    with contextlib.suppress(BaseException):
        return int(pytest.main([*options, *files]))
    return 99


def explained() -> set[tuple[str, str]]:
    """The survivors that README.md explains, as (module, name)."""
    found, module = set(), ""
    for line in (HERE / "README.md").read_text().splitlines():
        if heading := re.fullmatch(r"## harness/(.+)\.py", line):
            module = heading[1].replace("/", ".")
        elif item := re.match(r"\* `(.+?)`:", line):
            found.add((module, item[1]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", choices=[[], *TESTS], help=", ".join(TESTS))
    modules = parser.parse_args().modules or list(TESTS)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for name in HEAVY:
        importlib.import_module(name)
    assert not {f"harness.{module}" for module in TESTS} & set(sys.modules)
    known, unexplained = explained(), 0
    total = killed = 0
    for module in modules:
        source = ast.parse(path_of(module).read_text())
        if not survives(Mutant(module, "unchanged", 0, source)):
            print(f"{module}: its tests fail without a mutant; run them alone to see why")
            return 2
        of_module = [0, 0]
        for mutant in mutants(module):
            of_module[0] += 1
            if not survives(mutant):
                of_module[1] += 1
                continue
            new = (module, mutant.name) not in known
            unexplained += new
            mark = "SURVIVES" if new else "explained"
            print(f"{mark} {module}:{mutant.line}: {mutant.name}", flush=True)
        print(f"{module}: {of_module[1]} of {of_module[0]} killed", flush=True)
        total, killed = total + of_module[0], killed + of_module[1]
    print(f"{killed} of {total} killed, {unexplained} survivors without an explanation")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
