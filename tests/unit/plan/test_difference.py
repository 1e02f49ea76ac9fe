"""Tests the difference of two plans, and of two rule sets: applied to a model of the kernel that holds the
one, it gives the other.

The model knows what the kernel takes along when something goes, and refuses what the kernel would refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import UsageError
from emulator.net import IPV4, Address, InterfaceAddress, Prefix, everything
from emulator.objects.config import IPVSTimeouts
from emulator.plan.difference import difference
from emulator.plan.ipvs import AddressSet
from emulator.plan.nft import NftTable
from emulator.plan.operations import (
    AddAddress,
    AddBridge,
    AddDummy,
    AddNeighbour,
    AddNetns,
    AddRoute,
    AddVeth,
    ChangeRules,
    DelAddress,
    DelLink,
    DelNeighbour,
    DelNetns,
    DelRoute,
    LoadIpset,
    LoadIpvs,
    LoadRules,
    Operation,
    Plan,
    SetSysctl,
)
from emulator.plan.rulechange import compare
from emulator.plan.rules import BUILTIN, RuleSet, compose
from emulator.schedule.planner import plan_cluster
from tests.sandboxed import SHIPPED, state_of
from tests.small_plan import PLAN

Tables = dict[str, dict[str, list[str]]]


def load_rules(tables: Tables, text: str) -> None:
    """Does to ``tables`` what ``iptables-restore --noflush`` does."""
    chains: dict[str, list[str]] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        chain, _, rule = rest.partition(" ")
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {name: [] for name in BUILTIN[line[1:]]})
            table = line[1:]
        elif line.startswith(":"):
            if word[1:] not in BUILTIN[table]:
                chains[word[1:]] = []
        elif word == "-F":
            chains[chain] = []
        elif word == "-A":
            chains[chain].append(rule)
        elif word == "-I":
            numbered = re.fullmatch(r"(\d+) (.*)", rule)
            position, rule = (int(numbered[1]), numbered[2]) if numbered else (1, rule)
            assert 1 <= position <= len(chains[chain]) + 1
            chains[chain].insert(position - 1, rule)
        elif word == "-D":
            chains[chain].remove(rule)
        elif word == "-X":
            assert chain not in BUILTIN[table]
            assert not chains.pop(chain)
        else:
            assert line in ("COMMIT", "-Z")  # counters are nothing that is compared here
        for rules in chains.values():
            for rule in rules:
                target = re.search(r"-j (\S+)", rule)
                assert target is None or target[1].isupper() or target[1] in chains, line


class Kernel:
    """Holds things by their identity. Values are the operations that made them, without their reasons."""

    def __init__(self) -> None:
        self.netns: set[str] = set()
        self.links: dict[tuple[str, str], Any] = {}
        self.addresses: dict[tuple[str, str, str], Any] = {}
        self.routes: dict[tuple[str, str], Any] = {}
        self.neighbours: dict[tuple[str, str, str], Any] = {}
        self.sysctls: dict[tuple[str, str], str] = {}
        self.tables: dict[str, Tables] = {}

    def apply(self, plan: Plan) -> Kernel:
        for op in plan.operations:
            self._do(replace(op, why=""))
        for end, link in list(self.links.items()):
            ends = {link.netns, link.peer_netns} if isinstance(link, AddVeth) else {link.netns}
            assert ends <= self.netns or not ends & self.netns, f"{link} leads to a namespace that is gone"
            if end[0] not in self.netns:
                self._device_gone(*end)
        return self

    def _do(self, op: Operation) -> None:
        match op:
            case AddNetns():
                self.netns.add(op.netns)
            case SetSysctl():
                self.sysctls[op.netns, op.key] = op.value
            case AddBridge():
                assert (op.netns, op.name) not in self.links
                self.links[op.netns, op.name] = op
            case AddVeth():
                ends = (op.netns, op.name), (op.peer_netns, op.peer)
                bridges = (op.netns, op.bridge), (op.peer_netns, op.peer_bridge)
                for (netns, _), bridge, end in zip(ends, bridges, ends, strict=True):
                    assert netns in self.netns
                    assert end not in self.links
                    assert not bridge[1] or bridge in self.links
                self.links |= dict.fromkeys(ends, op)
            case AddAddress():
                assert (op.netns, op.dev) in self.links
                self.addresses[op.netns, op.dev, op.address] = op
            case AddRoute():
                assert (op.netns, op.dev) in self.links
                assert not op.src or op.src in {
                    key[2].address for key in self.addresses if key[0] == op.netns
                }
                self.routes[op.netns, op.dst] = op
            case AddNeighbour():
                assert (op.netns, op.dev) in self.links
                self.neighbours[op.netns, op.dev, op.address] = op
            case LoadRules() | ChangeRules():
                load_rules(self.tables.setdefault(op.netns, {}), op.text)
            case DelNeighbour():
                del self.neighbours[op.netns, op.dev, op.address]
            case DelRoute():
                gone = self.routes.pop((op.netns, op.dst))
                assert (gone.dev, gone.via) == (op.dev, op.via)
            case DelAddress():
                del self.addresses[op.netns, op.dev, op.address]
                self._address_gone(op.netns, op.address)
                if not any(key[:2] == (op.netns, op.dev) for key in self.addresses):
                    self._drop(self.routes, lambda key, route: key[0] == op.netns and route.dev == op.dev)
            case DelLink():
                link = self.links[op.netns, op.name]
                ends = (
                    {(op.netns, op.name)}
                    if isinstance(link, AddBridge)
                    else {(link.netns, link.name), (link.peer_netns, link.peer)}
                )
                for end in ends:
                    self._device_gone(*end)
            case DelNetns():
                self.netns.remove(op.netns)
                self._drop(self.sysctls, lambda key, _: key[0] == op.netns)
                self.tables.pop(op.netns, None)
            case _:
                raise AssertionError(op)

    def _device_gone(self, netns: str, dev: str) -> None:
        del self.links[netns, dev]
        for key in [key for key in self.addresses if key[:2] == (netns, dev)]:
            del self.addresses[key]
            self._address_gone(netns, key[2])
        self._drop(self.neighbours, lambda key, _: key[:2] == (netns, dev))
        self._drop(self.routes, lambda key, route: key[0] == netns and route.dev == dev)

    def _address_gone(self, netns: str, address: str) -> None:
        self._drop(self.routes, lambda key, route: key[0] == netns and route.src == address.split("/")[0])

    @staticmethod
    def _drop(things: dict[Any, Any], which: Any) -> None:
        for key in [key for key, value in things.items() if which(key, value)]:
            del things[key]

    @property
    def state(self) -> Mapping[str, Any]:
        return vars(self)


# --- rules
# ----------------------------------------------------------------------------------------------------

RULES = st.lists(
    st.sampled_from(
        ["-j A", "-j B", "-j C", "-s 10.0.0.0/8 -j RETURN", "-p tcp -j DROP", "-p udp -j ACCEPT"]
    ),
    max_size=6,
)


@st.composite
def rulesets(draw: st.DrawFn) -> RuleSet:
    """Draws chains that refer to each other; a chain that is referred to exists."""
    tables = {}
    for table in ("filter", "nat"):
        own = draw(st.sets(st.sampled_from("ABC")))
        chains = {}
        for chain in (*sorted(own), "OUTPUT"):
            chains[chain] = tuple(
                r
                for r in draw(RULES)
                if r[-1] not in "ABC"
                or (r[-1] in own and r[-1] > chain[0])
                or (chain == "OUTPUT" and r[-1] in own)
            )
        tables[table] = chains
    return RuleSet(tables)


@given(rulesets(), rulesets())
def test_a_change_of_rules_gives_the_new_rules(old: RuleSet, new: RuleSet) -> None:
    changed: Tables = {}
    load_rules(changed, compose(old))
    load_rules(changed, compare(old, new).text)
    fresh: Tables = {}
    load_rules(fresh, compose(new))
    assert changed == fresh


@given(rulesets())
def test_rules_that_stay_need_no_load(rules: RuleSet) -> None:
    assert not compare(rules, rules)
    assert compare(rules, rules).text == ""


def test_one_line_of_many_is_edited() -> None:
    services = [f"-d 10.96.0.{n}/32 -j KUBE-SVC-{n}" for n in range(1, 101)]
    old = RuleSet(
        {
            "nat": {
                "KUBE-SERVICES": tuple(services),
                **{f"KUBE-SVC-{n}": ("-j RETURN",) for n in range(1, 101)},
            }
        }
    )
    chains = {"KUBE-SERVICES": (*services[:49], "-d 10.96.1.1/32 -j KUBE-SVC-NEW", *services[50:])}
    new = RuleSet({"nat": {**old.tables["nat"], **chains, "KUBE-SVC-NEW": ("-j RETURN",)}})
    new = RuleSet(
        {"nat": {chain: rules for chain, rules in new.tables["nat"].items() if chain != "KUBE-SVC-50"}}
    )
    assert compare(old, new).text.splitlines() == [
        "*nat",
        ":KUBE-SVC-NEW - [0:0]",
        "-D KUBE-SERVICES -d 10.96.0.50/32 -j KUBE-SVC-50",
        "-I KUBE-SERVICES 50 -d 10.96.1.1/32 -j KUBE-SVC-NEW",
        "-A KUBE-SVC-NEW -j RETURN",
        "-F KUBE-SVC-50",
        "-X KUBE-SVC-50",
        "COMMIT",
    ]


# --- plans
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", SHIPPED)
def test_nothing_changed_is_nothing_to_do(topology: str) -> None:
    plan = plan_cluster(state_of(topology))
    assert (
        difference(
            plan, replace(plan, operations=tuple(replace(op, why="another reason") for op in plan.operations))
        ).operations
        == ()
    )


NODES = {"a": "172.18.0.2", "b": "172.18.0.3", "c": "172.18.0.4"}


def network(
    nodes: Mapping[str, int], pods: Mapping[str, tuple[str, int, int]], swapped: frozenset[str]
) -> Plan:
    """Returns a switch with nodes on it (name → a variant of its link); Pods (name → node, address, variant
    of the link) on the nodes' bridges.

    ``swapped``: nodes whose bridge is another one.
    """
    ops: list[Operation] = [
        AddNetns(netns="switch", why="s"),
        AddBridge(netns="switch", name="br0", mac="02:00:00:00:00:01", why="s"),
    ]
    for node, variant in nodes.items():
        ops += [
            AddNetns(netns=node, why=node),
            AddVeth(
                netns="switch",
                name=f"sw-{node}",
                mac="02:00:00:00:00:02",
                bridge="br0",
                peer_netns=node,
                peer="eth0",
                peer_mac=f"02:00:00:00:00:1{variant}",
                why=node,
            ),
            AddBridge(netns=node, name="cbr0", mac=f"02:00:00:00:01:0{int(node in swapped)}", why=node),
            AddAddress(netns=node, dev="eth0", address=InterfaceAddress(f"{NODES[node]}/16"), why=node),
            AddAddress(
                netns=node, dev="eth0", address=InterfaceAddress(f"172.18.9.{variant + 1}/16"), why=node
            ),
            AddAddress(netns=node, dev="cbr0", address=InterfaceAddress("10.0.0.1/24"), why=node),
            *(
                AddRoute(
                    netns=node,
                    dst=Prefix(f"10.{ord(n[0])}.0.0/16"),
                    dev="eth0",
                    via=Address(NODES[n[0]]),
                    why=n,
                )
                for n in nodes
                if n != node
            ),
            LoadRules(
                netns=node,
                tool="iptables-restore",
                family=IPV4,
                rules=RuleSet({"nat": {"OUTPUT": tuple(f"-d {pod[1]} -j RETURN" for pod in pods.values())}}),
                why=node,
            ),
        ]
    for name, (node, number, variant) in pods.items():
        if node not in nodes:
            continue
        ops += [
            AddNetns(netns=name, why=name),
            SetSysctl(netns=name, key="net.x", value=str(variant), why=name),
            AddVeth(
                netns=node,
                name=f"v-{name}",
                mac=f"02:00:00:00:02:0{variant}",
                bridge="cbr0",
                peer_netns=name,
                peer="eth0",
                peer_mac="02:00:00:00:03:00",
                why=name,
            ),
            AddAddress(netns=name, dev="eth0", address=InterfaceAddress(f"10.0.0.{number}/24"), why=name),
            AddRoute(
                netns=name,
                dst=everything(IPV4),
                dev="eth0",
                via=Address("10.0.0.1"),
                src=Address(f"10.0.0.{number}"),
                why=name,
            ),
            AddNeighbour(
                netns=node, dev="cbr0", address=Address(f"10.0.0.{number}"), mac="02:00:00:00:03:00", why=name
            ),
            AddRoute(
                netns=node, dst=Prefix(f"192.0.2.{number}/32"), dev="cbr0", src=Address(NODES[node]), why=name
            ),
        ]
    stages = (AddNetns, SetSysctl, AddBridge, AddVeth, AddAddress, AddRoute, AddNeighbour, LoadRules)
    return Plan(name="network", operations=tuple(sorted(ops, key=lambda op: stages.index(type(op)))))  # type: ignore[arg-type]


NETWORKS = st.builds(
    network,
    st.dictionaries(st.sampled_from(sorted(NODES)), st.integers(0, 1)),
    st.dictionaries(
        st.sampled_from(["p1", "p2", "p3"]),
        st.tuples(st.sampled_from(sorted(NODES)), st.integers(2, 4), st.integers(0, 1)),
        max_size=3,
    ),
    st.frozensets(st.sampled_from(sorted(NODES))),
)


@given(NETWORKS, NETWORKS)
def test_a_difference_gives_the_new_network(old: Plan, new: Plan) -> None:
    assert Kernel().apply(old).apply(difference(old, new)).state == Kernel().apply(new).state


@given(NETWORKS)
def test_a_network_that_stays_needs_nothing(plan: Plan) -> None:
    assert difference(plan, plan).operations == ()


def test_what_goes_goes_before_what_comes() -> None:
    change = difference(
        network({"a": 0, "b": 0}, {"p1": ("b", 2, 0)}, frozenset()),
        network({"a": 0, "c": 0}, {"p1": ("c", 2, 0)}, frozenset()),
    )
    kinds = [type(op).__name__ for op in change.operations]
    assert (
        kinds.index("DelRoute") < kinds.index("DelLink") < kinds.index("DelNetns") < kinds.index("AddNetns")
    )
    assert kinds[-1] == "LoadRules"


def test_a_pod_costs_its_own_operations() -> None:
    pods = {f"p{n}": ("a", n, 0) for n in range(1, 10)}
    old = network({"a": 0, "b": 0}, pods, frozenset())
    new = network({"a": 0, "b": 0}, {**pods, "p9": ("a", 9, 1)}, frozenset())
    touched = {op.why.removeprefix("no longer: ") for op in difference(old, new).operations}
    assert touched == {"p9"}


def test_a_sysctl_cannot_be_taken_back() -> None:
    kept = tuple(op for op in PLAN.operations if not (isinstance(op, SetSysctl) and op.netns == "worker-1"))
    with pytest.raises(UsageError, match="its value before is not known"):
        difference(PLAN, replace(PLAN, operations=kept))


def test_the_difference_of_changes_is_a_mistake() -> None:
    deleting = Plan(name="x", operations=(DelNetns(netns="a", why="w"),))
    with pytest.raises(ValueError, match="cannot be compared"):
        difference(deleting, PLAN)


def test_a_table_of_nfts_own_is_deleted_by_name() -> None:
    table = NftTable("ip kube-proxy", "a table", {}, {})
    load = LoadRules(netns="a", tool="nft", family=IPV4, rules=RuleSet({}, table), why="w")
    base = (AddNetns(netns="a", why="w"),)
    change = difference(Plan(name="x", operations=(*base, load)), Plan(name="x", operations=base))
    assert [op.text for op in change.operations if isinstance(op, ChangeRules)] == [
        "delete table ip kube-proxy\n"
    ]


# --- ipvs mode
# --------------------------------------------------------------------------------------------------

DUMMY = AddDummy(netns="a", name="dummy", why="w")
LOCAL = tuple(
    AddAddress(netns="a", dev="dummy", address=InterfaceAddress(f"10.96.0.{n}/32"), why="w") for n in (1, 2)
)
BALANCED = (
    LoadIpset(netns="a", sets=(AddressSet(name="X", kind="hash:ip", family=IPV4),), why="w"),
    LoadIpvs(netns="a", servers=(), why="w"),
)


def test_a_dummy_goes_with_its_addresses() -> None:
    """Deletes the link alone: its addresses go with it."""
    (netns,) = (op for op in PLAN.operations if isinstance(op, AddNetns) and op.netns == "worker-1")
    dummy, local = replace(DUMMY, netns="worker-1"), tuple(replace(op, netns="worker-1") for op in LOCAL)
    change = difference(
        Plan(name="p", operations=(netns, dummy, *local)), Plan(name="p", operations=(netns,))
    )
    assert [replace(op, why="") for op in change.operations] == [
        DelLink(netns="worker-1", name="dummy", why="")
    ]


def test_an_address_that_goes_alone_takes_no_other_along() -> None:
    """Changes one Service among many at the cost of one address: a /32 is its own subnet, which has no
    secondary addresses.
    """
    netns = AddNetns(netns="a", why="w")
    change = difference(
        Plan(name="p", operations=(netns, DUMMY, *LOCAL)), Plan(name="p", operations=(netns, DUMMY, LOCAL[0]))
    )
    assert [replace(op, why="") for op in change.operations] == [
        DelAddress(netns="a", dev="dummy", address=LOCAL[1].address, why="")
    ]


@pytest.mark.parametrize("gone", BALANCED, ids=lambda op: type(op).__name__)
def test_what_balances_is_not_taken_from_a_node_that_stays(gone: Operation) -> None:
    netns = AddNetns(netns="a", why="w")
    with pytest.raises(UsageError, match="start a new run"):
        difference(Plan(name="p", operations=(netns, gone)), Plan(name="p", operations=(netns,)))
    assert [
        type(op)
        for op in difference(
            Plan(name="p", operations=(netns, gone)), Plan(name="p", operations=())
        ).operations
    ] == [DelNetns]


@pytest.mark.parametrize(
    ("timeouts", "loads"),
    [(IPVSTimeouts(), []), (IPVSTimeouts(udp=1), [IPVSTimeouts(udp=1)])],
    ids=["same", "another"],
)
def test_a_time_out_is_set_when_it_changes(timeouts: IPVSTimeouts, loads: list[IPVSTimeouts]) -> None:
    load = LoadIpvs(netns="a", servers=(), why="w")
    change = difference(
        Plan(name="p", operations=(load,)), Plan(name="p", operations=(replace(load, timeouts=timeouts),))
    )
    assert [op.timeouts for op in change.operations if isinstance(op, LoadIpvs)] == loads
