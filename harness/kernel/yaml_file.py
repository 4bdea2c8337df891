"""Reads a declaration's YAML as plain data: no tags of Python, no repeated keys, bounded size."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import RequestError
from harness.kernel.folders import shown

MOST_BYTES = 65_536
"""Largest declaration."""
MOST_LEVELS = 32
MOST_VALUES = 4096
"""Most values, with aliases expanded: nested aliases can multiply a small file."""


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; RequestError, with the place in the file, if it holds none."""
    import yaml  # tests/contract runs in a Python without it

    file, problem = shown(path), ""
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise RequestError(f"{file}: larger than {MOST_BYTES} bytes; declare one kernel only")
        text = content.decode()
        # PyYAML takes seconds before it gives up.
        if any(bracket * MOST_LEVELS in text.replace(" ", "") for bracket in "[{"):
            raise RecursionError
        data = yaml.load(text, _loader())
    except OSError as error:
        raise RequestError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{file}: not a text file; save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = f"{place}not valid YAML ({' '.join(str(error.problem).split())[:200]})"
    except RecursionError:
        problem = "not valid YAML (too many levels)"
    # Numbers of thousands of digits, dates that do not exist, characters that YAML does not allow.
    except (yaml.YAMLError, ValueError) as error:
        problem = f"not valid YAML ({' '.join(str(error).split())[:200]})"
    if problem:
        raise RequestError(f"{file}: {problem}; correct the file")
    if _size(data) > MOST_VALUES:
        raise RequestError(f"{file}: more than {MOST_VALUES} values; declare one kernel only")
    if not isinstance(data, dict):
        kind = "empty" if data is None else f"a {type(data).__name__}, not a mapping"
        raise RequestError(f"{file}: {kind}; give a line KEY: VALUE for each key")
    return data


def _size(data: Any) -> int:
    """Number of values, those behind aliases counted each time; counting stops at MOST_VALUES."""
    count, rest = 0, [data]
    while rest and count <= MOST_VALUES:
        value = rest.pop()
        count += 1
        if isinstance(value, dict):
            rest += [*value, *value.values()]
        elif isinstance(value, list | set | tuple):
            rest += value
    return count


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Refuses a key that is given twice, of which YAML would take the last, and `<<`."""

        def flatten_mapping(self, node: Any) -> None:
            """Refuse merge keys, which can multiply the size of a file."""
            for key, _ in node.value:
                if key.tag == "tag:yaml.org,2002:merge":
                    raise yaml.constructor.ConstructorError(
                        None, None, "<< is not allowed", key.start_mark
                    )

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            """A dictionary."""
            mapping = super().construct_mapping(node, deep=deep)
            if len(mapping) < len(node.value):
                names = [str(key.value) for key, _ in node.value]
                twice = next((each for each in names if names.count(each) > 1), names[0])
                raise yaml.constructor.ConstructorError(
                    None, None, f"{twice} is given twice", node.start_mark
                )
            return mapping

    return Loader
