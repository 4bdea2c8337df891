"""Files that appear whole or not at all, and the record of a run, which appears last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.results.whole_file import replacing, write_text, written_last


def test_it_is_complete_before_and_appears_after(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with written_last(path, {"a": 1}):
        (part,) = tmp_path.iterdir()
        assert part != path
        assert json.loads(part.read_text()) == {"a": 1}
    assert [*tmp_path.iterdir()] == [path]
    assert json.loads(path.read_text()) == {"a": 1}


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), MemoryError()])
def test_an_error_in_the_context_does_not_lose_it(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(type(error)), written_last(path, {"a": 1}):
        raise error
    assert json.loads(path.read_text()) == {"a": 1}
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_error_leaves_the_older_file(tmp_path: Path, error: BaseException) -> None:
    path = write_text(tmp_path / "new" / "page.html", "\N{GREEK SMALL LETTER MU}s \udcff")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_bytes() == b"\xce\xbcs \\udcff"
    assert [*path.parent.iterdir()] == [path]
