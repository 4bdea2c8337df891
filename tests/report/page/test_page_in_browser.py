"""The pages of `harness report` in a browser: both widths, both colour schemes, 1 to 200 runs.

Screenshots go to outputs/ui-screenshots.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.browser import open_browser, require_browser
from support.process import LIMIT_S, ROOT
from support.report_pages import HOSTILE, hostile_run, sweep

from harness.commands.main import dispatch
from harness.commands.report import FILE_NAME

pytest.importorskip("plotly")
pytestmark = [pytest.mark.slow, pytest.mark.services]

SCREENSHOTS = ROOT / "outputs" / "ui-screenshots"
WIDTHS = (1280, 800)
LONG_TILES, MOST_BARS = 800, 3000
"""Tiles of a pass that has more bars than a page draws at once, and how many it draws."""
MOST_HEIGHT = 4000
"""Pixels of a screenshot."""
LEAST_CONTRAST = 4.5
"""Of text on its background (WCAG 2.1, 1.4.3)."""
TEXTS = ("h1", "p", ".lines li", "figcaption", ".verdict", "td", "th", "tr.best td", "tr.wrong td",
         "a", "dt", "code", "footer")  # fmt: skip
CONTRASTS = """
const light = (text) => {
  const parts = text.match(/[\\d.]+/g).slice(0, 3).map((each) => each / 255);
  const [r, g, b] = parts.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const back = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const colour = getComputedStyle(each).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return colour;
  }
};
const found = {};
for (const selector of arguments[0]) {
  const element = document.querySelector(selector);
  if (!element) continue;
  const [a, b] = [getComputedStyle(element).color, back(element)].map(light).sort();
  found[selector] = (b + 0.05) / (a + 0.05);
}
return found;
"""
THEMED = """
const titles = [...document.querySelectorAll(".xtitle")];
const colour = getComputedStyle(document.body).color;
const themed = titles.every((each) => getComputedStyle(each).fill === colour);
return titles.length > 0 && themed && document.documentElement.dataset.drawn === "yes";
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of one run, and of sweeps of 4 and 200 runs, with their pages."""
    require_browser()
    path = tmp_path_factory.mktemp("report")
    hostile_run(path / "1")
    sweep(path / "4", 4, first_tiles=LONG_TILES)
    sweep(path / "200", 200)
    for each in sorted(path.iterdir()):
        assert dispatch(["report", str(each)]) == 0
    return path


@pytest.fixture(scope="module")
def driver(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_browser(tmp_path_factory.mktemp("profile"), 1280, 900) as driver:
        yield driver


def until(driver: Any, code: str, *arguments: Any) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, LIMIT_S, 0.05).until(
        lambda driver: driver.execute_script(code, *arguments)
    )


def count(driver: Any, selector: str) -> int:
    return driver.execute_script("return document.querySelectorAll(arguments[0]).length", selector)


def emulate(driver: Any, width: int, height: int, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def test_the_pages(driver: Any, folder: Path) -> None:
    """One test: others of pytest's processes would start a browser each."""
    driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    for runs in (1, 4, 200):
        emulate(driver, WIDTHS[0], 900, "light")
        driver.get((folder / str(runs) / FILE_NAME).as_uri())
        until(driver, "return document.documentElement.dataset.drawn === 'yes'")
        for width, scheme in product(WIDTHS, ("light", "dark")):
            looks(driver, runs, width, scheme)
        emulate(driver, WIDTHS[0], 900, "light")
        until(driver, THEMED)
        if runs == 1:
            bars(driver, folder / "1")
            hover_and_zoom(driver)
        else:
            rows(driver, runs)
        if runs == 4:
            long_pass(driver, folder / "4" / "0")
            on_paper(driver)
        assert driver.execute_script("return performance.getEntriesByType('resource')") == []
        assert driver.get_log("browser") == []


def looks(driver: Any, runs: int, width: int, scheme: str) -> None:
    """Nothing is wider than the page, every chart is drawn, and every text is readable."""
    emulate(driver, width, 900, scheme)
    until(driver, THEMED)
    root = "document.documentElement"
    until(driver, f"return innerWidth === {width}")
    assert driver.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")
    until(
        driver,
        "return [...document.querySelectorAll('.chart')].every(each => {"
        "  const drawn = each.querySelector('.main-svg');"
        "  return drawn && drawn.getBoundingClientRect().right <= innerWidth"
        "    && each.querySelector('.point'); })",
    )
    for selector, contrast in driver.execute_script(CONTRASTS, TEXTS).items():
        assert contrast >= LEAST_CONTRAST, (runs, width, scheme, selector)
    height = driver.execute_script(f"return {root}.scrollHeight")
    emulate(driver, width, min(height, MOST_HEIGHT), scheme)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    driver.save_screenshot(str(SCREENSHOTS / f"report-{runs}-{width}-{scheme}.png"))


