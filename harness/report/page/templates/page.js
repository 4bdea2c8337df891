"use strict";
// Draws the charts, in the colours of the page; sorts tables; opens the run that a link names.

const charts = JSON.parse(document.getElementById("charts").textContent);
const MOST_BARS = 3000; // An SVG with more bars is slow to draw.
const FIRST_BARS = 600;
const MOST_OUTLINED = 300;
const PAPER_PX = 680;
const EDGE = 0.01; // Of a view, beyond its bars.
const NS_PER_MS = 1e6;
const CONFIG = {
  responsive: true,
  displaylogo: false,
  // By name, so that no later version adds one that sends the chart to a server.
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
};

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Black is the colour of the text: white on a dark page.
function visible(fill) {
  return fill === "#000000" ? colour("text") : fill;
}

function layoutOf(own) {
  const axis = {
    gridcolor: colour("grid"),
    linecolor: colour("line"),
    zerolinecolor: colour("grid"),
    automargin: true,
    exponentformat: "none",
  };
  const shapes = (own.shapes || []).map((each) =>
    each.type === "rect"
      ? { ...each, fillcolor: colour("grid"), line: { width: 0 }, layer: "below" }
      : { ...each, line: { color: colour("faint"), width: 1.5, ...each.line } });
  const onPaper = document.documentElement.classList.contains("paper");
  return {
    width: onPaper ? PAPER_PX : undefined,
    margin: { l: 60, r: 20, t: 44, b: 58 },
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
    showlegend: true,
    hovermode: "closest",
    ...own,
    shapes,
    paper_bgcolor: colour("back"),
    plot_bgcolor: colour("plot"),
    font: { color: colour("text"), family: "system-ui, sans-serif", size: 13 },
    hoverlabel: {
      bgcolor: colour("panel"),
      bordercolor: colour("line"),
      font: { color: colour("text") },
    },
    modebar: { color: colour("faint"), activecolor: colour("text"), bgcolor: "rgba(0,0,0,0)" },
    xaxis: { ...axis, ...own.xaxis },
    yaxis: { ...axis, ...own.yaxis },
  };
}

// The bars that overlap a part of the pass, at most MOST_BARS of them, and how many there are.
function inView(spans, fromNs, toNs) {
  const places = spans.gaps.slice();
  let count = places.length;
  for (let place = 0; place < spans.begin.length; place += 1) {
    const begin = spans.begin[place];
    const overlaps = begin <= toNs && begin + spans.length[place] >= fromNs;
    if (overlaps && !spans.gaps.includes(place)) {
      count += 1;
      if (count <= MOST_BARS) places.push(place);
    }
  }
  return { places, count };
}

function times(beginNs, lengthNs) {
  const [begin, length] = [beginNs, lengthNs].map((each) => (each / NS_PER_MS).toFixed(6));
  return `begins at ${begin} ms<br>takes ${length} ms`;
}

function hoverOf(spans, place) {
  const [first, count] = [spans.tile[place], spans.tiles[place]];
  const tiles = count > 1 ? `tiles ${first} to ${first + count - 1}` : `tile ${first}`;
  const kernel = spans.kernels[spans.kernel[place]];
  const stage = spans.stages[spans.stage[place]][0];
  const text = times(spans.begin[place], spans.length[place]);
  return `<b>${stage}</b>, ${tiles}${kernel ? `, ${kernel}` : ""}<br>${text}`;
}

function bars(name, fill, base, length, tracks, hover, outline) {
  return {
    type: "bar",
    orientation: "h",
    name,
    base: base.map((each) => each / NS_PER_MS),
    x: length.map((each) => each / NS_PER_MS),
    y: tracks,
    width: 0.8,
    hovertext: hover,
    hoverinfo: "text",
    textposition: "none",
    marker: { color: visible(fill), line: { color: colour("faint"), width: outline } },
  };
}

function timelineData(spans, places) {
  // Outlines of many narrow bars would hide their colours.
  const outline = places.length > MOST_OUTLINED ? 0 : 0.5;
  const data = spans.stages.map(([stage, fill], number) => {
    const own = places.filter((place) => spans.stage[place] === number);
    const pick = (values) => own.map((place) => values[place]);
    const hover = own.map((place) => hoverOf(spans, place));
    const [begin, length, track] = [spans.begin, spans.length, spans.track].map(pick);
    return bars(stage, fill, begin, length, track, hover, outline);
  });
  const stalls = spans.stalls.slice(0, MOST_BARS);
  if (stalls.length) {
    const lengths = stalls.map(([, begin, end]) => end - begin);
    const hover = stalls.map(([, begin, end, cause]) =>
      `<b>stall</b>${cause ? `: ${cause}` : ""}<br>${times(begin, end - begin)}`);
    const stall = bars("stall", spans.stallColour, stalls.map((each) => each[1]), lengths,
      stalls.map((each) => each[0]), hover, 0.5);
    const lines = { shape: "/", fgcolor: spans.stallColour, bgcolor: colour("plot"), size: 6 };
    stall.marker.pattern = lines;
    data.push(stall);
  }
  return data;
}

