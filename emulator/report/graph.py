"""Draws a cluster's networks as a graph, in Mermaid's language or in DOT, Graphviz' language.

Pure. Machines, links and addresses are those of the planned operations; Services and their endpoints are the
cluster's. Invariants: identifiers are ours alone; each label is quoted and escaped as its language asks, so
that no name of a manifest is read as anything but text. DOT needs one escape function: for that the package
graphviz would be a dependency too many.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..cluster.state import BALANCER, ROUTER, SWITCH, ClusterState, pod_netns
from ..errors import printable
from ..objects.kinds import Service
from ..plan.operations import AddAddress, AddBridge, AddVeth, Operation
from .describe import describe_services

BoxKind = Literal["node", "pod", "switch", "router", "balancer", "outside", "service"]

# GitHub draws no diagram beyond these (maxEdges and maxTextSize of Mermaid's configuration)
MOST_LINKS, MOST_TEXT = 500, 50_000


@dataclass(frozen=True, slots=True)
class Box:
    """Describes a machine or a Service. ``lines`` are its label, ``group`` is the node that it belongs to
    ("": none).
    """

    id: str
    kind: BoxKind
    lines: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """Describes a link between two boxes by their ``id``; ``serves``: it leads from a Service to an
    endpoint.
    """

    a: str
    b: str
    serves: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """Holds a drawing: ``groups`` maps a group's name to its label."""

    title: str
    groups: Mapping[str, str]
    boxes: tuple[Box, ...]
    links: tuple[Link, ...]


def draw(state: ClusterState, operations: Iterable[Operation]) -> Graph:
    """Returns the graph of ``state``, whose networks ``operations`` make."""
    operations = list(operations)
    interfaces = _interfaces(operations)
    machines: list[tuple[str, BoxKind, str, str]] = [
        *((client.name, "outside", client.name, "") for client in state.clients),
        (ROUTER, "router", ROUTER, ""),
        *(((BALANCER, "balancer", "load balancer", ""),) if state.balancerIP else ()),
        (SWITCH, "switch", f"host network {state.hostSubnet}", ""),
    ]
    sharing = []  # places of Pods that have no network of their own, and their nodes
    for node in state.nodes:
        machines.append((node.name, "node", f"Node {node.name}", node.name))
        for pod in state.pods_on[node.name]:
            if pod.spec.hostNetwork:
                sharing.append((node.name, len(machines)))
            machines.append(
                ("" if pod.spec.hostNetwork else pod_netns(pod), "pod", f"Pod {pod.key}", node.name)
            )
    boxes = [
        Box(
            f"m{number}",
            kind,
            (title, *interfaces.get(netns, ())) if netns else (title, "hostNetwork"),
            group,
        )
        for number, (netns, kind, title, group) in enumerate(machines, 1)
    ]
    ids = {netns: box.id for (netns, *_), box in zip(machines, boxes, strict=True) if netns}
    rank = {box.id: number for number, box in enumerate(boxes)}
    links = [
        Link(
            min(ids[op.netns], ids[op.peer_netns], key=rank.__getitem__),
            max(ids[op.netns], ids[op.peer_netns], key=rank.__getitem__),
        )
        for op in operations
        if isinstance(op, AddVeth) and op.netns in ids and op.peer_netns in ids
    ]
    links += [Link(ids[node], boxes[place].id) for node, place in sharing]
    of_address: dict[str, str] = {
        op.address.address: ids[op.netns]
        for op in operations
        if isinstance(op, AddAddress) and op.netns in ids
    }
    for number, (service, row) in enumerate(zip(state.services, describe_services(state), strict=True), 1):
        here, elsewhere = _endpoints(state, service, of_address)
        lines = [
            f"Service {row.name}",
            f"{row.type} {row.address}",
            *([" ".join(map(str, row.ports))] if row.ports else []),
            *(f"external {ip}" for ip in row.external),
            *(f"endpoint {ip}" for ip in elsewhere),
        ]
        boxes.append(Box(f"s{number}", "service", tuple(lines)))
        links += [Link(f"s{number}", box, serves=True) for box in here]
    groups = {node.name: f"podCIDR {state.podCIDR(node.name)}" for node in state.nodes}
    return Graph(state.name, groups, tuple(boxes), tuple(links))


def _interfaces(operations: Iterable[Operation]) -> Mapping[str, Sequence[str]]:
    """Returns, by network namespace, a line for each interface that has an address or is a bridge."""
    found: dict[str, dict[str, list[str]]] = {}
    for op in operations:
        if isinstance(op, AddBridge):
            found.setdefault(op.netns, {}).setdefault(op.name, [])
        elif isinstance(op, AddAddress):
            found.setdefault(op.netns, {}).setdefault(op.dev, []).append(str(op.address))
    return {
        netns: [" ".join([device, *addresses]) for device, addresses in devices.items()]
        for netns, devices in found.items()
    }


