"""The pictures for the docs: the figures beside their goals, and the curves of growth; one for light pages, one for dark.

They are drawn by matplotlib, which only who measures needs. The same data make the same file, byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from .contenders import (
    ANYIO,
    ANYIO_ON_TRIO,
    FACET,
    MODE,
    ON_ASYNCIO,
    ON_TRIO,
    ON_UVLOOP,
    Contender,
    contender,
)
from .figures import Costs
from .growth import PANELS
from .model import Row
from .rows import ROWS
from .table import Measured, figure_of


class Theme(NamedTuple):
    """The colours of a page.

    Attributes:
        name: Of the file's end.
        ink: Of text and axes.
        faint: Of lines that help to read.
    """

    name: str
    ink: str
    faint: str


THEMES = (Theme("light", "#1f2328", "#d0d7de"), Theme("dark", "#e6edf3", "#3d444d"))


class Look(NamedTuple):
    """How a contender is drawn: in a colour that is told from the others on light and on dark, and with a mark of its own."""

    colour: str
    mark: str


LOOKS: Mapping[Contender, Look] = {
    MODE: Look("#8c959f", "s"),
    FACET: Look("#bf8700", "D"),
    ANYIO: Look("#54aeff", "v"),
    ANYIO_ON_TRIO: Look("#c297ff", "^"),
    ON_ASYNCIO: Look("#2da44e", "o"),
    ON_UVLOOP: Look("#e16f24", "P"),
    ON_TRIO: Look("#d4477f", "X"),
}


def draw(results: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write the pictures of what was measured into a directory; return their paths."""
    pictures: list[tuple[str, Callable[[Mapping[str, Any], Theme], Any]]] = []
    if any(_compared(row, results["rows"]) for row in ROWS):
        pictures.append(("benchmarks", figures_picture))
    if results.get("growth"):
        pictures.append(("growth", growth_picture))
    return [
        _save(picture(results, theme), directory / f"{name}-{theme.name}.svg")
        for name, picture in pictures
        for theme in THEMES
    ]


def _compared(row: Row, measured: Mapping[str, Measured]) -> bool:
    return row.kind in {"times", "share"} and any(measured.get(row.name, {}).get(MODE.name, ()))


def figures_picture(results: Mapping[str, Any], theme: Theme) -> Any:
    """Draw how many times as fast as mode each is, and where structmode's goal is."""
    measured: Mapping[str, Measured] = results["rows"]
    rows = [row for row in ROWS if _compared(row, measured)]
    figure, axes = _sheet(theme, 1, (9.0, 1.2 + 0.36 * len(rows)))
    (axis,) = axes
    for place, row in enumerate(rows):
        _draw_row(axis, place, row, measured[row.name], theme)
    axis.set_xscale("log")
    axis.set_yticks(range(len(rows)), [_plain(row.work) for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.axvline(1, color=theme.ink, linewidth=1)
    axis.grid(axis="x", color=theme.faint, linewidth=0.6)
    axis.xaxis.set_major_formatter("{x:g}")
    figure.suptitle(
        "times as fast as mode, or as frugal: more is better; a bar is structmode's goal on asyncio",
        color=theme.ink,
        fontsize=9,
    )
    _legend(figure, axis, theme)
    return figure


def _draw_row(axis: Any, place: int, row: Row, costs: Measured, theme: Theme) -> None:
    for who, look in LOOKS.items():
        spread = figure_of(row, who, costs)
        if spread is None or who is MODE or spread.median <= 0:
            continue
        middle = 1 / spread.median if row.kind == "share" else spread.median
        axis.plot([middle], [place], look.mark, color=look.colour, label=who.name, markersize=6)
    for goal in row.goals:
        if goal.contender is ON_ASYNCIO and goal.against is MODE:
            bound = 1 / goal.bound if row.kind == "share" else goal.bound
            axis.plot([bound, bound], [place - 0.35, place + 0.35], color=theme.ink, linewidth=2)


def growth_picture(results: Mapping[str, Any], theme: Theme) -> Any:
    """Draw what one costs as there are more of them."""
    panels = [panel for panel in PANELS if panel.name in results["growth"]]
    figure, axes = _sheet(theme, len(panels), (9.0, 6.5))
    for axis, panel in zip(axes, panels, strict=True):
        for name, costs in results["growth"][panel.name].items():
            _draw_curve(axis, name, panel.sizes, costs)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(panel.title, color=theme.ink, fontsize=10)
        axis.grid(color=theme.faint, linewidth=0.6)
    figure.supylabel("seconds, each", color=theme.ink, fontsize=10)
    _legend(figure, axes[0], theme)
    return figure


def _draw_curve(axis: Any, name: str, sizes: Sequence[int], costs: Costs) -> None:
    points = [
        (size, cost)
        for size, cost in zip(sizes, costs, strict=False)
        if cost is not None and cost > 0
    ]
    look = LOOKS[contender(name)]
    axis.plot(
        [size for size, _ in points],
        [cost for _, cost in points],
        marker=look.mark,
        color=look.colour,
        label=name,
        linewidth=1.5,
        markersize=5,
    )


def _plain(work: str) -> str:
    return work.replace("`", "")


def _sheet(theme: Theme, panels: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    """Return an empty figure, and its axes."""
    figure = import_module("matplotlib.figure").Figure(figsize=size, layout="constrained")
    columns = min(2, panels)
    axes = figure.subplots(-(-panels // columns), columns, squeeze=False).flatten().tolist()
    for unused in axes[panels:]:
        unused.set_axis_off()
    for axis in axes:
        axis.set_facecolor("none")
        axis.tick_params(colors=theme.ink, which="both", labelsize=9)
        for spine in axis.spines.values():
            spine.set_color(theme.faint)
        axis.xaxis.label.set_color(theme.ink)
    return figure, axes[:panels]


def _legend(figure: Any, axis: Any, theme: Theme) -> None:
    known = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    labels = [who.name for who in LOOKS if who.name in known]
    figure.legend(
        [known[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=4,
        frameon=False,
        labelcolor=theme.ink,
        fontsize=9,
    )


def _save(figure: Any, path: Path) -> Path:
    settings = {"svg.hashsalt": "structmode", "svg.fonttype": "none"}
    with import_module("matplotlib").rc_context(settings):
        figure.savefig(
            path, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    return path
