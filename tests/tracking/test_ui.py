"""MLflow's pages in a browser: the links that commands print, views, charts, comparison, files.

Screenshots go to outputs/ui-screenshots.
"""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.browser import open_browser, require_browser
from support.process import LIMIT_S, ROOT, Done, Process, end, process, shared_folder, start

from harness.tracking.mlflow_views import HOME, VIEWS, View

pytestmark = [pytest.mark.slow, pytest.mark.services]

SCREENSHOTS = ROOT / "outputs" / "ui-screenshots"
POLL_S = 0.1
QUICK = ("measure.warmup=0", "measure.repeats=2")
RUNS = 9
"""Runs in the store, without the sweep."""
NAMES = ".ag-pinned-left-cols-container"
"""The part of the table with the names of runs and their check boxes."""
LINK = re.compile(r"^MLflow: .*?(http://127\.0\.0\.1:)\d+(/\S+)$", re.MULTILINE)


@dataclass
class Pages:
    """The pages of a store in a browser. driver: selenium's. server: address. home: its link."""

    driver: Any
    server: str
    home: str

    def open(self, address: str) -> None:
        # A change of the fragment alone would not load the page anew.
        self.driver.get("about:blank")
        self.driver.get(address)

    def until(self, state: Callable[[], Any]) -> Any:
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(
            self.driver, LIMIT_S, POLL_S, ignored_exceptions=[StaleElementReferenceException]
        )
        return wait.until(lambda driver: state())

    def text(self, selector: str = "body") -> str:
        """What a reader can read in all elements that match."""
        return "\n".join(self.texts(selector))

    def texts(self, selector: str) -> list[str]:
        """What a reader can read in each element that matches; selenium's own way takes seconds."""
        code = "return [...document.querySelectorAll(arguments[0])].map(each => each.innerText)"
        return self.driver.execute_script(code, selector)

    def elements(self, selector: str) -> Any:
        return self.driver.find_elements("css selector", selector)

    def shows(self, *texts: str, within: str = "body") -> None:
        """Wait until all the texts can be read."""
        self.until(lambda: all(text in self.text(within) for text in texts))

    def click(self, selector: str) -> None:
        """Click the first element that matches, as soon as there is one."""
        element = self.until(lambda: next(iter(self.elements(selector)), None))
        self.driver.execute_script("arguments[0].click()", element)

    def save(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))