def _endpoints(
    state: ClusterState, service: Service, of_address: Mapping[str, str]
) -> tuple[Sequence[str], Sequence[str]]:
    """Returns the boxes with endpoints of ``service``, and the endpoints that no machine has."""
    addresses = [
        ip
        for item in state.slices_of.get(service.key, ())
        for endpoint in item.endpoints
        for ip in endpoint.addresses
    ]
    here = dict.fromkeys(of_address[ip] for ip in addresses if ip in of_address)
    return list(here), list(dict.fromkeys(ip for ip in addresses if ip not in of_address))


# --- Mermaid ----------------------------------------------------------------------------------------------

_SHAPES: Mapping[BoxKind, tuple[str, str]] = {
    "node": ("[", "]"),
    "pod": ("(", ")"),
    "switch": ("[[", "]]"),
    "router": ("{{", "}}"),
    "balancer": ("{{", "}}"),
    "outside": ("([", "])"),
    "service": ("[/", "/]"),
}
# Everything that has a meaning inside a label for Mermaid, Markdown or HTML. A dot and a dash have one where
# they could begin a list.
_MERMAID = re.compile(r"[^A-Za-z0-9 .,:/()_-]|^-|\.(?= )|(?<= )-(?= )")


def render_mermaid(graph: Graph) -> str:
    """Returns ``graph`` in Mermaid's language (a flowchart)."""
    lines = ["---", f"title: {_yaml(graph.title)}", "---", "flowchart TB"]
    for name, members in _by_group(graph):
        indent = "  "
        if name:
            lines.append(f'  subgraph in_{members[0].id}["{_mermaid(graph.groups[name])}"]')
            indent = "    "
        for box in members:
            start, end = _SHAPES[box.kind]
            label = "<br/>".join(map(_mermaid, box.lines))
            lines.append(f'{indent}{box.id}{start}"{label}"{end}')
        if name:
            lines.append("  end")
    lines += [f"  {link.a} {'-.->' if link.serves else '---'} {link.b}" for link in graph.links]
    return "\n".join(lines) + "\n"


def _yaml(text: str) -> str:
    """Returns ``text`` as a string of YAML; a backtick could end the block of Markdown around it."""
    return json.dumps(printable(text), ensure_ascii=False).replace("`", " ")


def _mermaid(text: str) -> str:
    return _MERMAID.sub(lambda match: f"#{ord(match[0])};", printable(text))


def too_large_for_github(graph: Graph, text: str) -> bool:
    """Returns whether GitHub refuses to draw ``text``, the Mermaid of ``graph``."""
    return len(graph.links) > MOST_LINKS or len(text) > MOST_TEXT


# --- DOT --------------------------------------------------------------------------------------------------

_DOT_SHAPES: Mapping[BoxKind, str] = {
    "node": 'shape=box style="bold"',
    "pod": 'shape=box style="rounded"',
    "switch": "shape=box3d",
    "router": "shape=hexagon",
    "balancer": "shape=hexagon",
    "outside": 'shape=box style="rounded,dashed"',
    "service": 'shape=box style="filled" fillcolor="#eeeeee"',
}


def render_dot(graph: Graph) -> str:
    """Returns ``graph`` in DOT."""
    lines = [
        f"digraph {_dot(graph.title)} {{",
        f'  graph [label={_dot(graph.title)} labelloc=t rankdir=TB fontname="sans-serif"]',
        '  node [fontname="sans-serif" fontsize=11]',
        "  edge [dir=none]",
    ]
    for name, members in _by_group(graph):
        indent = "  "
        if name:
            lines += [
                f'  subgraph "cluster_{members[0].id}" {{',
                f'    label={_dot(graph.groups[name])} style="dashed"',
            ]
            indent = "    "
        lines += [f"{indent}{box.id} [label={_dot(*box.lines)} {_DOT_SHAPES[box.kind]}]" for box in members]
        if name:
            lines.append("  }")
    lines += [
        f"  {link.a} -> {link.b}" + (' [dir=forward style="dashed"]' if link.serves else "")
        for link in graph.links
    ]
    return "\n".join(lines) + "\n}\n"


def _dot(*lines: str) -> str:
    r"""Returns a quoted string of ``lines``. Its label is the text: \N and HTML's entities would be read."""
    escaped = (
        printable(line).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') for line in lines
    )
    return '"' + "\\n".join(escaped) + '"'


def _by_group(graph: Graph) -> Iterator[tuple[str, Sequence[Box]]]:
    """Yields the boxes without a group ("") that are no Services, then those of each group, then the
    Services.
    """
    yield "", [box for box in graph.boxes if not box.group and box.kind != "service"]
    for name in graph.groups:
        yield name, [box for box in graph.boxes if box.group == name]
    yield "", [box for box in graph.boxes if box.kind == "service"]
