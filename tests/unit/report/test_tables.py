"""Tests tables of the cluster, and both sides of a flow that is not as promised."""

from __future__ import annotations

import re
from dataclasses import replace

from emulator.model.results import PortRow, StepRows
from emulator.report.layout import Screen
from emulator.report.tables import node_table, render_difference, service_table, step_changes
from tests.unit.report.samples import FAILED, PODS, REPORT, WORKER_1, node_row, service_row

NEW = service_row("default/new", "10.96.0.30", PortRow(80, "TCP"), endpoints=0)


def test_nodes_are_columns_where_they_fit_and_records_where_not() -> None:
    columns, below = node_table(REPORT.cluster, 120), node_table(REPORT.cluster, 80)
    assert columns.splitlines()[0].split() == ["NODE", "ROLE", "ADDRESS", "POD", "CIDR", "PODS"]
    assert "worker-1       role worker   address 172.18.0.3   pod cidr 10.244.1.0/24\n" in below
    assert "\n               pods client, web-0\n" in below


def test_many_pods_are_abbreviated_unless_wide() -> None:
    rows = (node_row("worker-1", WORKER_1, "10.244.1.0/24", *(f"pod-{n}" for n in range(100))),)
    assert "pod-11 (+88 more)" in node_table(rows, 400)
    assert "pod-99" in node_table(rows, None, wide=True)


def test_external_addresses_have_a_column_if_there_are_any() -> None:
    row = service_row("default/web", "10.96.0.10", PortRow(80, "TCP"))
    assert "EXTERNAL-IP" not in service_table((row,), 120)
    assert "192.0.2.7" in service_table((replace(row, external=("192.0.2.7",)),), 120)
    assert "<pending>" in service_table((replace(row, pending=True),), 120)


def test_a_step_shows_what_it_changes() -> None:
    scaled = replace(REPORT.services[1], endpoints=1)
    emptied = replace(REPORT.cluster[2], pods=())
    steps = (
        StepRows(step="drain, web-1 is gone", services=(scaled,), cluster=(emptied,)),
        StepRows(step="drain, back again", services=(REPORT.services[1], NEW), gone=("worker-2",)),
    )
    assert step_changes(replace(REPORT, steps=steps), Screen(100)).splitlines() == [
        "After drain, web-1 is gone:",
        "  worker-2   pods none",
        "  default/web   endpoints 1",
        "After drain, back again:",
        "  default/web   endpoints 2",
        "  default/new   type ClusterIP   cluster-ip 10.96.0.30   ports 80/TCP   endpoints 0",
        "  gone: worker-2",
    ]


def test_a_failure_shows_both_sides_and_the_hop() -> None:
    shown = render_difference(FAILED, PODS)
    assert re.search(r"^outcome +delivered +dropped ×2 +← differs$", shown, re.MULTILINE)
    assert re.search(r"^where +ended at default_client/eth0 out", shown, re.MULTILINE)


def test_a_flow_without_a_journey() -> None:
    assert "no journey was seen in default_client" in render_difference(replace(FAILED, journeys=()), PODS)
