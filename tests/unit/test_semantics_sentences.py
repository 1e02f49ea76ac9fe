"""Names the test with packets of every sentence of docs/semantics.md, sections 1 to 12. (Section 13:
test_semantics_ipvs.py; the later ones about userspace mode and load balancers have test files of their own.)
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kernel import test_changes as changes
from tests.kernel import test_semantics as semantics
from tests.kernel import test_semantics_by_hand as by_hand
from tests.kernel import test_semantics_objects as objects

SEMANTICS = Path(__file__).parents[2] / "docs" / "semantics.md"

# A piece of a sentence → pieces of the names of tests (rows of the two tables, or functions). None: it
# promises nothing by itself.
TESTED: dict[str, tuple[str, ...] | None] = {
    "Per Service port": (
        "1 captured: the ClusterIP and port",
        "1 captured: each externalIP and port",
        "1 addresses: each externalIP: another one",
        "1 captured: each load-balancer address and port",
        "1 captured: unless its ipMode is Proxy",
        "1 captured: nodePort on a node's address",
    ),
    "The same port number on TCP, UDP and SCTP": (
        "1 captured: one number on TCP",
        "1 captured: one number on UDP",
        "1 captured: one number on SCTP",
    ),
    "matched to EndpointSlice ports by port": (
        "1 captured: slice ports are matched by name",
        "1 captured: an unset name equals an empty one",
        "1 captured: the backend port is the slice's",
        "1 addresses: slices of one Service may have numbers of their own",
    ),
    "Headless and ExternalName": (
        "1 captured: headless Services",
        "1 captured: ExternalName Services",
        "1 captured: a Service left to another proxy",
    ),
    "Selector-less Services": (
        "1 captured: the ClusterIP and port",
        "1 selectors: a selector's ready Pods are the endpoints",
    ),
    "If two Services claim one address": (
        "1 of two services that claim one address the first by name has it",
    ),
    "That is podwire's choice": None,
    "is not kube-proxy's affair": None,
    "is announced there": None,
    "Nobody announces an externalIP": ("1 captured: each externalIP and port",),
    "*Cluster list*": ("2 endpoint lists: Cluster list: all ready endpoints",),
    "If none is ready": ("all serving and terminating", "draining endpoints are not narrowed by hints"),
    "*Local list*": (
        "2 endpoint lists: Local list: ready endpoints on this node",
        "2 endpoint lists: Local list: if none, the serving and terminating ones",
    ),
    "Hints never apply": ("3 hints: hints never narrow the Local list",),
    "never mixed in one list": ("never mixed in the Cluster list", "never mixed in the Local list"),
    "Terminating and not serving is never used": ("terminating and not serving is never used",),
    "Unset `ready` means ready": ("unset ready means ready", "unset serving means the same as ready"),
    "An endpoint without `nodeName`": ("an endpoint without nodeName is remote to every node",),
    "An address that several entries have": (
        "an address that two entries have is local",
        "and remote to the others",
    ),
    '"Has endpoints"': ("a draining endpoint elsewhere counts as having endpoints",),
    "A usable endpoint without a server": ("2 each endpoint has an end of its own",),
    "Each endpoint has an outcome of its own": ("2 each endpoint has an end of its own",),
    "podwire promises both": ("2 each endpoint has an end of its own",),
    "Hints narrow the Cluster list only if": (
        "3 hints: narrow the Cluster list to the zone",
        "3 hints: only if the node has a zone",
        "3 hints: only if every ready endpoint carries one",
        "3 hints: endpoints that are not ready need none",
        "3 hints: only if one is for this zone",
    ),
    "Node hints (v1.33": (
        "3 hints: PreferSameNode: node hints first",
        "3 hints: PreferSameNode: then zone hints",
        "3 hints: node hints are all or nothing",
        "3 hints: node hints are the slice's to give",
    ),
    "The hints of a Service with a selector": (
        "3 trafficDistribution: PreferClose: the endpoints of the node's zone",
        "3 trafficDistribution: PreferSameZone: the endpoints of the node's zone",
        "3 trafficDistribution: PreferSameNode: the endpoints of the node",
    ),
    "ClusterIP: the Cluster list": (
        "4 eTP Local: ClusterIP: eTP is irrelevant",
        "4 eTP Cluster: ClusterIP under iTP Local: the Local list",
    ),
    "under eTP Cluster, the Cluster list": ("under eTP Cluster: the Cluster list, iTP is irrelevant",),
    "Under eTP Local, clients from outside": (
        "4 eTP Local: NodePort from outside: the Local list",
        "4 eTP Local: NodePort from a Pod: the Cluster list",
        "4 eTP Local: NodePort from the node: the Cluster list",
        "4 eTP Local: NodePort from a Pod: even without a local endpoint",
        "4 eTP Local: NodePort from the node: even without a local endpoint",
        "5 detectLocalMode NodeCIDR, Pods of other nodes",
        "5 detectLocalMode BridgeInterface, Pods of other nodes",
        "5 detectLocalMode InterfaceNamePrefix, Pods of other nodes",
        "5 detectLocalMode ClusterCIDR, Pods of other nodes",
    ),
    "| destination |": None,
    "| ClusterIP, any policy": (
        "ClusterIP from a Pod: its own",
        "ClusterIP from the node: masqueraded",
        "ClusterIP from outside: masqueraded",
    ),
    "| external address, eTP Cluster": (
        "eTP Cluster: NodePort from a Pod: masqueraded",
        "eTP Cluster: NodePort from the node: masqueraded",
        "eTP Cluster: NodePort from localhost: masqueraded",
        "eTP Cluster: NodePort from outside: masqueraded",
    ),
    "| external address, eTP Local": (
        "5 eTP Local: NodePort from a Pod: its own",
        "5 eTP Local: NodePort from the node: masqueraded",
        "5 eTP Local: NodePort from localhost: masqueraded",
        "5 eTP Local: NodePort from outside: its own",
    ),
    "Hairpin": ("eTP Cluster: hairpin: masqueraded", "5 eTP Local: NodePort hairpin: masqueraded"),
    "`masqueradeAll`": (
        "5 masqueradeAll: every ClusterIP connection",
        "5 masqueradeAll: NodePort does not change: from a Pod",
        "5 masqueradeAll: NodePort does not change: from outside",
    ),
    "No local-traffic detector": (
        "5 no local-traffic detector: ClusterIP from the node: its own",
        "5 no local-traffic detector: ClusterIP from outside: its own",
        "5 no local-traffic detector: hairpin",
        "save masqueradeAll: without a detector too",
        "5 no local-traffic detector: NodePort under eTP Local: Pods are outside clients",
    ),
    "The node and localhost keep theirs": (
        "5 no local-traffic detector: NodePort under eTP Local: the node keeps its short cut",
        "5 no local-traffic detector: under eTP Local: localhost keeps it",
    ),
    "Replies to packets that are not masqueraded": None,
    "If neither client nor endpoint is on the dialled node": (
        "5 answers past the node: to a Pod beside the endpoint",
        "5 answers past the node: through the node with the endpoint there is a connection",
    ),
    "This holds for Pods at another node's node port": (
        "5 answers past the node: to a Pod elsewhere",
        "5 answers past the node: to a Pod elsewhere, UDP",
        "5 no local-traffic detector: ClusterIP from outside, through a node without the endpoint",
    ),
    "In iptables mode a Pod's own node drops such a reply": (
        "5 answers past the node: iptables: dropped before a Pod elsewhere",
    ),
    "A node that so meets an endpoint of its own": (
        "5 nodes in clusterCIDR: a node that meets its own endpoint: dropped",
        "5 nodes in clusterCIDR: a node that meets another one's",
    ),
    "act only at load-balancer IPs": (
        "6 source ranges: a source outside is dropped",
        "6 source ranges: Pods included",
    ),
    "NodePort and ClusterIP are not subject": (
        "6 source ranges: NodePort is not subject to them",
        "6 source ranges: ClusterIP is not subject to them",
    ),
    "If the node's primary IP lies in the ranges": (
        "6 source ranges: the Service's own address passes if the node does",
        "6 source ranges: the Service's own address does not pass if the node does not",
    ),
    "Blanks in the CIDRs": ("blanks are tolerated",),
    "If such an address is an externalIP of the Service": (
        "6 source ranges: an address that is an externalIP too: a source outside, iptables",
        "6 source ranges: an address that is an externalIP too: a source outside, nftables",
    ),
    "Admitted packets are then treated by eTP": (
        "what passes is treated by eTP: kept",
        "what passes is treated by eTP: no local endpoint",
    ),
    "No usable endpoint anywhere": (
        "7 reject, eTP Cluster: ClusterIP from a Pod",
        "7 reject, eTP Local: ClusterIP, UDP",
    ),
    "on every address, for every client": (
        "7 reject, eTP Cluster: ClusterIP from the node",
        "7 reject, eTP Cluster: ClusterIP from outside",
        "7 reject, eTP Local: NodePort from outside",
        "7 reject, eTP Local: externalIP from a Pod",
    ),
    "One exception in iptables mode": (
        "externalIP from the node: left alone",
        "load-balancer IP from the node: left alone",
    ),
    "Usable endpoints exist but none for a Local policy": (
        "7 drop: ClusterIP under iTP Local: a Pod",
        "7 drop: ClusterIP under iTP Local: a node",
        "7 drop: ClusterIP under iTP Local: outside",
        "7 drop: NodePort under eTP Local: outside is dropped",
        "7 drop: NodePort under eTP Local: Pods are not",
    ),
    "The slice is deleted": (
        "emptied is refused and restored is served",
        "7 reject, eTP Local: no slice is no endpoint",
    ),
    "iptables: a wrong port, a wrong protocol": (
        "8 nothing matches: iptables: a wrong port",
        "8 nothing matches: iptables: a wrong protocol",
        "8 a Service is gone: iptables",
        "8 nothing matches: nftables: a wrong port",
        "8 nothing matches: nftables: a wrong protocol",
        "8 nothing matches: nftables: a ClusterIP that nobody has is dropped",
        "8 a Service is gone: nftables",
    ),
    "iptables: every local address by default": (
        "9 by default: every local address: eth0",
        "9 by default: every local address: the bridge",
        "9 nodePortAddresses without loopback: inside",
        "9 nodePortAddresses without loopback: outside",
    ),
    "Localhost is served only in IPv4": (
        "9 by default: localhost, masqueraded",
        "9 without localhostNodePorts: not localhost",
        "9 nodePortAddresses without loopback: loopback excluded",
        "9 nodePortAddresses with loopback: loopback included",
        "9 new packets to localhost from elsewhere are dropped",
        "9 in nftables mode: the node's primary address",
        "9 in nftables mode: never localhost",
    ),
    "For eTP Local load balancers": (
        "10 health check: 200 and the count of ready local endpoints",
        "10 health check: 503 when there are none",
        "10 health check, nodePortAddresses: open whatever they say",
        "10 health check is of policy local alone",
        "10 health check is gone with the service",
    ),
    "A Pod that drains is not counted": ("10 health check of what drains: 503, though it is served",),
    "is what kube-proxy's rules do": None,
    "listens, since v1.24, at those addresses": (
        "10 health check, nodePortAddresses: open whatever they say",
    ),
    "Take effect completely": (
        "a replaced endpoint is never chosen again and an added one joins",
        "emptied is refused and restored is served",
    ),
    "A deleted Service's slice left behind": ("11 what is left behind", "8 a Service is gone"),
    "Other Services are unaffected": (
        "a deleted service is gone and another one stays",
        "established connections to what stays survive",
        "affinity survives a change of another service",
    ),
    "Where none does, the release decides": (
        "a udp client of a dead endpoint is left where the release leaves it",
    ),
    "the Service is deleted |": None,
    "| v1.3": ("a udp client of a dead endpoint is left where the release leaves it",),
    "UDP conntrack entries": (
        "a udp client that never stops is served right each time",
        "without forgetting that client would be stuck",
        "connections of others are not forgotten",
    ),
    "`ClientIP`: the same client address": (
        "12 the same client address goes to the same endpoint",
        "12 each use renews it and the timeout ends it",
        "12 an endpoint that is gone is forgotten",
    ),
}


def sentences(first: int = 1, last: int = 12) -> list[tuple[str, str]]:
    """Returns (section's number, sentence) of sections ``first`` to ``last``; a table's row is a sentence."""
    found = []
    for section in re.split(r"^## ", SEMANTICS.read_text(), flags=re.MULTILINE)[first : last + 1]:
        head, _, body = section.partition("\n")
        for block in re.split(r"\n\n|\n(?=- |\|)", body):
            said = " ".join(block.split()).removeprefix("- ")
            parts = [said] if said.startswith("|") else re.split(r"(?<=[.;]) (?=[A-Z])", said)
            found += [(head.partition(".")[0], part) for part in parts if part.strip("|- ")]
    return found


def names() -> set[str]:
    rows = (
        f"{s.name}: {row.sentence}"
        for module in (semantics, objects)
        for s in module.SECTIONS
        for row in s.rows
    )
    functions = (
        n.removeprefix("test_").replace("_", " ")
        for m in (by_hand, changes)
        for n in vars(m)
        if n.startswith("test_")
    )
    return {*rows, *functions}


@pytest.mark.parametrize(
    "sentence", [pytest.param(text, id=f"{number}: {text[:60]}") for number, text in sentences()]
)
def test_a_sentence_has_its_tests(sentence: str) -> None:
    tests = [TESTED[piece] for piece in TESTED if piece in sentence]
    assert tests, "no test is named for it: write one with packets, and name it here"
    missing = [
        piece for pieces in tests for piece in pieces or () if not any(piece in name for name in names())
    ]
    assert not missing


def test_nothing_is_named_for_a_sentence_that_is_gone() -> None:
    every = [text for _, text in sentences()]
    assert not [piece for piece in TESTED if not any(piece in text for text in every)]
