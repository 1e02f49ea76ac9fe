"""Tests a sentence for each reason why a Service has no address or no hints, a slice is not used, or a value
is odd, word by word. (tests/unit/test_warnings.py has every code.)
"""

from __future__ import annotations

from typing import Any

import pytest

from emulator.objects.references import ObjectRef, service_ref
from emulator.objects.warnings import (
    Code,
    ManifestWarning,
    NoAddress,
    NoHints,
    OddValue,
    OddYaml,
    UnusedSlice,
)
from emulator.report.prose_of_warnings import say_warning

HINTS = "Service default/web has no topology hints, despite its annotation a: "
NONE = "Service default/web has no load-balancer address: "
POOLS = ("a (172.18.9.0-172.18.9.3)", "b (172.18.7.0-172.18.7.9)")
ADDRESSES: dict[NoAddress, str] = {
    NoAddress.UNREADABLE: f"{NONE}it asks for 172.18.9.1, which is no address",
    NoAddress.IN_NO_POOL: (
        f"{NONE}it asks for 172.18.9.1, which is not in the pool {POOLS[0]} or the pool {POOLS[1]}"
    ),
    NoAddress.POOL_FOR_OTHERS: (
        f"{NONE}it asks for 172.18.9.1, which is in the pool {POOLS[0]}, which is not for it"
    ),
    NoAddress.SEVERAL_REQUESTS: (
        f"{NONE}it asks for 172.18.9.1, which is not its only request: MetalLB wants loadBalancerIPs or "
        "spec.loadBalancerIP alone"
    ),
    NoAddress.OTHER_POOL: (
        f"{NONE}it asks for 172.18.9.1, which is not in IPAddressPool {POOLS[0]}, for which it asks, too"
    ),
    NoAddress.TAKEN: f"{NONE}it asks for 172.18.9.1, which is taken",
    NoAddress.NOT_SHARED: (
        f"{NONE}it asks for 172.18.9.1, which Service default/z has, and the two do not share it"
    ),
    NoAddress.OTHER_SELECTOR: (
        f"{NONE}it asks for 172.18.9.1, which Service default/z has: under externalTrafficPolicy Local only "
        "Services with the same selector share an address"
    ),
    NoAddress.SAME_PORT: (f"{NONE}it asks for 172.18.9.1, which Service default/z shares, but for 80/TCP"),
    NoAddress.LEFT_TO_CLASS: (
        "Service default/web is left to its loadBalancerClass 172.18.9.1: it has no address"
    ),
    NoAddress.NONE_FOR_IT: f"{NONE}no address of the pool {POOLS[0]} or the pool {POOLS[1]} is for it",
    NoAddress.NAMED_FOR_OTHERS: f"{NONE}it asks for IPAddressPool {POOLS[0]}, which is not for it",
    NoAddress.NAMED_IS_MISSING: f"{NONE}it asks for IPAddressPool {POOLS[0]}, which is not there",
    NoAddress.NONE_LEFT: f"{NONE}the pool {POOLS[0]} or the pool {POOLS[1]} has none left",
}
BOTH_POOLS = (NoAddress.IN_NO_POOL, NoAddress.NONE_FOR_IT, NoAddress.NONE_LEFT)
NO_HINTS: dict[NoHints, str] = {
    NoHints.NODE_WITHOUT_ZONE: f"{HINTS}node n has no label topology.kubernetes.io/zone",
    NoHints.NODE_WITHOUT_CPUS: f"{HINTS}node n does not say its CPUs (status.allocatable.cpu)",
    NoHints.ONE_ZONE: f"{HINTS}the ready nodes are not in two zones",
    NoHints.ENDPOINT_WITHOUT_ZONE: f"{HINTS}an endpoint is on a node without a zone",
    NoHints.FEW_ENDPOINTS: f"{HINTS}there are fewer ready endpoints (2) than zones (3)",
    NoHints.OVERLOAD: f"{HINTS}2 endpoints would overload those of a zone by more than 20%",
}
SLICES: dict[UnusedSlice, str] = {
    UnusedSlice.FQDN: "left out: EndpointSlice default/s of type FQDN, which kube-proxy ignores",
    UnusedSlice.OTHER_PROXY: "left out: EndpointSlice default/s which its label l leaves to another proxy",
    UnusedSlice.NO_SERVICE: "left out: EndpointSlice default/s without the label l",
}
ODD: dict[OddValue, str] = {
    OddValue.LEADING_ZEROS: (
        "'010.1.2.3' is read as 10.1.2.3: leading zeros are decimal, as Kubernetes before 1.36 takes them"
    ),
    OddValue.IPV4_MAPPED: (
        "'010.1.2.3' is read as 10.1.2.3: an IPv4-mapped address, which Kubernetes before 1.36 takes"
    ),
    OddValue.TWO_FAMILIES: ("'010.1.2.3': the IPv4 half is taken: podwire builds IPv4 networks only so far"),
    OddValue.DUAL_STACK: "010.1.2.3: the IPv4 half is taken: podwire builds IPv4 networks only so far",
    OddValue.TWO_POD_CIDRS: (
        "podCIDR is '010.1.2.3', which counts: podCIDRs is left out, as the API server does"
    ),
    OddValue.NO_IP_ADDRESS: (
        "'010.1.2.3' is no IP address: no balancer can give it, and the Service gets a free one"
    ),
}
YAML: dict[OddYaml, str] = {
    OddYaml.TWICE: "the key 'y' is there twice: the last one counts, as with kubectl",
    OddYaml.LETTER: "kubectl takes a plain y for a boolean: write it in quotes where it is a word",
}


