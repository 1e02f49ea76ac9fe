"""Tests changes while it runs, in ipvs mode: after each the kernel holds the state of a new cluster, and each
costs what changed.

Their effect on packets is in test_changes.py, as for the other modes.
"""

from __future__ import annotations

import subprocess
from functools import cache
from typing import Any

import pytest

from emulator.cluster.state import ClusterState
from emulator.kernel.apply import Applied, apply
from emulator.kernel.inspect import read_addresses
from emulator.kernel.iptables import find_iptables
from emulator.kernel.ipvs import read_servers
from emulator.kernel.netns import Namespaces, check_output
from emulator.plan.ipvs import edits, ipvsadm_text
from emulator.plan.operations import AddAddress, DelAddress, LoadIpset, LoadIpvs, LoadRules, Plan
from emulator.plan.shell import shell_commands
from emulator.proxy.ipvs import DUMMY
from emulator.schedule.planner import plan_change, plan_cluster
from tests.iptables_save import parse
from tests.kernel.test_changes import ALL_PODS, BASE, CHANGES, WEB, service, shape
from tests.sandboxed import flavour, in_sandbox, state_of

pytestmark = pytest.mark.kernel

WAYS = [
    *(
        "a Service comes",
        "a Service in front comes",
        "an endpoint comes",
        "an endpoint drains",
        "no endpoint",
        "a policy",
        "affinity",
    ),
    *("a Pod moves", "a node comes", "a node goes with its Pods"),
]


def ipvs_state(text: str) -> ClusterState:
    return state_of(text=text, proxy_mode="ipvs")


def planned(plan: Plan) -> dict[str, Any]:
    """Returns what ``plan`` wants each node to hold."""
    held: dict[str, Any] = {}
    for op in plan.operations:
        if isinstance(op, LoadIpvs):
            held.setdefault(op.netns, {})["servers"] = sorted(ipvsadm_text(op.servers).splitlines())
        elif isinstance(op, LoadIpset):
            held.setdefault(op.netns, {})["sets"] = sorted(
                f"add {item.name} {entry}" for item in op.sets for entry in item.entries
            )
    for op in plan.operations:
        if isinstance(op, AddAddress) and op.netns in held:
            held[op.netns].setdefault("addresses", set()).add(op.address.split("/")[0])
    return held


def found(namespaces: Namespaces, node: str) -> dict[str, Any]:
    """Returns what ``node`` holds. Endpoints that get no new connections are left out."""
    servers = ipvsadm_text(namespaces.call_in(node, read_servers)).splitlines()
    sets = check_output(namespaces, node, ["ipset", "save"]).splitlines()
    return {
        "servers": sorted(line for line in servers if not line.endswith("-w 0")),
        "sets": sorted(line for line in sets if line.startswith("add ")),
        "addresses": set(read_addresses(namespaces, [node])[node]),
    }


def rules_of(namespaces: Namespaces, node: str) -> Any:
    return parse(check_output(namespaces, node, [f"iptables-{flavour()}-save"]))


@cache
def walked() -> dict[str, tuple[Any, Any]]:
    """Returns, by way, the state of every node after it and the state that it should have, there and back
    again.
    """

    @in_sandbox
    def walk() -> dict[str, tuple[Any, Any]]:
        base = ipvs_state(BASE)
        applied = apply(plan_cluster(base), Applied(find_iptables(flavour())))
        rules = {node.name: rules_of(applied.namespaces, node.name) for node in base.nodes}
        results = {}
        for way in WAYS:
            other = ipvs_state(CHANGES[way])
            apply(plan_change(base, other), applied)
            there = {node.name: found(applied.namespaces, node.name) for node in other.nodes}
            apply(plan_change(other, base), applied)
            back = {node.name: found(applied.namespaces, node.name) for node in base.nodes}
            back_rules = {node.name: rules_of(applied.namespaces, node.name) for node in base.nodes}
            results[way] = (
                (there, back, back_rules),
                (planned(plan_cluster(other)), planned(plan_cluster(base)), rules),
            )
        return results

    ways: dict[str, tuple[Any, Any]] = walk()
    return ways


