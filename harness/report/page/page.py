"""The text of the page, from templates."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import RequestError, with_extra
from harness.execution.outcome import Verdict
from harness.report.page.charts import Chart
from harness.report.page.run_view import RunView
from harness.report.tables import Part, Sheet

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
GENERATOR = '<meta name="generator" content="harness report">'
"""A line at the beginning of each page, by which a page is recognised."""

POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; form-action 'none'; "
    "base-uri 'none'"
)
"""Content security policy: the page may load nothing, and send nothing."""


@dataclass(frozen=True)
class Comparison:
    """How the settings of a sweep differ. parts: table and lines; absent: why there is none."""

    parts: Sequence[Part] = ()
    forest: Chart | None = None
    absent: str = ""


@dataclass(frozen=True)
class Page:
    """The content of a page. runs: in the order of the rows of `table`.

    lines: those below the table. remarks: about runs without a record. comparison: None for a
    single run. differences: keys whose values differ between the runs, with the values. full: the
    anchors of the runs that have charts, and what each of them is.
    """

    title: str
    created: str
    table: Sheet
    lines: Sequence[str]
    runs: Sequence[RunView]
    remarks: Sequence[str] = ()
    comparison: Comparison | None = None
    curves: Sequence[Chart] = ()
    differences: Sequence[tuple[str, str]] = ()
    full: Mapping[str, str] = field(default_factory=dict)

    @property
    def single(self) -> RunView | None:
        """The only run; None if there are several."""
        return self.runs[0] if len(self.runs) == 1 else None

    @property
    def verdicts(self) -> list[tuple[str, int]]:
        """The number of runs by verdict, in the order of `Verdict`."""
        counts = Counter(each.record.verdict for each in self.runs)
        return [(each.value, counts[each]) for each in Verdict if counts[each]]

    @property
    def failed(self) -> list[RunView]:
        """The runs that are not right."""
        return [each for each in self.runs if not each.record.ok]

    @property
    def charts(self) -> list[Chart]:
        """All charts of the page."""
        forest = self.comparison.forest if self.comparison else None
        own = [*self.curves, *([forest] if forest else [])]
        return [*own, *(chart for run in self.runs for chart in run.charts)]


def require_plotly() -> None:
    """RequestError if this Python has no plotly."""
    try:
        import plotly  # noqa: F401
    except ModuleNotFoundError as error:
        raise RequestError(
            f"report: needs plotly, which this Python lacks; {with_extra('report')}"
        ) from error


def html(page: Page) -> str:
    """The page as one HTML file that loads nothing: styles, scripts and data are inside."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    scripts = [get_plotlyjs(), _file("page.js")]
    # Only these two may run: a script in a text of a run would not, even if it were not escaped.
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    template = _templates().get_template("page.html")
    return template.render(
        page=page,
        charts={chart.name: chart.content for chart in page.charts},
        generator=Markup(GENERATOR),
        policy=f"{POLICY}; script-src {hashes}",
        style=Markup(_file("page.css")),
        scripts=[Markup(script) for script in scripts],
    )


def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    templates.filters["shown"] = _shown
    templates.tests["sheet"] = lambda part: isinstance(part, Sheet)
    return templates


def _shown(sheet: Sheet) -> list[dict[str, Any]]:
    """The visible columns of a sheet, with their places in its rows."""
    return [
        {"place": place, "heading": column.heading, "right": column.right}
        for place, column in enumerate(sheet.columns)
        if column.shown
    ]
