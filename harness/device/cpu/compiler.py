"""Compiles the C++ of a kernel for this machine, into a cache with one file per content."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.config.device import Cpu
from harness.errors import RequestError
from harness.kernel import Argument, Buffer, KernelSpec, Scalar, Unused
from harness.kernel.dtypes import size_bytes

# Hidden symbols: each loaded copy uses its own functions and variables, also if the process has
# others of the same name.
FIXED = ("-std=c++20", "-shared", "-fPIC", "-fvisibility=hidden")
"""Arguments in addition to `device.flags`; the standard is that of kernels/Makefile."""
RUN = "harness_run"
"""The function of a library that runs tiles."""
SOURCE = """\
#include "{source}"

#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <time.h>

#include <type_traits>
#include <utility>

namespace harness {{

inline int64_t now_ns() {{
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}}

// The buffers among the arguments; the others are scalars.
constexpr bool is_buffer[] = {{{is_buffer}}};
// Bytes of the largest element of each buffer; 0 for a scalar.
constexpr size_t element_bytes[] = {{{element_bytes}}};

// Other types, such as vectors, may be views of several elements.
template <typename P>
constexpr bool fits(size_t bytes) {{
  using Element = std::remove_cv_t<std::remove_pointer_t<P>>;
  if constexpr (std::is_pointer_v<P> && std::is_arithmetic_v<Element>)
    return sizeof(Element) <= bytes;
  else
    return true;
}}

template <typename P>
P argument(int64_t value) {{
  if constexpr (std::is_pointer_v<P>)
    return reinterpret_cast<P>(value);
  else
    return static_cast<P>(value);
}}

template <typename R, typename... P, size_t... I>
void call(R (*kernel)(P...), const int64_t *values, const int64_t *strides, int64_t tile,
          std::index_sequence<I...>) {{
  static_assert(sizeof...(P) == {count}, "{name}: its declaration has {count} {declared}");
  static_assert(((std::is_pointer_v<P> == is_buffer[I]) && ...),
                "{name}: its declaration has the arguments {names}: "
                "buffers are pointers and scalars are numbers");
  static_assert((fits<P>(element_bytes[I]) && ...),
                "{name}: a pointer is to larger elements than its declaration has ({sizes})");
  kernel(argument<P>(values[I] + tile * strides[I])...);
}}

}}  // namespace harness

// values, strides: address of the first tile and distance of two tiles for each buffer; value and 0
// for each scalar. stamps: begin and end of each tile, in ns. bell: an eventfd to write to at the
// begin, or -1.
extern "C" __attribute__((visibility("default"))) void harness_run(
    const int64_t *values, const int64_t *strides, int64_t tiles, int64_t *stamps, int bell) {{
  if (bell >= 0) eventfd_write(bell, 1);
  for (int64_t tile = 0; tile < tiles; ++tile) {{
    stamps[2 * tile] = harness::now_ns();
    harness::call({name}, values, strides, tile, std::make_index_sequence<{count}>());
    stamps[2 * tile + 1] = harness::now_ns();
  }}
}}
"""
"""Runs several tiles with one call, so that Python is not between them, and stamps each."""


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler. version: the first line that it prints about itself."""

    path: str
    version: str


def find_compiler(device: Cpu) -> Compiler:
    """The compiler that `device` names; RequestError if there is none."""
    path = shutil.which(device.compiler)
    if path is None:
        raise RequestError(
            f"device.compiler={device.compiler}: no such C++ compiler; install the package g++ "
            "(Debian, Ubuntu) or gcc-c++ (Fedora), or give another one with device.compiler=<path>"
        )
    return Compiler(path, _version(path))


def version_of(name: str) -> str | None:
    """The version of the compiler `name`, a name on PATH or a path; None if there is none."""
    path = shutil.which(name)
    return _version(path) if path else None


@cache
def _version(path: str) -> str:
    done = _run([path, "--version"], "")
    return (done.stdout.splitlines() or [""])[0].strip()


def cache_folder() -> Path:
    """The folder of compiled kernels; RequestError if it cannot be created."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG Base Directory Specification: relative paths are ignored.
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    folder = root / "npu-harness" / "cpu"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(folder, error) from error
    return folder


def compile_kernel(spec: KernelSpec, source: Path, compiler: Compiler, flags: str) -> Path:
    """The shared library of a kernel; compiled, unless the cache has it.

    source: a file that defines the function `spec.name`, with _ in place of -. It takes the
    arguments in their order, without unused ones: a pointer for each buffer, an integer for each
    scalar. flags: as on a command line. RequestError if it does not compile.

    The cache's key is the preprocessed source with all macros, which include those of the
    processor, the flags, and the version of the compiler.
    """
    # Files included by the source may change too, so the text of the source would not be enough.
    name, used = spec.name, [each for each in spec.arguments if not isinstance(each, Unused)]
    is_scalar = [isinstance(each, Scalar) for each in used]
    buffers = [each for each in used if isinstance(each, Buffer)]
    text = SOURCE.format(
        source=source,
        name=name.replace("-", "_"),
        count=len(used),
        declared="buffers and scalars" if any(is_scalar) else "buffers",
        is_buffer=", ".join("false" if each else "true" for each in is_scalar),
        element_bytes=", ".join(str(_element_bytes(each)) for each in used),
        names=", ".join(each.name for each in used),
        sizes=", ".join(f"{each.name}: {_element_bytes(each)} B" for each in buffers),
    )
    command = [compiler.path, *flags.split(), *FIXED]
    folder = cache_folder()
    expanded = _run([*command, "-E", "-P", "-dD", "-x", "c++", "-"], text)
    _check(expanded, name, folder)
    content = "\0".join([compiler.version, *command, expanded.stdout])
    path = folder / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:32]}.so"
    if not path.exists():
        try:
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                library = Path(temporary) / path.name
                done = _run([*command, "-x", "c++", "-", "-o", str(library)], text)
                _check(done, name, folder)
                # Atomic: another process never sees a part of it.
                library.replace(path)
        except OSError as error:
            raise _not_written(folder, error) from error
    return path


def _element_bytes(argument: Argument) -> int:
    """Bytes of the largest element of a buffer; 0 for other arguments."""
    parts = argument.parts if isinstance(argument, Buffer) else ()
    return max((size_bytes(part.dtype, 1) for part in parts), default=0)


def _run(command: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
    """Run a compiler with a source on its stdin; RequestError if it cannot be started."""
    # Without a locale, messages are in English: `_check` looks for "error".
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            errors="replace",
        )
    except OSError as error:
        raise RequestError(
            f"device.compiler={command[0]}: cannot be started ({error.strerror}); "
            "give another one with device.compiler=<path>"
        ) from error


def _check(done: subprocess.CompletedProcess[str], name: str, folder: Path) -> None:
    """RequestError with the first error of a compiler that failed; a log has all it printed."""
    if not done.returncode:
        return
    log = folder / f"{name}.log"
    try:
        log.write_text(f"{done.stderr}{done.stdout[-1000:] if not done.stderr else ''}")
    except OSError as error:
        raise _not_written(folder, error) from error
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    first = next((line for line in lines if "error" in line), (lines or ["no message"])[0])
    raise RequestError(
        f"device=cpu: the C++ of kernel {name} does not compile: {first}; all messages are in {log}"
    )


def _not_written(folder: Path, error: OSError) -> RequestError:
    return RequestError(
        f"{folder}: compiled kernels cannot be stored there ({error.strerror}); "
        "name a folder of your own with XDG_CACHE_HOME=<folder>"
    )
