"""Tests a comparison as Markdown: the report, and the table of clients with the same results."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from emulator.model.frames import Health
from emulator.model.results import FlowResult
from emulator.net import Endpoint
from emulator.report.modes_markdown import MOST_BYTES, render_markdown, render_table
from emulator.verdicts.modes import Comparison, compare_modes
from tests.unit.report.samples import CLIENT, REPORT, WORKER_1
from tests.unit.verdicts.test_modes import (
    AS_NODE,
    B0,
    B1,
    TO_BOTH,
    answered,
    delivered,
    refused,
)

MASQUERADED = delivered({B0: WORKER_1, B1: WORKER_1}, AS_NODE)


def named(result: FlowResult, client: str, check: str = "cluster-ip") -> FlowResult:
    name = f"{check}: {client}" if check else client
    return replace(result, flow=replace(result.flow, name=name, called=client, check=check))


def table(*rows: tuple[FlowResult, FlowResult]) -> list[str]:
    """Returns the rows of the table of two modes, without its head."""
    one, other = zip(*rows, strict=True)
    comparison: Comparison = compare_modes(
        "t", {"iptables": replace(REPORT, flows=one), "nftables": replace(REPORT, flows=other)}
    )
    return render_table(comparison).splitlines()[2:]


def test_clients_that_fare_alike_share_a_row() -> None:
    pairs = [(named(TO_BOTH, who), named(TO_BOTH, who)) for who in ("a Pod", "another Pod")]
    pairs.append((named(TO_BOTH, "a node"), named(MASQUERADED, "a node")))
    assert table(*pairs) == [
        "| cluster-ip | a Pod; another Pod | the client's own | the client's own |",
        "|  | a node | the client's own | a node's |",
    ]


def test_where_all_fare_alike_they_are_everybody() -> None:
    pairs = [(named(TO_BOTH, who), named(refused(), who)) for who in ("a", "b", "c")]
    assert table(*pairs) == ["| cluster-ip | everybody | the client's own | rejected |"]


@pytest.mark.parametrize(
    ("result", "cell"),
    [
        pytest.param(TO_BOTH, "the client's own", id="preserved"),
        pytest.param(MASQUERADED, "a node's", id="masqueraded"),
        pytest.param(refused("dropped"), "dropped", id="dropped"),
        pytest.param(
            delivered({B0: CLIENT, B1: "192.0.2.9"}),
            "192.0.2.9 or the client's own",
            id="an address that nobody promised",
        ),
        pytest.param(
            delivered({B0: CLIENT}, reply_from=(Endpoint.parse("10.244.1.2:8080"),)),
            "the client's own (the answer comes from the endpoint itself)",
            id="heard from another",
        ),
        pytest.param(answered(Health(200, 1)), "200, 1 local endpoint", id="a health check"),
        pytest.param(replace(TO_BOTH, verdict="fail"), "the client's own (fail)", id="a broken promise"),
    ],
)
def test_cell(result: FlowResult, cell: str) -> None:
    assert table((named(result, "a"), named(TO_BOTH, "a"))) == [
        f"| cluster-ip | a | {cell} | the client's own |"
    ]


def test_controls_are_left_out() -> None:
    control = replace(named(TO_BOTH, "c"), flow=replace(TO_BOTH.flow, name="c", control=True))
    assert table((named(TO_BOTH, "a"), named(TO_BOTH, "a")), (control, control)) == [
        "| cluster-ip | a | the client's own | the client's own |"
    ]


def test_without_a_flowcheck_a_row_names_destination_and_client() -> None:
    assert table((named(TO_BOTH, "x", ""), named(TO_BOTH, "x", ""))) == [
        f"| {TO_BOTH.flow.to.label} | {TO_BOTH.flow.client.label} | the client's own | the client's own |"
    ]


def test_no_name_breaks_the_table() -> None:
    assert "a\\|b" in table((named(TO_BOTH, "a|b"), named(TO_BOTH, "a|b")))[0]


def comparison_of(*rows: tuple[FlowResult, FlowResult]) -> Comparison:
    one, other = zip(*rows, strict=True)
    return compare_modes(
        "shop", {"iptables": replace(REPORT, flows=one), "nftables": replace(REPORT, flows=other)}
    )


def test_report(golden: Callable[[str, str], None]) -> None:
    rows = [(named(TO_BOTH, "a Pod"), named(refused(), "a Pod")), (named(TO_BOTH, "b"), named(TO_BOTH, "b"))]
    golden("screens/diff.md", render_markdown(comparison_of(*rows)))


@pytest.mark.parametrize("number", [1, 50, 1000])
def test_report_fits_into_a_comment_whatever_its_size(number: int) -> None:
    def one_of(result: FlowResult, n: int) -> FlowResult:
        return named(result, f"client {n}: {'検査' * 20}", f"check-{n}")

    rows = [(one_of(TO_BOTH, n), one_of(refused() if n % 2 else TO_BOTH, n)) for n in range(number * 2)]
    text = render_markdown(comparison_of(*rows))
    assert len(text.encode()) <= MOST_BYTES
    assert text.startswith("## podwire diff: shop, iptables → nftables\n\n")
    shown = sum(line.startswith("| check-") for line in text.splitlines())
    left = re.search(r"^(\d+) rows have no room here \((\d+) of them", text, re.MULTILINE)
    assert shown + (int(left[1]) if left else 0) == 2 * number
    assert bool(left) == (number > 50)


def test_names_are_no_markup() -> None:
    evil = "<img src=x> **b** [a](http://b) \n# c"
    rows = [(named(TO_BOTH, evil, ""), named(refused(), evil, ""))]
    comparison = comparison_of(*rows)
    text = render_markdown(replace(comparison, topology=evil))
    assert "<img" not in text
    assert "**b**" not in text
    assert "[a](" not in text
    assert "\n# c" not in text


def test_a_row_names_the_service_and_the_node_that_packets_enter_through() -> None:
    to = replace(TO_BOTH.flow.to, label="localhost:30080")
    flow = replace(TO_BOTH.flow, to=to, via="worker-2")
    (row,) = table(tuple(replace(result, flow=flow) for result in (TO_BOTH, refused())))  # type: ignore[arg-type]
    assert row.startswith("| localhost:30080 (svc default/web) | pod default/client via worker-2 |")
