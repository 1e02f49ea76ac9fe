"""Tests graphs: what is in them, and that no text of a manifest is read as the drawing's language."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState
from emulator.controllers.settle import settle
from emulator.errors import printable
from emulator.load.load import load
from emulator.report.graph import (
    Box,
    Graph,
    Link,
    draw,
    render_dot,
    render_mermaid,
    too_large_for_github,
)
from emulator.schedule.planner import plan_networks

ROOT = Path(__file__).parents[3]
TOPOLOGIES = ROOT / "topologies"
HOSTILE = [
    'a"]; click m1 "javascript:alert(1)" --> b["',
    "</text><script>alert(1)</script>",
    "&lt;b&gt; &#34; #quot; #34;",
    "end\n  m1 --- m2\n%%{init: {}}%%",
    "\\N \\G \\",
    "`code` **bold** ---",
    "1. a list",
    "- a list",
    "\x1b[31m\x00\ud800",
]
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30))
lines = st.lists(texts, min_size=1, max_size=3).map(tuple)


def graph_of(*targets: str) -> Graph:
    state: ClusterState = settle(load(targets, topologies=TOPOLOGIES))
    return draw(state, plan_networks(state))


def hostile(title: str, labels: list[tuple[str, ...]]) -> Graph:
    boxes = [
        Box(f"m{number}", "service" if number % 2 else "node", label, "" if number % 2 else "a")
        for number, label in enumerate(labels)
    ]
    group = {"a": labels[0][0]} if any(box.group for box in boxes) else {}
    return Graph(title, group, tuple(boxes), (Link("m0", "m0", serves=True),))


@pytest.fixture(scope="module")
def default() -> Graph:
    return graph_of("three-networks")


def test_the_default_topology_is_drawn_as_it_was(default: Graph, golden: Callable[[str, str], None]) -> None:
    golden("graph.mermaid", render_mermaid(default))
    golden("graph.dot", render_dot(default))


def test_the_readme_shows_that_picture(default: Graph) -> None:
    assert f"```mermaid\n{render_mermaid(default)}```\n" in (ROOT / "README.md").read_text()


def test_machines_are_linked_as_the_plan_links_them(default: Graph) -> None:
    names = {box.id: box.lines[0] for box in default.boxes}
    wires = {(names[link.a], names[link.b]) for link in default.links if not link.serves}
    switch = "host network 172.18.0.0/16"
    assert wires >= {
        ("client-1", "router"),
        ("router", switch),
        (switch, "Node worker-1"),
        ("Node worker-1", "Pod default/client-a"),
    }
    served = {(names[link.a], names[link.b]) for link in default.links if link.serves}
    assert ("Service default/kubernetes", "Node control-plane") in served
    assert len(served) == 7


def test_addresses_stand_at_their_interfaces(default: Graph) -> None:
    label = {box.lines[0]: box.lines[1:] for box in default.boxes}
    assert label["Node worker-1"] == ("eth0 172.18.0.3/16", "cbr0 10.244.1.1/24")
    assert label["Pod default/client-a"] == ("eth0 10.244.1.2/24",)
    assert label["Service default/web-cluster"] == ("NodePort 10.96.1.1", "80:30080/TCP")


def test_endpoints_that_no_machine_has_are_named(tmp_path: Path) -> None:
    manifest = tmp_path / "a.yaml"
    manifest.write_text("""
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {type: ExternalName, externalName: db.example.com}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: "", port: 5432, protocol: TCP}]
endpoints: [{addresses: [192.0.2.9]}]
""")
    label = {box.lines[0]: box.lines[1:] for box in graph_of(str(manifest)).boxes}
    assert label["Service default/db"][-1] == "endpoint 192.0.2.9"
    assert label["Service default/other"] == ("ExternalName db.example.com",)


@pytest.mark.parametrize("name", ["source-address", "three-tier"])
def test_every_link_has_two_boxes(name: str) -> None:
    graph = graph_of(name)
    ids = [box.id for box in graph.boxes]
    assert len(set(ids)) == len(ids)
    assert {end for link in graph.links for end in (link.a, link.b)} <= set(ids)
    assert not too_large_for_github(graph, render_mermaid(graph))


MERMAID_LINE = re.compile(
    r"""(?x) [ ]* (?:
        flowchart[ ]TB | end
        | subgraph[ ]in_m\d+\["(?P<group>[^"]*)"\]
        | [ms]\d+ (?:\[|\[\[|\[/|\(|\(\[|\{\{) "(?P<label>[^"]*)" (?:\]|\]\]|/\]|\)|\]\)|\}\})
        | [ms]\d+[ ](?:---|-\.->)[ ][ms]\d+
    )"""
)


def unescape_mermaid(text: str) -> str:
    return re.sub(r"#(\d+);", lambda match: chr(int(match[1])), text)


@given(texts, st.lists(lines, min_size=1, max_size=4))
def test_mermaid_reads_every_label_as_text(title: str, labels: list[tuple[str, ...]]) -> None:
    text = render_mermaid(hostile(title, labels))
    head, first, front, *rest = text.rstrip("\n").split("\n")
    assert (head, front) == ("---", "---")
    assert yaml.safe_load(first)["title"] == printable(title).replace("`", " ")
    matches = [MERMAID_LINE.fullmatch(line) for line in rest]
    assert all(matches), rest
    shown = [match["label"] for match in matches if match and match["label"] is not None]
    for label in shown:
        assert re.fullmatch(r"(?:[A-Za-z0-9 .,:/()_-]|#\d+;|<br/>)*", label)
        assert not re.search(r"(?:^|<br/>)(?:-|\d+\. )", label)  # Markdown's lists
    told = sorted("\n".join(map(printable, box)) for box in labels)
    assert sorted("\n".join(map(unescape_mermaid, label.split("<br/>"))) for label in shown) == told


DOT_STRING = r'"(?:[^"\\\n]|\\["\\n])*"'
DOT_LINE = re.compile(
    rf"""(?x) [ ]* (?:
        digraph[ ]{DOT_STRING}[ ]\{{ | \}}
        | subgraph[ ]"cluster_m\d+"[ ]\{{
        | (?:graph|node|edge)[ ]\[ (?: [ ]?[a-z]+=(?:\w+|{DOT_STRING}))* \]
        | label={DOT_STRING}[ ]style="dashed"
        | [ms]\d+[ ]\[label=(?P<label>{DOT_STRING}) (?: [ ][a-z]+=(?:\w+|"[a-z,]*"|"\#[e]+"))* \]
        | [ms]\d+[ ]->[ ][ms]\d+ (?:[ ]\[dir=forward[ ]style="dashed"\])?
    )"""
)


def unescape_dot(text: str) -> str:
    joined = re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text[1:-1])
    return joined.replace("&amp;", "&")


@given(texts, st.lists(lines, min_size=1, max_size=4))
def test_dot_reads_every_label_as_text(title: str, labels: list[tuple[str, ...]]) -> None:
    matches = [
        DOT_LINE.fullmatch(line) for line in render_dot(hostile(title, labels)).removesuffix("\n").split("\n")
    ]
    assert all(matches)
    shown = [match["label"] for match in matches if match and match["label"]]
    assert sorted(map(unescape_dot, shown)) == sorted("\n".join(map(printable, box)) for box in labels)


needs_dot = pytest.mark.skipif(not shutil.which("dot"), reason="Graphviz is not installed")


@needs_dot
@pytest.mark.parametrize("text", HOSTILE)
def test_graphviz_shows_the_text(text: str) -> None:
    dot = render_dot(hostile(text, [(text,), (text, "second line")]))
    done = subprocess.run(["dot", "-Tjson0"], input=dot, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    [group, *boxes] = json.loads(done.stdout)["objects"]
    # Graphviz keeps entities and escapes in its labels; the picture has the text
    assert group["name"] == "cluster_m0"
    svg = subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True, check=True).stdout
    assert "<script" not in svg
    assert len(boxes) == 2


@needs_dot
def test_graphviz_draws_every_label(default: Graph) -> None:
    svg = subprocess.run(
        ["dot", "-Tsvg"], input=render_dot(default), capture_output=True, text=True, check=True
    ).stdout
    shown = set(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
    for box in default.boxes:
        assert {line.replace("-", "&#45;") for line in box.lines} <= shown


def test_a_large_one_is_more_than_github_draws() -> None:
    links = tuple(Link("m0", "m0") for _ in range(501))
    graph = Graph("large", {}, (Box("m0", "node", ("a",)),), links)
    assert too_large_for_github(graph, render_mermaid(graph))
