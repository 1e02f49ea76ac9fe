"""Tests that a comparison of modes can be read and copied at any width."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from emulator.model.results import FlowResult
from emulator.report.modes_text import MOST_NAMES, MOST_SERVICES, render_comparison, say_directories
from emulator.verdicts.modes import Comparison, compare_modes
from tests.unit.report.samples import REPORT, service_row
from tests.unit.report.test_run_text import ADDRESSES, TOKENS
from tests.unit.verdicts.test_modes import TO_BOTH, refused


def comparison_of(topology: str, rows: list[tuple[str, str, int, str]]) -> Comparison:
    """Returns a comparison in which one mode refuses what ``rows`` (Service, address, port, client) dial."""

    def at(result: FlowResult, row: tuple[str, str, int, str]) -> FlowResult:
        service, ip, port, client = row
        flow = result.flow
        to = replace(flow.to, label=f"svc shop/{service}:{port}", ip=ip, port=port, service=f"shop/{service}")
        named = replace(flow.client, label=f"pod shop/{client}", netns=f"shop_{client}")
        return replace(result, flow=replace(flow, name=f"{client} to {service}", client=named, to=to))

    services = tuple(service_row(f"shop/{service}", ip) for service, ip, _, _ in rows)
    reports = {
        mode: replace(REPORT, services=services, flows=tuple(at(result, row) for row in rows))
        for mode, result in (("iptables", TO_BOTH), ("nftables", refused()))
    }
    return compare_modes(topology, reports)


@settings(max_examples=60)
@given(
    TOKENS,
    st.lists(
        st.tuples(TOKENS, ADDRESSES, st.integers(1, 65535), TOKENS),
        min_size=1,
        max_size=min(MOST_NAMES, MOST_SERVICES),
        unique_by=lambda row: row[0],
    ),
    st.integers(60, 140),
)
def test_no_token_is_broken(topology: str, rows: list[tuple[str, str, int, str]], width: int) -> None:
    shown = render_comparison(comparison_of(topology, rows), width=width, pods={})
    tokens = {part.strip("(),") for part in shown.split()}
    assert topology in tokens
    for service, ip, port, client in rows:
        assert tokens.issuperset(
            {f"shop/{service}", f"shop/{service}:{port}", f"{ip}:{port}", f"shop/{client}"}
        )
    for line in shown.splitlines():
        assert wcswidth(line) <= width or max(map(len, line.split())) + 12 > width


@pytest.mark.parametrize(
    ("directories", "said"),
    [
        ({"iptables": "captures/a-iptables", "ipvs": "captures/a-ipvs"}, "captures/a-{iptables,ipvs}/"),
        (
            {"iptables": "captures/a-iptables-2", "ipvs": "captures/a-ipvs"},
            "captures/a-iptables-2/, captures/a-ipvs/",
        ),
        ({"ipvs": "captures/a-ipvs"}, "captures/a-ipvs/"),
    ],
)
def test_directories_of_modes_are_said_shortly(directories: dict[str, str], said: str) -> None:
    assert say_directories(directories) == said