@pytest.mark.ipvs("changes")
@pytest.mark.parametrize("way", WAYS)
def test_a_change_leaves_what_the_new_cluster_wants_and_so_does_the_way_back(way: str) -> None:
    is_so, should_be = walked()[way]
    assert is_so == should_be


@pytest.mark.ipvs("changes")
@in_sandbox
def test_a_change_printed_for_a_person_does_the_same() -> None:
    """Changes it by ipvsadm and ipset alone."""
    base, other = ipvs_state(BASE), ipvs_state(CHANGES["an endpoint drains"])
    namespaces = apply(plan_cluster(base), Applied(find_iptables(flavour()))).namespaces
    for old, new in ((base, other), (other, base)):
        operations = [op for op in plan_change(old, new).operations if isinstance(op, LoadIpset | LoadIpvs)]
        assert operations
        for op in operations:
            subprocess.run(["bash", "-ec", shell_commands(op)], check=True)
        for node in new.nodes:
            should_be = planned(plan_cluster(new))[node.name]
            is_so = found(namespaces, node.name)
            assert (is_so["servers"], is_so["sets"]) == (should_be["servers"], should_be["sets"])


# --- what a change costs, without a kernel
# --------------------------------------------------------------------------


MANY = (
    shape()
    + ALL_PODS
    + "".join(service(f"s{n}", f"10.96.1.{n}", 31000 + n, "web-1", "web-2") for n in range(1, 60))
)


@pytest.mark.parametrize("endpoints", [("web-1",), ()], ids=["with an endpoint", "without one"])
def test_a_service_that_comes_costs_that_service(endpoints: tuple[str, ...]) -> None:
    change = plan_change(ipvs_state(MANY), ipvs_state(MANY + service("web", WEB, 30080, *endpoints)))
    loads = [op for op in change.operations if isinstance(op, LoadIpvs)]
    # TCP and UDP at the ClusterIP and the node's two addresses
    assert [len(op.servers) for op in loads] == [2 * 3] * 3
    assert all(edit.verb.startswith("add") for op in loads for edit in edits(op.was or (), op.servers))
    assert len([op for op in change.operations if isinstance(op, AddAddress)]) == 3
    assert all(
        len(op.text.splitlines()) < 10 for op in change.operations if isinstance(op, LoadIpset | LoadRules)
    )


def test_a_service_that_goes_takes_its_own_address_alone() -> None:
    change = plan_change(ipvs_state(MANY + service("web", WEB, 30080, "web-1")), ipvs_state(MANY))
    assert [(op.dev, op.address) for op in change.operations if isinstance(op, DelAddress)] == [
        (DUMMY, f"{WEB}/32")
    ] * 3
    assert not [op for op in change.operations if isinstance(op, AddAddress)]


def test_an_endpoint_that_changes_is_edited() -> None:
    """Keeps it for TCP, whose connections it keeps, and deletes it for UDP; others are not named."""
    base, other = (
        ipvs_state(BASE),
        ipvs_state(BASE.replace("10.244.1.11], nodeName", "10.244.1.99], nodeName")),
    )
    load = next(op for op in plan_change(base, other).operations if isinstance(op, LoadIpvs))
    lines = [line for line in shell_commands(load).splitlines() if WEB in line]
    assert [line.partition("ipvsadm ")[2] for line in lines] == [
        f"-a -t {WEB}:80 -r 10.244.1.99:8080 -m -w 1 2>/dev/null || true",
        f"-e -t {WEB}:80 -r 10.244.1.99:8080 -m -w 1",
        f"-e -t {WEB}:80 -r 10.244.1.11:8080 -m -w 0",
        f"-a -u {WEB}:80 -r 10.244.1.99:8080 -m -w 1 2>/dev/null || true",
        f"-e -u {WEB}:80 -r 10.244.1.99:8080 -m -w 1",
        f"-d -u {WEB}:80 -r 10.244.1.11:8080",
    ]