def link_of(done: Done) -> str:
    """The part of a printed link that follows the server."""
    assert (done.code, done.err) == (0, "")
    (found,) = LINK.finditer(done.out)
    return found[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_folder(tmp_path_factory, "ui") as path:
        yield path


@pytest.fixture(scope="module")
def serving(folder: Path) -> Iterator[tuple[Process, int]]:
    """`harness ui` on a store that it creates, and its port; it starts while runs are stored."""
    require_browser()
    port = free_port()
    server = start("ui", "--port", str(port), cwd=Path.cwd())
    try:
        yield server, port
    finally:
        server.send_signal(signal.SIGINT)
        done = end(server)
    assert (done.code, done.err) == (0, "harness: Ctrl-C ends the server\n")


@pytest.fixture(scope="module")
def sweep(serving: tuple[Process, int]) -> Done:
    """A sweep over the strategy and two numbers, of eight runs."""
    times = "device.exec_ns.attention=1_000_000,10_000_000"
    return process("-m", "strategy=baseline,pipelined", times, "workload.tiles=5,6", *QUICK)


@pytest.fixture(scope="module")
def one_run(sweep: Done) -> Done:
    """A run of a phase, with a number as a user types it."""
    phase = ("phase=multicore", "strategy.batch=1", "strategy.columns=1", "workload=attention")
    return process(*phase, "device.exec_ns.attention=1_500_000", "workload.tiles=3", *QUICK)


@pytest.fixture(scope="module")
def pages(
    serving: tuple[Process, int],
    one_run: Done,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pages]:
    """The pages that the server serves, in a browser with a fresh profile."""
    server, port = serving
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        first = server.stdout.readline()
        assert first.startswith(f"MLflow: http://127.0.0.1:{port}/#/"), end(server)
        yield Pages(driver, f"http://127.0.0.1:{port}", first.split()[1])


def names(page: Pages) -> list[str]:
    """Names of the runs in the table."""
    return page.texts(f"{NAMES} a[href*='/runs/']")


def test_the_pages(pages: Pages, sweep: Done, one_run: Done) -> None:
    """One test: others of pytest's processes would start a server and a browser each."""
    home(pages)
    for count in (2, 8):
        comparison(pages, count)
    for view in VIEWS[1:]:
        columns_of(pages, view)
    charts_of_sweep(pages, sweep)
    files_of_run(pages, one_run)
    page_of_sweep(pages, sweep)


def home(pages: Pages) -> None:
    """The printed link shows metrics without a click."""
    pages.open(pages.home)
    pages.shows("time/tile_ms", "speedup/vs_baseline", "bound/ratio", within=".ag-header")
    pages.until(lambda: len(names(pages)) == RUNS)
    pages.save("strategies")
    assert "pipelined" in pages.text(".ag-body-viewport")
    assert "Runs of the NPU harness" in pages.text()
    assert HOME.name in pages.text()
    links = {each.get_attribute("href") for each in pages.elements("a[href*=viewStateShareKey]")}
    assert links >= {pages.home.replace(HOME.key, view.key) for view in VIEWS}


def comparison(pages: Pages, count: int) -> None:
    """Runs that are selected in the table are compared: parameters, metrics, a chart."""
    pages.until(lambda: len(names(pages)) == RUNS)
    for box in pages.elements(f"{NAMES} .ag-checkbox-input")[:count]:
        pages.driver.execute_script("arguments[0].click()", box)
    pages.click("[data-testid=runs-compare-button]")
    pages.shows(f"Comparing {count} Runs", "strategy.depth", "time/total_ms", "bound/ratio")
    pages.until(lambda: pages.elements(".js-plotly-plot"))
    pages.save(f"compare-{count}")
    if count == 8:
        assert "device.exec_ns.attention" in pages.text()
        assert {"1000000", "1500000", "10000000"} <= set(pages.text().split())
    pages.driver.back()


def columns_of(pages: Pages, view: View) -> None:
    """A view of the menu has its columns."""
    pages.open(pages.home.replace(HOME.key, view.key))
    pages.shows(*view.tags, view.metrics[0], within=".ag-header")
    pages.shows(view.name)
    pages.save(view.key)


def charts_of_sweep(pages: Pages, sweep: Done) -> None:
    """The link of a sweep shows charts of its runs, and no others."""
    pages.open(f"{pages.server}{link_of(sweep)}")
    pages.until(lambda: len(names(pages)) == RUNS - 1)
    pages.until(lambda: pages.elements(".js-plotly-plot"))
    pages.save("sweep-charts")
    assert sorted(names(pages)) == sorted(
        f"{preset} attention={time_ns} tiles={tiles} {label} attention simulator {' '.join(QUICK)}"
        for time_ns in (1_000_000, 10_000_000)
        for tiles in (5, 6)
        for preset, label in (("baseline", "per_tile d1 b1 c1"), ("pipelined", "pooled d2 b1 c1"))
    )
    assert names(pages)[0].startswith("pipelined attention=1000000 tiles=6 "), "the fastest first"


def files_of_run(pages: Pages, run: Done) -> None:
    """The link of a run shows its description, parameters and metrics; its files open."""
    pages.open(f"{pages.server}{link_of(run)}")
    pages.shows("strategy.depth", "time/tile_ms", "Description", "ms/tile")
    pages.save("run")
    pages.open(f"{pages.server}{link_of(run)}/artifacts")
    pages.shows("config.yaml", "record.json", "trace.json")
    pages.click("[artifact-name='record.json'] div")
    pages.shows('"schema_version"')
    pages.save("record")


def page_of_sweep(pages: Pages, sweep: Done) -> None:
    """The page of a sweep has its overrides, its fastest run and its table."""
    parent = re.search(r"%22([0-9a-f]{32})%22", sweep.out)
    assert parent is not None
    address = f"{pages.server}/#/experiments/1/runs/{parent[1]}"
    pages.open(address)
    pages.shows("baseline,pipelined", "1_000_000,10_000_000", "Fastest right run", "sweep/OK")
    pages.save("sweep")
    pages.open(f"{address}/artifacts")
    pages.click("[artifact-name='runs.md'] div")
    pages.shows("pooled d2 b1 c1", "speed-up")
    pages.save("sweep-table")
