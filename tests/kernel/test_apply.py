"""Plans in a real kernel: what apply makes, that twice is once, and that the printed script makes the
same.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
from typing import Any

import pytest

from emulator.errors import KernelError
from emulator.kernel import netlink
from emulator.kernel.apply import Applied, apply
from emulator.kernel.netns import RUN_NETNS
from emulator.net import IPV4, Address, Prefix
from emulator.plan.operations import AddAddress, AddNetns, AddRoute, AddVeth, LoadRules, Plan, SetSysctl
from emulator.plan.rules import RuleSet
from emulator.plan.shell import render_shell
from emulator.schedule.planner import plan_cluster
from tests.sandboxed import SHIPPED, in_sandbox, state_of

pytestmark = pytest.mark.kernel

PINNED = """
apiVersion: v1
kind: Pod
metadata: {name: pinned, annotations: {cni.projectcalico.org/ipAddrs: '["10.250.0.9"]'}}
spec: {nodeName: worker-1, containers: [{name: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: worker-2, containers: [{name: c}]}
"""


def read(netns: str, *command: str) -> str:
    """Returns what ``command`` prints in ``netns``. (`ip netns exec` mounts a sysfs, and waits for RCU.)"""
    return subprocess.run(
        ["nsenter", f"--net={RUN_NETNS}/{netns}", "--", *command], capture_output=True, text=True, check=True
    ).stdout


def kernel_state(netns: str) -> dict[str, Any]:
    """Returns links, addresses, routes, rules and the sysctls that plans set, as the tools print them,
    without what differs from boot to boot.
    """
    links = [
        {key: link.get(key) for key in ("ifname", "address", "master", "mtu")}
        | {
            "up": "UP" in link["flags"],
            "hairpin": link.get("linkinfo", {}).get("info_slave_data", {}).get("hairpin"),
            "kind": link.get("linkinfo", {}).get("info_kind"),
        }
        for link in json.loads(read(netns, "ip", "-d", "-j", "link"))
    ]
    addresses = [
        (link["ifname"], a["local"], a["prefixlen"], a.get("broadcast"))
        for link in json.loads(read(netns, "ip", "-4", "-j", "address"))
        for a in link["addr_info"]
    ]
    routes = [
        {k: v for k, v in route.items() if k not in ("protocol", "flags")}
        for route in json.loads(read(netns, "ip", "-j", "route"))
    ]
    rules = [
        re.sub(r"\[\d+:\d+\]", "", line)
        for line in read(netns, "iptables-save").splitlines()
        if not line.startswith("#")
    ]
    keys = (
        "net.ipv4.ip_forward",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.conf.all.route_localnet",
        "net.bridge.bridge-nf-call-iptables",
        "net.ipv6.conf.all.disable_ipv6",
        "net.ipv4.ip_unprivileged_port_start",
    )
    return {
        "links": sorted(links, key=lambda link: link["ifname"]),
        "addresses": sorted(addresses),
        "routes": sorted(routes, key=json.dumps),
        "rules": rules,
        "sysctls": read(netns, "sysctl", *keys),
    }


@pytest.mark.parametrize("topology", SHIPPED)
def test_the_printed_script_builds_the_same_network(topology: str) -> None:
    plan = plan_cluster(state_of(topology))

    @in_sandbox
    def by_apply() -> dict[str, Any]:
        apply(plan)
        return {name: kernel_state(name) for name in plan.netns}

    @in_sandbox
    def by_script() -> dict[str, Any]:
        subprocess.run(["bash", "-s"], input=render_shell(plan, title="test"), text=True, check=True)
        return {name: kernel_state(name) for name in plan.netns}

    applied, scripted = by_apply(), by_script()
    for name in plan.netns:
        assert applied[name] == scripted[name], name
    assert any(state["rules"] for state in applied.values())


@in_sandbox
def test_apply_twice_is_apply_once() -> None:
    plan = plan_cluster(state_of("three-networks"))
    applied = apply(plan)
    once = {name: kernel_state(name) for name in plan.netns}
    apply(plan, applied)
    assert {name: kernel_state(name) for name in plan.netns} == once


@in_sandbox
def test_the_library_of_others_reads_what_we_sent() -> None:
    """Decodes every address and route of a node by pyroute2, which shares no code with our encoder."""
    from emulator.kernel.inspect import collect_state

    plan = plan_cluster(state_of("three-networks"))
    applied = apply(plan)
    state = {
        title: json.loads(text)
        for title, text in collect_state(applied.namespaces, "worker-1", applied.iptables, IPV4).items()
        if text.startswith("[")
    }
    meant = {
        (op.address.address, op.address.length)
        for op in plan.operations
        if isinstance(op, AddAddress) and op.netns == "worker-1"
    }
    assert meant <= {(row["address"], row["prefixlen"]) for row in state["addresses"]}
    routes = {(row.get("dst", "default"), row["gateway"]) for row in state["routes"] if "gateway" in row}
    assert {
        (op.dst.first if op.dst.length else "default", op.via)
        for op in plan.operations
        if isinstance(op, AddRoute) and op.netns == "worker-1" and op.via
    } <= routes


@in_sandbox
def test_a_pod_outside_its_podcidr_is_reached_from_everywhere() -> None:
    state = state_of(text=PINNED)
    apply(plan_cluster(state)).wait_until_up()
    for client in ("default_client", "worker-2", "worker-1", "client-1"):
        assert " 0% packet loss" in read(client, "ping", "-c1", "-W2", "10.250.0.9"), client


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        (
            [AddRoute(netns="a", dst=Prefix("10.0.0.0/8"), dev="eth0", via=Address("192.0.2.1"), why="x")],
            r"(?s)unreachable.*ip -n a route add 10\.0\.0\.0/8 via 192\.0\.2\.1",
        ),
        (
            [SetSysctl(netns="a", key="net.ipv4.no_such_key", value="1", why="x")],
            r"(?s)No such file.*sysctl -qw net\.ipv4\.no_such_key=1",
        ),
        (
            [
                LoadRules(
                    netns="a",
                    tool="iptables-restore",
                    family=IPV4,
                    rules=RuleSet({"nat": {"OUTPUT": ("-j NOWHERE",)}}),
                    why="x",
                )
            ],
            r"(?s)iptables-restore --noflush <<'EOF'\n\*nat",
        ),
    ],
    ids=["route", "sysctl", "rules"],
)
def test_a_refusal_shows_the_command_to_paste(operations: list[Any], message: str) -> None:
    link = AddVeth(
        netns="a",
        name="eth0",
        mac="0a:58:00:00:00:01",
        peer_netns="b",
        peer="eth0",
        peer_mac="0a:58:00:00:00:02",
        why="x",
    )
    plan = Plan(
        name="refused",
        operations=(AddNetns(netns="a", why="x"), AddNetns(netns="b", why="x"), link, *operations),
    )

    @in_sandbox
    def refused() -> None:
        with pytest.raises(KernelError, match=message):
            apply(plan)

    refused()


@pytest.mark.parametrize("tool", ["iptables-nft-restore", "iptables-legacy-restore"])
def test_both_flavours_hold_the_same_rules(tool: str) -> None:
    plan = plan_cluster(state_of("three-networks"))

    @in_sandbox
    def rules() -> list[str]:
        apply(plan, Applied(tool))
        lines = read("worker-1", tool.replace("restore", "save")).splitlines()
        return sorted(line for line in lines if line.startswith("-A"))

    text = next(op.text for op in plan.operations if isinstance(op, LoadRules) and op.netns == "worker-1")
    assert len(rules()) == sum(line.startswith("-A") for line in text.splitlines())


@in_sandbox
def test_a_link_without_a_carrier_is_idle_until_its_peer_is_up() -> None:
    def ip(words: str) -> None:
        subprocess.run(["ip", "link", *words.split()], check=True)

    ip("add here type veth peer name there")
    ip("set here up")
    ends = [socket.if_nametoindex(name) for name in ("here", "there")]
    assert netlink.find_idle_links(ends) == ends[:1]
    ip("set there up")
    assert netlink.find_idle_links(ends) == []  # whatever linkwatch has still to do
    with pytest.raises(OSError, match="No such device"):
        netlink.find_idle_links([99])


@in_sandbox
def test_waiting_names_the_link_that_stays_down() -> None:
    link = AddVeth(
        netns="a",
        name="eth0",
        mac="0a:58:00:00:00:01",
        peer_netns="b",
        peer="eth0",
        peer_mac="0a:58:00:00:00:02",
        why="x",
    )
    applied = apply(
        Plan(name="down", operations=(AddNetns(netns="a", why="x"), AddNetns(netns="b", why="x"), link))
    )
    read("b", "ip", "link", "set", "eth0", "down")
    for _ in range(2):
        with pytest.raises(KernelError, match=r"eth0 in a has no carrier after 0 s"):
            applied.wait_until_up(0.2)
    read("b", "ip", "link", "set", "eth0", "up")
    applied.wait_until_up()
