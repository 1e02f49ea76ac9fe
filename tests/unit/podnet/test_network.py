"""Tests that only ``podnet`` depends on how Pods are connected; the others have the facts."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from emulator.cluster.podnetwork import PodNetworkFacts
from emulator.controllers.addresses import address_pods
from emulator.controllers.findings import Draft, Findings
from emulator.controllers.networks import Networks
from emulator.net import IPV6, Address, Prefix
from emulator.objects.kinds import Origin, PodStatus
from emulator.podnet import NETWORKS
from emulator.podnet.hostlocal import NOT_FOR_PODS, host_local
from emulator.podnet.kubenet import KUBENET
from emulator.podnet.network import PodNetwork
from tests.unit.states import make_node, make_pod, make_state

OTHER = PodNetworkFacts(name="other", gatewayOffset=254, interface="eth1", interfacePrefix="eth")
EMULATOR = Path(__file__).parents[3] / "emulator"


@pytest.mark.parametrize("network", NETWORKS.values(), ids=lambda network: network.facts.name)
def test_nobody_else_knows_its_interfaces(network: PodNetwork) -> None:
    facts = network.facts
    names = re.compile(rf"\b({re.escape(facts.interface)}|{re.escape(facts.interfacePrefix)})\b")
    files = [path for path in EMULATOR.rglob("*.py") if path.parent.name != "podnet"]
    assert [path.name for path in files if names.search(path.read_text())] == []


def test_the_gateway_is_where_the_facts_say() -> None:
    state = make_state()
    assert state.gateway("worker-1") == "10.244.1.1"
    assert make_state(podNetwork=OTHER).gateway("worker-1") == "10.244.1.254"


@pytest.mark.parametrize(
    ("facts", "cidr", "first", "last"),
    [
        (KUBENET.facts, "10.244.1.0/24", "10.244.1.2", "10.244.1.254"),
        (OTHER, "10.244.1.0/24", "10.244.1.1", "10.244.1.253"),
        (KUBENET.facts, "fd00::/120", "fd00::2", "fd00::ff"),
    ],
)
def test_host_local_gives_every_address_but_the_gateway_s(
    facts: PodNetworkFacts, cidr: str, first: str, last: str
) -> None:
    prefix = Prefix(cidr)
    given = list(host_local(facts, prefix))
    assert (given[0], given[-1]) == (first, last)
    assert given == sorted(set(given))
    assert facts.gateway(prefix) not in given
    assert len(given) == prefix.size - NOT_FOR_PODS + (prefix.family is IPV6)


def test_pods_get_addresses_by_the_rules_of_their_network() -> None:
    network = replace(KUBENET, facts=OTHER)
    networks = Networks(
        pods=Prefix("10.244.0.0/16"),
        services=Prefix("10.96.0.0/16"),
        hosts=Prefix("172.18.0.0/16"),
        router=Address("172.18.0.1"),
        podNetwork=network,
    )
    pod = replace(make_pod("p", "worker-1", "10.244.1.1"), status=PodStatus())
    pods = [Draft(pod, Origin("stdin"))] * 254
    findings = Findings()
    found = address_pods(pods, [make_node("worker-1", 1)], networks, (), findings)
    assert [draft.object.ips for draft in (found[0], found[252], found[253])] == [
        ("10.244.1.1",),
        ("10.244.1.253",),
        (),
    ]