def say(code: Code, about: ObjectRef, **parts: Any) -> str:
    return say_warning(ManifestWarning(code=code, object=about, parts=tuple(parts.items())))


@pytest.mark.parametrize("why", NoAddress)
def test_why_a_service_has_no_address(why: NoAddress) -> None:
    pools = POOLS if why in BOTH_POOLS else POOLS[:1]
    parts = {"asked": "172.18.9.1", "pools": pools, "holder": "default/z", "port": "80/TCP"}
    about = service_ref("default/web")
    assert say(Code.NO_LOAD_BALANCER_ADDRESS, about, why=why, **parts) == ADDRESSES[why]


@pytest.mark.parametrize("why", NoHints)
def test_why_a_service_has_no_hints(why: NoHints) -> None:
    parts = {"annotation": "a", "node": "n", "endpoints": 2, "zones": 3}
    assert say(Code.NO_HINTS, service_ref("default/web"), why=why, **parts) == NO_HINTS[why]


@pytest.mark.parametrize("why", UnusedSlice)
def test_why_a_slice_is_not_used(why: UnusedSlice) -> None:
    about = ObjectRef("EndpointSlice", "default/s")
    assert say(Code.UNUSED_SLICE, about, why=why, label="l") == SLICES[why]


@pytest.mark.parametrize("code", [Code.ODD_VALUE, Code.IPV6])
@pytest.mark.parametrize("why", OddValue)
def test_what_is_odd_about_a_value(why: OddValue, code: Code) -> None:
    about = service_ref("default/web", "spec.x")
    said = say(code, about, why=why, value="010.1.2.3", meant="10.1.2.3")
    assert said == f"Service default/web: spec.x: {ODD[why]}"


def test_ipv6_that_is_left_out_has_no_place() -> None:
    said = say(Code.IPV6, ObjectRef("", ""))
    assert said == "IPv6 addresses are left out: podwire builds IPv4 networks only so far"


@pytest.mark.parametrize("why", OddYaml)
def test_what_yaml_says_otherwise(why: OddYaml) -> None:
    about = service_ref("default/web")
    assert say(Code.YAML, about, why=why, value="y", more=0) == YAML[why]
    assert say(Code.YAML, about, why=why, value="y", more=2) == f"{YAML[why]} (and 2 more)"


def test_a_step_without_flows_is_not_checked() -> None:
    about = ObjectRef("FlowCheck", "default/c", "spec.steps[0]")
    said = "has no flows, and no step follows: its change is not checked"
    assert say(Code.UNCHECKED_STEP, about) == f"FlowCheck default/c: spec.steps[0]: {said}"
