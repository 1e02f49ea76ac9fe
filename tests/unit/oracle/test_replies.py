"""Tests the path of replies to packets that were not masqueraded."""

from __future__ import annotations

import pytest

from emulator.model.flows import Client
from emulator.net import Address
from emulator.oracle.replies import Reply, way_of_reply

POD = Client(kind="pod", label="pod default/a", netns="default_a", ip=Address("10.244.1.2"), node="worker-1")
NODE = Client(kind="node", label="node worker-1", netns="worker-1", ip=Address("172.18.0.3"), node="worker-1")
OUTSIDE = Client(kind="external", label="external client-1", netns="client-1", ip=Address("203.0.113.10"))


@pytest.mark.parametrize(
    ("client", "translator", "endpoint", "iptables", "nftables"),
    [
        (POD, "worker-1", "worker-2", "back", "back"),
        (POD, "worker-2", "worker-2", "back", "back"),
        (POD, "worker-2", "worker-1", "asymmetric", "asymmetric"),
        (POD, "worker-2", "worker-3", "lost", "asymmetric"),
        (NODE, "worker-1", "worker-2", "back", "back"),
        (NODE, "worker-2", "worker-1", "lost", "lost"),
        (NODE, "worker-2", "worker-3", "asymmetric", "asymmetric"),
        (OUTSIDE, "worker-1", "worker-1", "back", "back"),
        (OUTSIDE, "worker-1", "worker-2", "asymmetric", "asymmetric"),
        (OUTSIDE, "worker-1", "", "asymmetric", "asymmetric"),
    ],
)
def test_way_of_reply(
    client: Client, translator: str, endpoint: str, iptables: Reply, nftables: Reply
) -> None:
    assert way_of_reply(client, "TCP", translator, endpoint, drops_invalid=True) == iptables
    assert way_of_reply(client, "TCP", translator, endpoint, drops_invalid=False) == nftables


@pytest.mark.parametrize(("protocol", "way"), [("TCP", "lost"), ("SCTP", "lost"), ("UDP", "asymmetric")])
def test_no_datagram_is_invalid(protocol: str, way: Reply) -> None:
    assert way_of_reply(POD, protocol, "worker-2", "worker-3", drops_invalid=True) == way