class Timeline {
  constructor(element, spans) {
    this.element = element;
    this.spans = spans;
    const last = spans.begin.length - 1;
    const ends = spans.begin.map((each, place) => each + spans.length[place]);
    this.end = ends.reduce((most, each) => Math.max(most, each), 0);
    this.views = [["whole pass", 0, this.end]];
    if (last >= MOST_BARS) {
      this.views.push(["first tiles", 0, spans.begin[FIRST_BARS]]);
      for (const gap of spans.gaps) {
        const begin = spans.begin[gap] + spans.length[gap];
        const first = spans.begin.findIndex((each) => each >= begin);
        if (first >= 0) {
          const end = spans.begin[Math.min(first + FIRST_BARS, last)];
          this.views.push(["slowest tiles", begin, end]);
        }
      }
    }
    this.range = this.views[Math.min(1, this.views.length - 1)].slice(1);
    this.addButtons();
  }

  addButtons() {
    const place = document.querySelector(`.views[data-for="${this.element.id}"]`);
    if (this.views.length > 1) {
      for (const [name, from, to] of this.views) {
        const button = document.createElement("button");
        button.textContent = name;
        button.onclick = () => this.show([from, to]);
        place.append(button);
      }
    }
    this.note = document.createElement("span");
    place.append(this.note);
  }

  show(range) {
    this.range = range;
    return this.draw();
  }

  async draw() {
    const [from, to] = this.range;
    const { places, count } = inView(this.spans, from, to);
    const [most, all] = [MOST_BARS, count].map((each) => each.toLocaleString("en"));
    const note = `This view has the first ${most} of its ${all} bars; zoom in to see the others.`;
    this.note.textContent = count > MOST_BARS ? note : "";
    const edge = (to - from) * EDGE;
    const layout = layoutOf({
      barmode: "overlay",
      dragmode: "zoom",
      xaxis: {
        title: { text: "ms since the begin of the pass" },
        range: [(from - edge) / NS_PER_MS, (to + edge) / NS_PER_MS],
        separatethousands: true,
      },
      yaxis: {
        tickvals: this.spans.tracks.map((_, place) => place),
        ticktext: this.spans.tracks,
        range: [this.spans.tracks.length - 0.4, -0.6],
        fixedrange: true,
        showgrid: false,
        zeroline: false,
      },
    });
    await Plotly.react(this.element, timelineData(this.spans, places), layout, CONFIG);
    if (!this.listens) {
      this.listens = true;
      this.element.on("plotly_relayout", (change) => this.zoomed(change));
    }
  }

  zoomed(change) {
    if (!Object.keys(change).some((key) => key.startsWith("xaxis."))) return;
    const [low, high] = this.element.layout.xaxis.range.map((each) => each * NS_PER_MS);
    const edge = (high - low) * EDGE / (1 + 2 * EDGE);
    this.range = [low + edge, high - edge];
    // Fewer bars than the limit are all drawn: a part of the pass needs no others.
    if (this.spans.begin.length > MOST_BARS) this.draw();
  }
}

class Chart {
  constructor(element, content) {
    this.element = element;
    this.content = content;
  }

  draw() {
    const data = this.content.data.map((each) => ({
      ...each,
      marker: {
        ...each.marker,
        color: visible(each.marker.color),
        line: { color: colour("text"), width: each.marker.symbol.endsWith("-open") ? 2 : 1 },
      },
      ...(each.line ? { line: { ...each.line, color: visible(each.line.color) } } : {}),
    }));
    return Plotly.react(this.element, data, layoutOf(this.content.layout), CONFIG);
  }
}

const drawn = [...document.querySelectorAll(".chart")].map((element) => {
  const content = charts[element.id];
  return content.spans ? new Timeline(element, content.spans) : new Chart(element, content);
});

async function drawAll() {
  const state = document.documentElement.dataset;
  state.drawn = "no";
  await Promise.all(drawn.map((each) => each.draw()));
  state.drawn = "yes";
}

function sortBy(heading) {
  const place = [...heading.parentNode.children].indexOf(heading);
  const body = heading.closest("table").tBodies[0];
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const each of heading.parentNode.children) each.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  // Texts with numbers of their own, such as "depth 10", go by these; cells without a value last.
  const order = (a, b) => {
    const [one, other] = [a, b].map((row) => row.cells[place]);
    const [first, second] = [one, other].map((cell) => cell.dataset.value);
    if (first !== undefined && second !== undefined) return first - second;
    if (first !== undefined || second !== undefined) return first !== undefined ? -1 : 1;
    return one.textContent.localeCompare(other.textContent, "en", { numeric: true });
  };
  const rows = [...body.rows].sort((a, b) => (down ? -1 : 1) * order(a, b));
  body.append(...rows);
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}

for (const heading of document.querySelectorAll(".sortable th")) {
  heading.tabIndex = 0;
  heading.onclick = () => sortBy(heading);
  heading.onkeydown = (event) => { if (event.key === "Enter") sortBy(heading); };
}
window.addEventListener("hashchange", openTarget);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
// Paper is white.
for (const [event, onPaper] of [["beforeprint", true], ["afterprint", false]]) {
  window.addEventListener(event, () => {
    document.documentElement.classList.toggle("paper", onPaper);
    drawAll();
  });
}
drawAll().then(openTarget);
