"""Only ``podnet`` knows how Pods are connected; the others have the facts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulator.cluster.podnetwork import PodNetworkFacts
from emulator.podnet import NETWORKS
from emulator.podnet.network import PodNetwork
from tests.unit.states import make_state

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
    facts = PodNetworkFacts(name="other", gatewayOffset=254, interface="eth1", interfacePrefix="eth")
    assert make_state(podNetwork=facts).gateway("worker-1") == "10.244.1.254"
