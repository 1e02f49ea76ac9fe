"""Tests the picture of a cluster as a user gets it: without privileges, with and without Graphviz."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from emulator.cli import main
from emulator.cluster.state import ClusterState
from emulator.controllers.settle import settle
from emulator.errors import MissingCapabilityError, UsageError
from emulator.load.load import load
from emulator.run import graph
from emulator.run.graph import render_graph

parse = ElementTree.fromstring  # our own output, not a stranger's
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def default() -> ClusterState:
    return settle(load(["three-networks"], topologies=ROOT / "topologies"))


def make_tool(directory: Path, text: str) -> None:
    tool = directory / "dot"
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(0o755)


def test_the_command_prints_mermaid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph"]) == 0
    said = capsys.readouterr()
    assert said.out == (ROOT / "tests" / "golden" / "graph.mermaid").read_text()
    assert said.err == ""


def test_notices_go_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", str(ROOT / "tests" / "data" / "shop.yaml"), "-o", "dot"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith('digraph "shop" {\n')
    assert "podwire: " in said.err


def test_without_graphviz_it_says_so(
    default: ClusterState, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingCapabilityError, match="Debian package graphviz, or take -o mermaid"):
        render_graph(default, "svg")
    assert render_graph(default, "dot")


@pytest.mark.parametrize(
    ("script", "limit", "says"),
    [
        ("echo boom >&2; exit 1", 60, "dot makes no picture of it: boom"),
        ("exec sleep 60", 0.2, "no picture after"),
    ],
    ids=["it fails", "it takes too long"],
)
def test_a_failing_graphviz_is_explained(
    default: ClusterState,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    script: str,
    limit: float,
    says: str,
) -> None:
    make_tool(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(graph, "TIME_LIMIT", limit)
    with pytest.raises(UsageError, match=says):
        render_graph(default, "svg")


def test_a_picture_beyond_github_is_named(
    default: ClusterState, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("emulator.report.graph.MOST_LINKS", 3)
    render_graph(default, "mermaid")
    assert "podwire: GitHub draws no Mermaid with more than" in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("dot"), reason="Graphviz is not installed")
def test_graphviz_draws_it(default: ClusterState) -> None:
    svg = render_graph(default, "svg")
    assert parse(svg).tag == "{http://www.w3.org/2000/svg}svg"
