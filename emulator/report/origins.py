"""Prints kube-proxy's rules with their origins: the command that makes each, and behind it the object and the
field that caused it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..cluster.state import ClusterState
from ..errors import printable
from ..proxy import explain_rules


def render_origins(state: ClusterState) -> str:
    """Returns the rules of every node, a line each. A rule that every cluster has names no origin."""
    return "\n".join(_lines(state))


def _lines(state: ClusterState) -> Iterator[str]:
    yield f"# kube-proxy's rules of {printable(state.name)} in {state.proxy.mode} mode, each with its origin"
    for node in state.nodes:
        yield ""
        yield f"# Node {node.name}"
        for command, origin in explain_rules(state, node.name):
            yield printable(f"{command}  # {origin}" if origin else command)
