"""Prints a cluster's networks as a graph. Nothing is built. May start one process, Graphviz' ``dot``, which
gets its input on a pipe, no shell, and a time limit.
"""

from __future__ import annotations

import subprocess
from typing import Literal

from ..cluster.state import ClusterState
from ..errors import MissingCapabilityError, UsageError
from ..report.graph import MOST_LINKS, MOST_TEXT, draw, render_dot, render_mermaid, too_large_for_github
from ..report.output import complain
from ..schedule.planner import plan_networks

GraphFormat = Literal["mermaid", "dot", "svg"]
TIME_LIMIT = 60.0  # seconds
_SIMPLER = "name fewer manifests, or take -o dot and draw it with sfdp"


def render_graph(state: ClusterState, output: GraphFormat) -> str:
    """Returns the picture of ``state``. Warns on standard error if GitHub would not draw it."""
    graph = draw(state, plan_networks(state))
    if output == "mermaid":
        text = render_mermaid(graph)
        if too_large_for_github(graph, text):
            complain(
                f"GitHub draws no Mermaid with more than {MOST_LINKS} links or {MOST_TEXT:,} "
                f"characters, and this has {len(graph.links)} and {len(text):,}: {_SIMPLER}"
            )
        return text
    dot = render_dot(graph)
    return _lay_out(dot) if output == "svg" else dot


def _lay_out(dot: str) -> str:
    try:
        done = subprocess.run(
            ["dot", "-Tsvg"], input=dot.encode(), capture_output=True, timeout=TIME_LIMIT, check=False
        )
    except FileNotFoundError:
        raise MissingCapabilityError(
            "dot", "install the Debian package graphviz, or take -o mermaid or -o dot"
        ) from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"dot has no picture after {TIME_LIMIT:.0f} s: {_SIMPLER}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise UsageError(f"dot makes no picture of it: {said or f'exit code {done.returncode}'}")
    return done.stdout.decode()
