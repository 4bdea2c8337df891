"""Python files of kernel folders: `spec.py` and the modules of references, loaded by path.

They are code of the user that runs with the rights of the harness.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import RequestError, nearest


def load_module(path: Path) -> ModuleType:
    """Run a Python file as a module of its own, whatever other modules have its name.

    While it runs, it can import the other files of its folder; they are no modules of anything
    else. Raises what the file raises.
    """
    module = ModuleType(f"kernel_{sha256(str(path).encode()).hexdigest()[:16]}_{path.stem}")
    module.__file__ = str(path)
    # Compiled here: the cache of Python's importer does not see a change within the same second.
    code = compile(path.read_bytes(), str(path), "exec")
    before = sys.modules.get(module.__name__)
    # dataclasses look up the module of a class.
    sys.modules[module.__name__] = module
    try:
        with _importing_from(path.parent):
            exec(code, module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]
        if before is not None:
            sys.modules[module.__name__] = before
        raise
    return module


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """In this context, imports find the modules of `folder` first; afterwards none is left."""
    names = {path.stem for path in folder.glob("*.py")}
    # A package may have no __init__.py.
    names |= {path.parent.name for path in folder.glob("*/*.py")}
    hidden = _taken_out(names)
    path, writes = sys.path[:], sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, writes
        _taken_out(names)
        sys.modules.update(hidden)


def _taken_out(names: set[str]) -> dict[str, ModuleType]:
    """Modules and packages of these names, with all that is in them, removed from sys.modules."""
    found = [each for each in sys.modules if each.partition(".")[0] in names]
    return {each: sys.modules.pop(each) for each in found}


def load_function(text: str, folder: Path, where: str) -> Callable[..., Any]:
    """The function of a `module:function` in a kernel folder.

    where: leads the messages. RequestError if the text has another form, or if the module or the
    function does not exist or cannot be loaded.
    """
    name, _, function = text.partition(":")
    given = f"{where}={text}"
    if not (name.isidentifier() and function.isidentifier()):
        raise RequestError(
            f"{given}: not allowed; give module:function, such as reference:relu for the function "
            f"relu of reference.py in {folder}"
        )
    path = folder / f"{name}.py"
    if not path.is_file():
        raise RequestError(f"{given}: {path}: no such file; create it, or leave the key out")
    try:
        module = load_module(path)
    # The file may raise anything, and a call of sys.exit in it must not end the harness.
    except (Exception, SystemExit) as error:
        raise RequestError(
            f"{given}: {path} cannot be loaded ({one_line(error)}); correct the file"
        ) from error
    found = vars(module).get(function)
    if not callable(found):
        functions = [each for each, value in vars(module).items() if _is_own(value, module)]
        wrong = "no such function" if found is None else "not a function"
        raise RequestError(f"{given}: {wrong} in {path}; {nearest(function, functions)}")
    result: Callable[..., Any] = found
    return result


def one_line(error: BaseException) -> str:
    """Class and text of an exception, without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _is_own(value: object, module: ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", "") == module.__name__
