"""Tests the objects that real kube-proxies are served."""

from __future__ import annotations

from dataclasses import replace

from emulator.run.kubeproxies import write_objects
from emulator.store.manifests import view
from emulator.store.objects import Key
from emulator.store.store import Store
from emulator.workload.kubeproxy import Mark
from tests.conftest import GOLDEN
from tests.objects import golden_state

STATE = golden_state(GOLDEN / "kube-proxy-v1.30.5")
SYNC = Key("Service", "podwire", "sync")


def test_they_see_the_objects_of_the_state_and_a_mark() -> None:
    store = Store()
    write_objects(store, STATE, Mark(4))
    services = {(one.key.namespace, one.key.name) for one in store.list("Service")}
    assert services == {(s.metadata.namespace, s.metadata.name) for s in STATE.services} | {
        ("podwire", "sync")
    }
    assert len(store.list("EndpointSlice")) == len(STATE.endpointSlices) + 1
    assert [one.key.name for one in store.list("Node")] == [node.name for node in STATE.nodes]
    sync = store.get(SYNC)
    assert sync is not None
    assert view(sync)["spec"]["ports"] == [{"port": 5, "targetPort": 5}]


def test_a_later_state_writes_what_differs_alone() -> None:
    store = Store()
    write_objects(store, STATE, Mark(1))
    before = store.resourceVersion
    fewer = replace(STATE, services=STATE.services[1:], endpointSlices=STATE.endpointSlices[1:])
    write_objects(store, fewer, Mark(2))
    changed = {(event.type, event.stored.key.kind, event.stored.key.name) for event in store.watch(before)}
    service, part = STATE.services[0].metadata.name, STATE.endpointSlices[0].metadata.name
    assert changed == {
        ("DELETED", "Service", service),
        ("DELETED", "EndpointSlice", part),
        ("MODIFIED", "Service", "sync"),
        ("MODIFIED", "EndpointSlice", "sync"),
    }


def test_the_range_of_cluster_ips_is_that_of_the_cluster() -> None:
    store = Store()
    write_objects(store, STATE, Mark(1))
    (cidr,) = store.list("ServiceCIDR.networking.k8s.io")
    assert view(cidr)["spec"] == {"cidrs": [str(STATE.serviceSubnet)]}
