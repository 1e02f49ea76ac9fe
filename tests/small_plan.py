"""Holds a plan by hand with every kind of operation: a node with a bridge and two Pods, and rules."""

from __future__ import annotations

from emulator.net import IPV4, Address, InterfaceAddress, Prefix, everything
from emulator.plan.nft import NftTable
from emulator.plan.operations import (
    AddAddress,
    AddBridge,
    AddNetns,
    AddRoute,
    AddVeth,
    LoadRules,
    Operation,
    Plan,
    ResetDevices,
    SetSysctl,
)
from emulator.plan.rules import RuleSet

RULES = RuleSet({"nat": {"POSTROUTING": ("-s 10.244.1.0/24 ! -o cbr0 -j MASQUERADE",)}})


def _pod(name: str, number: int) -> list[Operation]:
    why = f"Pod default/{name}"
    netns = f"default_{name}"
    mac = f"02:00:00:00:01:0{number}"
    return [
        AddNetns(netns=netns, why=why),
        AddVeth(
            netns="worker-1",
            name=f"veth{number}",
            mac=f"02:00:00:00:02:0{number}",
            bridge="cbr0",
            hairpin=True,
            peer_netns=netns,
            peer="eth0",
            peer_mac=mac,
            why=why,
        ),
        AddAddress(netns=netns, dev="eth0", address=InterfaceAddress(f"10.244.1.{number}/24"), why=why),
        AddRoute(
            netns=netns,
            dst=everything(IPV4),
            dev="eth0",
            via=Address("10.244.1.1"),
            why="a Pod's way out is its node",
        ),
        AddRoute(
            netns=netns,
            dst=Prefix("192.0.2.0/24"),
            dev="eth0",
            via=Address("198.51.100.1"),
            onlink=True,
            why="a router that no route leads to",
        ),
    ]


PLAN = Plan(
    name="small",
    operations=(
        AddNetns(netns="worker-1", why="Node worker-1"),
        ResetDevices(netns="worker-1", why="a node on every machine"),
        SetSysctl(
            netns="worker-1", key="net.ipv4.ip_forward", value="1", why="a node forwards its Pods' packets"
        ),
        SetSysctl(
            netns="worker-1",
            key="net.ipv4.ip_local_port_range",
            value="20000 30000",
            why="a value with a blank",
        ),
        AddBridge(netns="worker-1", name="cbr0", mac="02:00:00:00:00:01", why="kubenet's bridge"),
        AddAddress(
            netns="worker-1", dev="cbr0", address=InterfaceAddress("10.244.1.1/24"), why="kubenet's bridge"
        ),
        *_pod("a", 2),
        *_pod("b", 3),
        AddRoute(
            netns="worker-1",
            dst=Prefix("10.99.0.0/16"),
            dev="cbr0",
            src=Address("10.244.1.1"),
            why="a prefix on the link itself",
        ),
        LoadRules(
            netns="worker-1",
            tool="iptables-restore",
            family=IPV4,
            rules=RULES,
            why="masquerade what leaves the cluster",
        ),
        LoadRules(
            netns="default_a",
            tool="nft",
            family=IPV4,
            rules=RuleSet({}, NftTable("ip podwire", "by hand", {}, {})),
            why="a table of nft's own",
        ),
    ),
)
