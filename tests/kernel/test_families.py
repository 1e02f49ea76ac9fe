"""Tests that either family of addresses reaches the kernel, the servers, the senders and the taps."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from typing import Any

import pytest

from emulator.capture.recording import Recording
from emulator.capture.ring import HANDSHAKES, Taps
from emulator.cluster.state import Listener
from emulator.kernel.apply import Applied, apply
from emulator.kernel.inspect import read_addresses
from emulator.kernel.iptables import find_iptables
from emulator.model.flows import Client, Destination, Flow
from emulator.net import IPV4, IPV6, Address, Endpoint, Family, InterfaceAddress, Prefix, everything
from emulator.objects.config import FlowProtocol
from emulator.plan.operations import (
    AddAddress,
    AddNeighbour,
    AddNetns,
    AddRoute,
    AddVeth,
    Operation,
    Plan,
    SetNeighbourDefaults,
)
from emulator.plan.shell import render_shell
from emulator.traffic.send import Prober
from emulator.workload.serve import servers
from tests.sandboxed import in_sandbox, state_of

pytestmark = pytest.mark.kernel

MAC = "0a:58:00:00:00:02"
# its own address, the gateway, another prefix
PLACES = {IPV4: ("10.0.0.1", "10.0.0.2", "10.9.0.0/16"), IPV6: ("fd00::1", "fd00::2", "fd09::/64")}
LENGTH = {IPV4: 24, IPV6: 64}


def plan(family: Family) -> Plan:
    own, gateway, other = PLACES[family]
    link = AddVeth(
        netns="a",
        name="eth0",
        mac="0a:58:00:00:00:01",
        peer_netns="b",
        peer="eth0",
        peer_mac=MAC,
        why="t",
    )
    address = InterfaceAddress.of(own, LENGTH[family])
    via = Address(gateway)
    operations: list[Operation] = [
        AddNetns(netns="a", why="t"),
        AddNetns(netns="b", why="t"),
        link,
        AddAddress(netns="a", dev="eth0", address=address, why="t"),
        AddRoute(netns="a", dst=Prefix(other), dev="eth0", via=via, why="t"),
        AddRoute(netns="a", dst=everything(family), dev="eth0", via=via, why="t"),
        AddNeighbour(netns="a", dev="eth0", address=via, mac=MAC, why="t"),
        SetNeighbourDefaults(netns="a", dev="eth0", family=family, reachable=12000, why="t"),
    ]
    return Plan(name="t", operations=tuple(operations))


def ip(family: Family, *words: str) -> list[dict[str, Any]]:
    command = ["ip", "-n", "a", family.iproute2, "-j", *words]
    rows: list[dict[str, Any]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return rows


def check_kernel(family: Family) -> None:
    own, gateway, other = PLACES[family]
    ways = {(row["dst"], row.get("gateway")) for row in ip(family, "route")}
    assert {("default", gateway), (other, gateway)} <= ways
    (entry,) = ip(family, "neighbour", "show", "to", gateway)
    assert (entry["lladdr"], entry["state"]) == (MAC, ["PERMANENT"])
    told = [row for row in ip(family, "ntable", "show", "dev", "eth0") if "dev" in row]
    assert {row["base_reachable"] for row in told} == {12000}
    (link,) = [row for row in ip(family, "address", "show", "dev", "eth0") if row]
    assert own in {row["local"] for row in link["addr_info"]}


@pytest.mark.parametrize("family", [IPV4, IPV6], ids=str)
@in_sandbox
def test_operations_do_the_same_in_either_family(family: Family) -> None:
    applied = apply(plan(family), Applied(find_iptables("")))
    check_kernel(family)
    assert read_addresses(applied.namespaces, ["a"]) == {"a": frozenset({PLACES[family][0]})}


@pytest.mark.parametrize("family", [IPV4, IPV6], ids=str)
@in_sandbox
def test_the_printed_script_does_so_too(family: Family) -> None:
    subprocess.run(
        ["bash"], input=render_shell(plan(family), title="t"), text=True, check=True, capture_output=True
    )
    check_kernel(family)


@pytest.mark.parametrize("narrow", [False, True], ids=["all frames", "handshakes"])
@pytest.mark.parametrize("family", [IPV4, IPV6], ids=str)
@in_sandbox
def test_servers_answer_and_taps_see_it(family: Family, narrow: bool) -> None:
    applied = apply(Plan(name="t", operations=(AddNetns(netns="a", why="t"),)), Applied(find_iptables("")))
    own = Address(family.localhost)
    protocols: tuple[FlowProtocol, ...] = ("TCP", "UDP", "SCTP", "ICMP")
    listeners = tuple(
        Listener(pod="d/a", netns="a", node="", container="c", ip=own, port=80, protocol=protocol)
        for protocol in protocols
        if protocol != "ICMP"
    )
    state = replace(
        state_of(), nodes=(), pods=(), services=(), endpointSlices=(), clients=(), listeners=listeners
    )
    worker = servers(applied.namespaces)
    worker.tell(state)
    taps = Taps()
    program = HANDSHAKES if narrow else None
    taps.open(applied.namespaces, {"a": applied.interfaces("a")}, {}, {"a": 256}, program=program)
    recording = Recording(taps)
    client = Client(kind="pod", label="a", netns="a", ip=own)
    flows = [
        Flow(
            name=protocol,
            kind="other",
            client=client,
            to=Destination(label="a", ip=own, port=0 if protocol == "ICMP" else 80),
            protocol=protocol,
            attempts=1,
        )
        for protocol in protocols
    ]
    attempts = Prober(applied.namespaces, recording, seed=0).probe(flows)
    time.sleep(0.05)
    recording.drain()
    frames = list(recording.frames)
    assert {attempt.error for attempt in attempts} == {""}
    answers = [attempt.answer for attempt in attempts if attempt.answer]
    assert {(answer.pod, answer.local) for answer in answers} == {("d/a", Endpoint(own, 80))}
    assert len(answers) == 2
    seen = {frame.protocol for frame in frames if frame.reply and frame.src == frame.dst == own}
    assert seen == ({"TCP", "ICMP"} if narrow else {*protocols})
    taps.close()
