"""Draws figures as SVG. The only module that imports matplotlib, which ordinary use and the tests do without.

The same figures give the same bytes: no date, no random identifiers. Text stays text. Each picture has a
ground of its own, and both change together where the viewer prefers dark, so that it can be read on any page.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmark.figures import Figure
from benchmark.throughput import PLACES

INK, PAPER, GRID = "#1f2328", "#fffffe", "#d0d7de"
DARK = {INK: "#e6edf3", PAPER: "#0d1117", GRID: "#30363d"}
COLOURS = {"iptables": "#c9661a", "nftables": "#2f81f7", "ipvs": "#2da44e", "userspace": "#a371f7"}
DASHES = {"last": "-", "middle": "--", "first": ":"}
STYLE: Mapping[Any, Any] = {
    "svg.hashsalt": "podwire",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "figure.facecolor": PAPER,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def draw_first_packets(figures: Sequence[Figure]) -> str:
    """Returns a chart by the number of Services: the medians of each mode's first, middle and last Service,
    and beside them the last one's 99th percentile.
    """
    packets = [f for f in figures if f.name.startswith("first packet")]
    by_place = {(f.mode, f.case, f.services): f for f in packets}
    sizes, modes = sorted({f.services for f in packets}), list(dict.fromkeys(f.mode for f in packets))

    def draw(canvas: Canvas) -> None:
        medians, tails = canvas.subplots(1, 2, sharey=True)
        for mode in modes:
            colour = COLOURS[mode.split()[0]]
            last = [f for f in packets if (f.mode, f.case) == (mode, "last")]
            its_sizes = [f.services for f in last]
            for case, dashes in DASHES.items():
                values = [by_place[mode, case, size].value for size in its_sizes]
                medians.plot(its_sizes, values, dashes, color=colour, marker="o", ms=3)
            tails.plot(its_sizes, [f.p99 for f in last], color=colour, marker="o", ms=3, label=mode)
        for axes, title in ((medians, "median"), (tails, "99th percentile, last Service")):
            axes.set_title(title, loc="left", fontsize=10)
            axes.set(xscale="log", yscale="log", xlabel="Services in the cluster")
            axes.set_xticks(sizes, [f"{size / 1000:g}k" if size >= 1000 else str(size) for size in sizes])
            axes.xaxis.set_minor_locator(NullLocator())
        medians.legend(
            fontsize=8,
            loc="best",
            handles=[Line2D([], [], color=INK, ls=d, label=f"{c} Service") for c, d in DASHES.items()],
        )
        canvas.legend(
            *tails.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=len(modes)
        )
        medians.set_ylabel("µs from Pod to Pod")
        medians.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        medians.yaxis.set_minor_locator(NullLocator())
        medians.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))

    most = {f.mode: f for f in packets if f.case == "last"}  # in the order of their sizes
    said = "; ".join(
        f"{mode} {f.value:.0f} µs at {f.services:,} Services, p99 {f.p99:.0f}" for mode, f in most.items()
    )
    return _svg(draw, "The first packet through a ClusterIP", f"Median of the last Service's: {said}.")


def draw_throughput(figures: Sequence[Figure]) -> str:
    """Returns a chart of Gbit/s: through a ClusterIP, and pale beside it straight to the Pod."""
    streams = [f for f in figures if f.case in PLACES.values()]

    def draw(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for row, f in enumerate(reversed(streams)):
            colour = COLOURS[f.mode.split()[0]]
            straight = axes.barh(row + 0.2, f.reference or 0, 0.36, color=colour, alpha=0.45)
            service = axes.barh(row - 0.2, f.value, 0.36, color=colour)
            axes.bar_label(straight, ["Pod to Pod"], padding=4, fontsize=8)
            axes.bar_label(service, [f"ClusterIP, {f.ratio:.2f} x"], padding=4, fontsize=8)
        axes.set_yticks(range(len(streams)), [f"{f.mode}, {f.case}" for f in reversed(streams)])
        axes.set(
            xlabel="Gbit/s, one TCP stream of iperf3",
            xlim=(0, 1.25 * max(max(f.value, f.reference or 0) for f in streams)),
        )
        axes.grid(visible=False, axis="y")

    said = "; ".join(f"{f.mode} {f.case} {f.value:.1f} of {f.reference:.1f} Gbit/s" for f in streams)
    return _svg(draw, "Throughput through a ClusterIP, and straight to the Pod", f"{said}.")


def _svg(draw: Callable[[Canvas], None], title: str, description: str) -> str:
    with mpl.rc_context(dict(STYLE)):
        canvas = Canvas(figsize=(7.2, 3.8), layout="constrained")
        canvas.suptitle(title, fontsize=11, fontweight="bold")
        draw(canvas)
        file = io.StringIO()
        canvas.savefig(
            file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _accessible(file.getvalue(), title, description)


def _accessible(svg: str, title: str, description: str) -> str:
    """Returns ``svg`` from its root element on, with a name, a description, and colours for a dark page."""
    dark = "".join(
        f'[style*="{name}: {light}"]{{{name}:{deep}!important}}'
        for light, deep in DARK.items()
        for name in ("fill", "stroke")
    )
    head, _, rest = svg[svg.index("<svg ") :].partition(">")
    about = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return f'{head} role="img">{about}<style>@media (prefers-color-scheme:dark){{{dark}}}</style>{rest}'
