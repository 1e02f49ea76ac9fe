"""Names the test with packets, in a kernel with IPVS, of every sentence of docs/semantics.md, section 13."""

from __future__ import annotations

import pytest

from tests.kernel import test_changes as changes
from tests.kernel import test_ipvs_changes as own_changes
from tests.kernel import test_ipvs_mode as mode
from tests.kernel import test_ipvs_semantics as semantics
from tests.kernel.test_random_clusters import FOUND
from tests.unit.test_semantics_sentences import sentences

# A piece of a sentence → pieces of the names of tests (rows, functions, or clusters that were found). None:
# it promises nothing by itself.
TESTED: dict[str, tuple[str, ...] | None] = {
    "Every Service address is also a local address": (
        "packets do what is promised",
        "round robin gives each endpoint its turn",
        "each scheduler of kube proxy balances",
        "a change leaves what the new cluster wants",
    ),
    "Where ipvs deviates": None,
    "externalTrafficPolicy Local is for everyone": (
        "4 eTP Local: NodePort from a Pod: the node's own endpoints",
        "4 eTP Local: NodePort from the node: its own endpoints",
        "5 detectLocalMode ClusterCIDR, Pods of other nodes: NodePort from a Pod: its own",
    ),
    "Where a Local policy finds no endpoint": (
        "4 eTP Local: NodePort from a Pod: any endpoint where the node has none",
        "7 drop: ClusterIP under iTP Local: a Pod gets any endpoint",
    ),
    "hears from the endpoint's own address, past the node": (
        "outside gets any endpoint, which answers past the node",
    ),
    "A Service that has a ClusterIP alone": (
        "a ClusterIP alone: rejected without a local endpoint",
        "rejected where no entry is local",
    ),
    "An endpoint at a multicast address, or at a broadcast address": (
        "13 in ipvs mode: elsewhere it is an endpoint as any other",
        "13 in ipvs mode: others are met beside it",
    ),
    "Alone it leaves a virtual server without endpoints": (
        "13 in ipvs mode: an endpoint at its own network's broadcast address is left out",
    ),
    "A Pod that meets itself": (
        "13 in ipvs mode: a Pod meets itself in vain",
        "13 in ipvs mode: another Service's slice will do",
        "ipvs-hairpin",
    ),
    "Nor does it by another node's port": (
        "13 in ipvs mode: a Pod meets itself by another node's port, and hears from itself",
    ),
    "A node that is led back to itself": (
        "13 in ipvs mode: a node that is led back to itself",
        "ipvs-host-network",
    ),
    "Source ranges hold without an endpoint": (
        "13 in ipvs mode: source ranges come before the want of an endpoint",
        "13 in ipvs mode: the node's own packets: rejected",
    ),
    "A closed port of a Service's address": (
        "8 nothing matches: a wrong port of a ClusterIP is rejected",
        "8 nothing matches: a wrong port of a load-balancer address is rejected",
        "8 nothing matches: and ICMP echo",
    ),
    "An address of the service CIDR": (
        "8 nothing matches: a ClusterIP that nobody has is left alone",
        "11 what is left behind: a ClusterIP whose Service is gone is left alone",
    ),
    "does so from that very address": (
        "from the node: its own endpoints, which see the address that it dialled",
    ),
    "It is masqueraded by a ClusterIP": (
        "5 no local-traffic detector: ClusterIP from the node: from the very address, and masqueraded",
        "5 ClusterIP and eTP Cluster: externalIP from the node: masqueraded",
    ),
    "Under Local it is not": (
        "5 eTP Local: externalIP from the node: its own endpoints",
        "no other node takes packets from an address that it has itself",
        "7 drop: NodePort from a node without endpoints: any",
        "ipvs-lost",
    ),
    "A refusal by": ("ipvs-refused-outside",),
    "that is a node's own stays that node's": ("ipvs-own-address",),
    # such a network has no order; the notice: tests/unit/controllers/test_ipvs.py
    "Every other node takes it for its own": None,
    "A client outside that has a Service's own address": (
        "a client outside that has the Service's own address is no match for the node",
    ),
    "Without usable endpoints a node's own packets": ("7 reject, eTP Cluster: externalIP from the node",),
    "An endpoint that goes keeps the TCP connections": (
        "established connections to what stays survive",
        "a deleted service is gone and another one stays",
        "an endpoint that changes is edited",
    ),
    "A UDP client stays with no endpoint": ("a udp client that never stops is served right each time",),
    "hears from the Service's address": ("a connection that has ended spoils its port for the endpoint",),
    "Node ports are at every local address": (
        "9 in ipvs mode: every local address: eth0",
        "9 in ipvs mode: every local address: the bridge",
        "9 in ipvs mode: never localhost",
        "9 nodePortAddresses in ipvs mode: outside",
        "8 nothing matches: a node port at a ClusterIP is a wrong port of it",
    ),
    "Session affinity lasts": (
        "12 affinity lasts until its timeout after the last connection",
        "12 a udp client that is silent for the time out is led elsewhere",
    ),
}


def names() -> set[str]:
    modules = (semantics, mode, changes, own_changes)
    functions = (
        name.removeprefix("test_").replace("_", " ")
        for module in modules
        for name in vars(module)
        if name.startswith("test_")
    )
    return {*(str(case.id) for case in semantics.cases()), *functions, *(file.stem for file in FOUND)}


@pytest.mark.parametrize("sentence", [pytest.param(text, id=text[:60]) for _, text in sentences(13, 13)])
def test_a_sentence_has_its_tests(sentence: str) -> None:
    tests = [TESTED[piece] for piece in TESTED if piece in sentence]
    assert tests, "no test is named for it: write one with packets, and name it here"
    every = names()
    assert not [
        piece for pieces in tests for piece in pieces or () if not any(piece in name for name in every)
    ]


def test_nothing_is_named_for_a_sentence_that_is_gone() -> None:
    every = [text for _, text in sentences(13, 13)]
    assert not [piece for piece in TESTED if not any(piece in text for text in every)]
