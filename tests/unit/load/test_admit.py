"""Tests the kinds of faults that admission finds: those that a kube-apiserver gives for the same field."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.load.admit import admit
from emulator.load.faults import FaultKind, path_text
from emulator.load.schema import Kind, identify

PORTS = [{"name": "a", "port": 80}, {"name": "a", "port": 81}]
POD = {"containers": [{"name": "c"}]}


@pytest.mark.parametrize(
    ("kind", "spec", "field", "found"),
    [
        ("Service", {"ports": []}, "spec.ports", FaultKind.REQUIRED),
        ("Service", {"ports": [{"port": 80}, {"port": 81}]}, "spec.ports[1].name", FaultKind.REQUIRED),
        ("Service", {"ports": [{"port": 0}]}, "spec.ports[0].port", FaultKind.INVALID),
        ("Service", {"ports": [{"port": "x"}]}, "spec.ports[0].port", FaultKind.TYPE_INVALID),
        ("Service", {"ports": PORTS}, "spec.ports[1].name", FaultKind.DUPLICATE),
        ("Service", {"ports": PORTS[:1], "type": "Odd"}, "spec.type", FaultKind.NOT_SUPPORTED),
        (
            "Service",
            {"ports": PORTS[:1], "ipFamilies": ["IPv5"]},
            "spec.ipFamilies[0]",
            FaultKind.NOT_SUPPORTED,
        ),
        (
            "Service",
            {"ports": [{"port": 80, "nodePort": 30080}]},
            "spec.ports[0].nodePort",
            FaultKind.FORBIDDEN,
        ),
        (
            "Service",
            {"ports": PORTS[:1], "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "10.96.0.2"]},
            "spec.clusterIPs[1]",
            FaultKind.INVALID,
        ),
        ("Pod", {"containers": []}, "spec.containers", FaultKind.REQUIRED),
        ("Pod", {**POD, "dnsPolicy": "Odd"}, "spec.dnsPolicy", FaultKind.NOT_SUPPORTED),
        (
            "Pod",
            {**POD, "schedulingGates": [{"name": "g"}], "nodeName": "n"},
            "spec.nodeName",
            FaultKind.FORBIDDEN,
        ),
    ],
)
def test_a_fault_has_the_kind_that_a_server_gives_it(
    kind: str, spec: dict[str, Any], field: str, found: FaultKind
) -> None:
    manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    identified = identify(manifest)
    assert isinstance(identified, Kind)
    faults = {path_text(fault.path): fault.kind for fault in admit(identified, manifest).faults}
    assert faults[field] is found


@pytest.mark.parametrize(("addresses", "found"), [([], FaultKind.REQUIRED), (101, FaultKind.TOO_MANY)])
def test_an_endpoint_has_between_one_and_a_hundred_addresses(addresses: Any, found: FaultKind) -> None:
    if isinstance(addresses, int):
        addresses = [f"10.244.1.{index + 1}" for index in range(addresses)]
    manifest = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "x"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": addresses}],
    }
    identified = identify(manifest)
    assert isinstance(identified, Kind)
    assert [fault.kind for fault in admit(identified, manifest).faults] == [found]
