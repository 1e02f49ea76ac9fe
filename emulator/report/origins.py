"""Prints the rules of nodes and balancer with their origins: the command that makes each, and behind it the
object and the field that caused it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..cluster.state import ClusterState
from ..errors import printable
from ..hostnet.balancer import explain_balancer
from ..plan.origins import Explained
from ..podnet import explain_podnet
from ..proxy import explain_rules


def render_origins(state: ClusterState) -> str:
    """Returns the rules of every node, kube-proxy's and then the Pod network's, and of the balancer, a line
    each. A rule that every cluster has names no origin.
    """
    return "\n".join(_lines(state))


def _lines(state: ClusterState) -> Iterator[str]:
    yield f"# The rules of {printable(state.name)} in {state.proxy.mode} mode, each with its origin"
    for node in state.nodes:
        yield from ("", f"# Node {node.name}", "# kube-proxy")
        yield from map(_line, explain_rules(state, node.name))
        yield f"# the Pod network {state.podNetwork.name}"
        yield from map(_line, explain_podnet(state, node.name))
    if state.balancerIP:
        yield from ("", "# The balancer in the path")
        yield from map(_line, explain_balancer(state))


def _line(rule: Explained) -> str:
    return printable(f"{rule.command}  # {rule.origin}" if rule.origin else rule.command)
