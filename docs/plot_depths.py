"""Draw the time of a tile, and its bound, over the depth: one line per batch.

    python docs/plot_depths.py FOLDER PICTURE.png

FOLDER is that of a sweep over depth and batch, or any folder that contains such runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot

MARKERS = "osD^v"


def read(folder: Path) -> list[dict[str, Any]]:
    """Records of right runs below a folder, without MLflow's copies."""
    paths = (path for path in folder.rglob("record.json") if "artifacts" not in path.parts)
    records = [json.loads(path.read_text()) for path in sorted(paths)]
    return [record for record in records if record["verdict"] == "OK"]


def draw(records: list[dict[str, Any]], picture: Path) -> None:
    """Write the picture as PNG."""
    figure, axes = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
    for index, batch in enumerate(sorted({record["knobs"]["batch"] for record in records})):
        points = {
            record["knobs"]["depth"]: record["metrics"]
            for record in records
            if record["knobs"]["batch"] == batch
        }
        depths, colour = sorted(points), f"C{index}"
        times = [points[depth]["time/tile_ms"] for depth in depths]
        bounds = [points[depth]["time/tile_ms"] / points[depth]["bound/ratio"] for depth in depths]
        style = {"color": colour, "marker": MARKERS[index % len(MARKERS)]}
        axes.plot(depths, times, **style, label=f"batch {batch}: measured")
        axes.plot(depths, bounds, color=colour, linestyle=":", label=f"batch {batch}: bound")
        axes.set_xticks(depths)
    axes.set_xlabel("depth: submissions in flight")
    axes.set_ylabel("ms per tile")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=100, metadata={"Software": None})


def main() -> None:
    """Draw the records below the first argument into the second."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    records = read(Path(sys.argv[1]))
    if not records:
        sys.exit(f"{sys.argv[1]}: no runs with the verdict OK; give the folder of a sweep")
    draw(records, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