def bars(driver: Any, run: Path) -> None:
    """The timeline has a bar for each span and each stall of the trace; texts are texts."""
    events = json.loads((run / "trace.json").read_text())["traceEvents"]
    spans = sum(each["ph"] == "X" for each in events)
    stalls = sum(each.get("cat") == "stall" for each in events)
    assert spans > stalls > 0
    assert count(driver, "#run-0-timeline .barlayer .point") == spans + stalls
    assert (
        driver.execute_script("return document.querySelector('h1').innerText") == f"run {HOSTILE}"
    )
    assert count(driver, "script") == 3
    titles = "return [...document.querySelectorAll('.modebar-btn')].map(each => each.dataset.title)"
    assert set(driver.execute_script(titles)) == {
        "Download plot as a PNG",
        "Zoom",
        "Pan",
        "Zoom in",
        "Zoom out",
        "Reset axes",
    }, "none of them sends the chart anywhere"


def long_pass(driver: Any, run: Path) -> None:
    """A pass of many tiles begins with the first ones; the whole pass says what it leaves out."""
    events = json.loads((run / "trace.json").read_text())["traceEvents"]
    spans = sum(each["ph"] == "X" for each in events)
    drawn = (
        "return document.querySelectorAll('#run-0-timeline .barlayer .trace:not(:last-child) "
        ".point').length"
    )
    assert 0 < driver.execute_script(drawn) < 1000
    driver.execute_script("document.querySelector('.views button').click()")
    until(driver, f"{drawn} === {MOST_BARS}")
    note = driver.execute_script("return document.querySelector('.views span').textContent")
    assert f"the first 3,000 of its {spans:,} bars" in note


def on_paper(driver: Any) -> None:
    """Charts are light and as narrow as a sheet of A4, in the dark scheme too."""
    emulate(driver, WIDTHS[0], 900, "dark")
    until(driver, THEMED)
    driver.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    until(
        driver,
        "return [...document.querySelectorAll('.main-svg')].every(each =>"
        " each.getBoundingClientRect().width <= 700)",
    )
    until(driver, THEMED)
    colour = driver.execute_script("return getComputedStyle(document.body).color")
    assert colour == "rgb(27, 31, 36)"
    driver.execute_script("window.dispatchEvent(new Event('afterprint'))")
    until(driver, f"return getComputedStyle(document.body).color !== '{colour}'")


def hover_and_zoom(driver: Any) -> None:
    """Pointing at a bar shows its tile, stage and times; a drag zooms, a double click resets."""
    from selenium.webdriver import ActionChains

    (chart,) = driver.find_elements("css selector", "#run-0-timeline")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    executions = ".barlayer .trace:nth-child(5) .point path"
    (first, *_) = chart.find_elements("css selector", executions)
    shown = "return document.querySelector('.hoverlayer .hovertext')?.textContent"
    text = after(driver, ActionChains(driver).move_to_element(first), shown)
    assert text.startswith("exec, tile 0begins at 0.191000 mstakes 1.900000 ms"), text
    limits = "const now = document.querySelector('#run-0-timeline').layout.xaxis.range; "
    whole = driver.execute_script(f"{limits} return now")
    drag = ActionChains(driver).move_to_element_with_offset(chart, -200, 0).click_and_hold()
    drag.move_by_offset(150, 5).release()
    low, high = after(driver, drag, f"{limits} return now[0] > {whole[0]} && now")
    assert whole[0] < low < high < whole[1]
    twice = ActionChains(driver).move_to_element(chart).double_click()
    assert after(driver, twice, f"{limits} return now[0] === {whole[0]} && now") == whole


def after(driver: Any, actions: Any, code: str) -> Any:
    """What the code returns after some actions, which repeat until the page has noticed them."""
    from selenium.webdriver.support.ui import WebDriverWait

    def state(_: Any) -> Any:
        actions.perform()
        return driver.execute_script(code)

    return WebDriverWait(driver, LIMIT_S, 0.2).until(state)


def rows(driver: Any, runs: int) -> None:
    """A row for each run, sorted by a click on a heading; a link opens the details of a run."""
    assert count(driver, "#table tbody tr") == runs
    assert count(driver, "#table tr.best") == 1
    assert count(driver, "#table tr.wrong") == runs // 5
    heading = "[...document.querySelectorAll('#table th')].find(e => e.textContent === 'ms/tile')"
    times = (
        f"const place = [...{heading}.parentNode.children].indexOf({heading});"
        "return [...document.querySelectorAll('#table tbody tr')]"
        ".map(row => row.cells[place].textContent)"
    )
    before = driver.execute_script(times)
    driver.execute_script(f"{heading}.click()")
    after = driver.execute_script(times)
    right = [each for each in after if each != "-"]
    assert (right, after != before) == (sorted(right, key=float), True)
    driver.execute_script("document.querySelector('#table a[href=\"#run-1\"]').click()")
    until(driver, "return document.querySelector('#run-1').open")
