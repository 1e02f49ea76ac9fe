"""Tests hints by the zones' CPUs, as the EndpointSlice controller's topologycache gives them."""

from __future__ import annotations

from collections import Counter

import pytest

from emulator.controllers.topologyhints import ZONE_LABEL, Lack, add_hints, cpu_of
from emulator.objects.kinds import (
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    Node,
    NodeCondition,
    NodeStatus,
    ObjectMeta,
)
from emulator.objects.warnings import NoHints


def node(zone: str, cpu: str | int | float = "", ready: str = "True", **labels: str) -> Node:
    own = {ZONE_LABEL: zone} if zone else {}
    return Node(
        metadata=ObjectMeta(name=f"node-{zone}", labels={**own, **labels}),
        status=NodeStatus(
            allocatable={"cpu": cpu} if cpu != "" else {},
            conditions=(NodeCondition(type="Ready", status=ready),),
        ),
    )


def slices(**zones: int) -> list[EndpointSlice]:
    """Returns one slice with so many ready endpoints of each zone, and one that is not ready."""
    names = [zone for zone, count in zones.items() for _ in range(count)]
    ready = [Endpoint(addresses=(f"10.0.0.{i}",), zone=zone) for i, zone in enumerate(names, 1)]
    late = Endpoint(addresses=("10.0.0.250",), zone="a", conditions=EndpointConditions(ready=False))
    return [EndpointSlice(metadata=ObjectMeta(name="s"), endpoints=(*ready, late))]


def hints(made: list[EndpointSlice]) -> dict[str, int]:
    every = [e for item in made for e in item.endpoints]
    assert not any(e.hints for e in every if not e.ready)
    return Counter(e.hints.forZones[0].name for e in every if e.hints)


@pytest.mark.parametrize(
    ("have", "cpus", "want"),
    [
        pytest.param({"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 2, "c": 2}, {"a": 1, "b": 1, "c": 1}, id="even"),
        pytest.param({"a": 3}, {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}, id="all in one zone"),
        pytest.param({"a": 4, "b": 2}, {"a": 1, "b": 1}, {"a": 3, "b": 3}, id="one goes over"),
        pytest.param({"a": 5, "b": 5}, {"a": 3, "b": 2}, {"a": 6, "b": 4}, id="by the CPUs"),
    ],
)
def test_endpoints_are_shared_by_the_zones_cpus(
    have: dict[str, int], cpus: dict[str, int], want: dict[str, int]
) -> None:
    made, why = add_hints(slices(**have), [node(zone, cpu) for zone, cpu in cpus.items()])
    assert (hints(made), why) == (want, None)


EVEN = [node("a", "2"), node("b", "2")]
NO_CPUS = Lack(NoHints.NODE_WITHOUT_CPUS, node="node-b")


@pytest.mark.parametrize(
    ("nodes", "have", "lack"),
    [
        pytest.param(
            [node("a", "2"), node("", "2")],
            {"a": 2},
            Lack(NoHints.NODE_WITHOUT_ZONE, node="node-"),
            id="zone",
        ),
        pytest.param([node("a", "2"), node("b")], {"a": 2}, NO_CPUS, id="CPU"),
        pytest.param([node("a", "2"), node("b", "two")], {"a": 2}, NO_CPUS, id="no number"),
        pytest.param([node("a", "2")], {"a": 2}, Lack(NoHints.ONE_ZONE), id="one zone"),
        pytest.param(
            [node("a", "2"), node("b", "2", "False")], {"a": 2}, Lack(NoHints.ONE_ZONE), id="not ready"
        ),
        pytest.param(
            EVEN, {"a": 1}, Lack(NoHints.FEW_ENDPOINTS, endpoints=1, zones=2), id="too few endpoints"
        ),
        pytest.param(
            [node("a", "9"), node("b", "1")],
            {"a": 1, "b": 1},
            Lack(NoHints.OVERLOAD, endpoints=2),
            id="overload",
        ),
        pytest.param(EVEN, {"a": 2, "": 2}, Lack(NoHints.ENDPOINT_WITHOUT_ZONE), id="endpoint without zone"),
    ],
)
def test_there_are_no_hints(nodes: list[Node], have: dict[str, int], lack: Lack) -> None:
    made, said = add_hints(slices(**have), nodes)
    assert (hints(made), said) == ({}, lack)


def test_control_planes_are_not_counted() -> None:
    plane = node("", **{"node-role.kubernetes.io/control-plane": ""})
    assert hints(add_hints(slices(a=1, b=1), [*EVEN, plane])[0]) == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    ("cpu", "thousandths"),
    [
        ("2", 2000),
        ("1930m", 1930),
        ("0.5", 500),
        (4, 4000),
        (1.5, 1500),
        ("1k", 1_000_000),
        ("", 0),
        ("-1", 0),
        ("x", 0),
        ("nan", 0),
        ("1e99", 0),
        ("1e999999999", 0),
        ("100n", 1),
    ],
)
def test_quantities(cpu: str | int | float, thousandths: int) -> None:
    assert cpu_of(node("a", cpu)) == thousandths
