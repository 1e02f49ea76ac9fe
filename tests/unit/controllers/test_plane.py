"""Tests the control plane: a fixed point, shared objects, and kept manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from emulator.cluster.state import ClusterState
from emulator.controllers.garbage import delete
from emulator.controllers.plane import NOW, ControlPlane
from emulator.errors import InputError
from emulator.load.load import load
from emulator.store.manifests import render
from emulator.store.objects import Key
from tests.sandboxed import TOPOLOGIES
from tests.unit.controllers.clusters import (
    cluster,
    inventory_of,
    node,
    pod,
    problems_of,
    service,
    workload,
)

NODES = cluster("{role: control-plane}, {role: worker}, {role: worker}")
SHIPPED = sorted(
    {path.name.removesuffix(path.suffix) for path in TOPOLOGIES.iterdir() if path.name[0] not in "_."}
)
CASES = sorted(
    path
    for path in (Path(__file__).parents[2] / "cases").iterdir()
    if path.suffix == ".yaml" and not path.name.endswith(".want.yaml")
)


def plane_of(*manifests: str) -> ControlPlane:
    plane = ControlPlane(inventory_of(*manifests))
    plane.reconcile()
    return plane


def settled(plane: ControlPlane) -> ClusterState:
    plane.reconcile()
    state = plane.snapshot()
    assert plane.findings.problems == ()
    return state


def raw(manifest: str) -> Mapping[str, Any]:
    """Returns the manifest as a user would send it to the API."""
    inventory = inventory_of(manifest)
    (loaded,) = (*inventory.pods, *inventory.services, *inventory.nodes)
    return loaded.raw


# --- a fixed point ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [*SHIPPED, *map(str, CASES)], ids=lambda target: Path(target).stem)
def test_controllers_that_run_again_write_nothing(target: str) -> None:
    try:
        inventory = load([target], topologies=TOPOLOGIES)
    except InputError:
        wanted = Path(target).with_suffix(".want.yaml").read_text()
        assert "exit: 2" in wanted, "only what is wanted refused may be"
        pytest.skip("cannot be read, as it is meant to be")
    plane = ControlPlane(inventory)
    plane.reconcile()
    first = plane.snapshot()
    written = plane.store.resourceVersion
    plane.resync()
    assert plane.store.resourceVersion == written
    again = plane.snapshot()
    for field in fields(ClusterState):
        if field.name not in ("notices", "waiting"):  # which say how full the nodes are now
            was, now = getattr(first, field.name), getattr(again, field.name)
            same = was == now if field.name in ("routerIP", "balancerIP") else was is now
            assert same, field.name


# --- what a change costs ----------------------------------------------------------------------------------


def test_a_snapshot_shares_with_the_last_one_what_did_not_change() -> None:
    web = pod("a", labels="app: web", ports="{containerPort: 80}")
    other = pod("b", labels="app: other", ports="{containerPort: 80}")
    services = [
        service(name, f"selector: {{app: {name}}}, ports: [{{port: 80}}]") for name in ("web", "other")
    ]
    plane = plane_of(NODES, web, other, *services)
    before = plane.snapshot()
    sick = pod(
        "a",
        labels="app: web",
        ports="{containerPort: 80}",
        status="conditions: [{type: Ready, status: 'False'}]",
    )
    plane.store.apply(raw(sick), now=NOW)
    after = settled(plane)
    for name in ("nodes", "services", "clients", "speakers", "listeners", "proxy", "workloads"):
        assert getattr(after, name) is getattr(before, name), name
    changed = [one.key for one, was in zip(after.pods, before.pods, strict=True) if one is not was]
    assert changed == ["default/a"]
    slices = zip(after.endpointSlices, before.endpointSlices, strict=True)
    assert [new.serviceName for new, old in slices if new is not old] == ["web"]
    assert not after.slices_of["default/web"][0].endpoints[0].ready
    assert after.slices_of["default/web"][0].metadata == before.slices_of["default/web"][0].metadata
    assert settled(plane) == after


def test_change_by_change_is_the_same_as_at_once() -> None:
    manifests = [
        pod("a", labels="app: web", ports="{containerPort: 80}"),
        service(
            "web",
            "type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 80}]",
        ),
        pod("b", labels="app: web", ports="{containerPort: 80}", spec="nodeName: worker-2"),
    ]
    at_once = settled(plane_of(NODES, *manifests))
    plane = plane_of(NODES)
    settled(plane)
    for manifest in manifests:
        plane.store.create(raw(manifest), now=NOW)
        last = settled(plane)
    for name in ("pods", "services", "endpointSlices", "listeners", "speakers", "nodes"):
        assert getattr(last, name) == getattr(at_once, name), name


# --- what is in the store ---------------------------------------------------------------------------------


def test_manifests_are_kept_and_what_was_given_out_is_added() -> None:
    written = pod("a", spec="terminationGracePeriodSeconds: 5")
    plane = plane_of(NODES, written, workload("Deployment", "web"))
    stored = plane.store.get(Key("Pod", "default", "a"))
    assert stored is not None
    manifest = render(stored)
    assert manifest["spec"]["terminationGracePeriodSeconds"] == 5
    assert manifest["spec"]["nodeName"] == "worker-1"
    assert manifest["status"]["podIP"] == stored.object.ip
    made = next(one for one in plane.store.list("Pod") if one.key.name.startswith("web-"))
    assert json.loads(json.dumps(render(made)))["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"


def test_everything_that_was_given_is_in_the_snapshot() -> None:
    state = settled(
        plane_of(
            NODES,
            "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {a: b}}}",
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i}, spec: {}}",
            "{apiVersion: v1, kind: Endpoints, metadata: {name: e}, subsets: []}",
            workload("Deployment", "web"),
        )
    )
    assert [one.metadata.labels for one in state.namespaces] == [{"a": "b"}]
    assert [one.key for one in state.workloads] == ["default/web"]
    assert [one.metadata.name for one in state.endpoints] == ["e"]
    assert [(one.kind, one.key) for one in state.uninterpreted] == [("Ingress", "default/i")]


# --- controllers follow writes ----------------------------------------------------------------------------


def test_a_deleted_pod_is_replaced_and_a_deleted_workload_takes_its_pods_along() -> None:
    plane = plane_of(NODES, workload("Deployment", "web", replicas=2))
    before = {one.key for one in settled(plane).pods}
    gone = next(key for key in before if "web-" in key)
    delete(plane.store, Key("Pod", *gone.split("/")))
    after = {one.key for one in settled(plane).pods}
    assert (len(after), len(after - before), gone in after) == (len(before), 1, False)
    assert delete(plane.store, Key("Deployment", "default", "web"))
    assert not [one for one in settled(plane).pods if "web-" in one.key]
    assert not delete(plane.store, Key("Namespace", "", "nobodys"))


def test_a_pod_waits_until_a_node_takes_it() -> None:
    plane = plane_of(NODES, pod("p", spec="nodeSelector: {gpu: x}"))
    assert [row.pod.key for row in settled(plane).waiting] == ["default/p"]
    plane.store.create(raw(node("big", labels="gpu: x")), now=NOW)
    state = settled(plane)
    assert (state.waiting, state.pod["default/p"].spec.nodeName) == ((), "big")


def test_a_fork_goes_its_own_way() -> None:
    plane = plane_of(NODES, workload("Deployment", "web", replicas=2))
    before = settled(plane)
    twin = plane.fork()
    delete(twin.store, Key("Deployment", "default", "web"))
    assert len(settled(twin).pods) < len(before.pods)
    assert settled(plane) == before


def test_a_node_that_finds_no_room_is_told() -> None:
    balancer = service(
        "b", "type: LoadBalancer, externalTrafficPolicy: Local, selector: {a: b}, ports: [{port: 80}]"
    )
    tiny = cluster(
        "{role: control-plane, addresses: [172.18.0.2]}, {role: worker}", hostSubnet="172.18.0.0/30"
    )
    assert "hostSubnet 172.18.0.0/30 is too small" in "\n".join(map(str, problems_of(tiny, balancer)))


WEB = service("web", "selector: {app: web}, ports: [{port: 80}]")


def test_a_slice_that_somebody_deletes_is_made_again() -> None:
    """Holds what the EndpointSlice controller does: a Service has its slice, whatever users delete."""
    plane = plane_of(NODES, pod("web", labels="app: web"), WEB)
    before = settled(plane)
    (slice_,) = (one for one in plane.store.list("EndpointSlice") if one.object.serviceName == "web")
    plane.store.finalize(slice_.key)
    assert settled(plane).endpointSlices == before.endpointSlices
