"""Pods of controllers: names, labels, owners, and when none are made."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.control.names import MAX_GENERATED_LENGTH, SAFE_ALPHABET, generate_name
from tests.unit.control.clusters import cluster, node, pod, problem_of, settled, users_pods, workload

SAFE = f"[{SAFE_ALPHABET}]"


@pytest.mark.parametrize(
    ("kind", "pattern", "owner"),
    [
        ("Deployment", rf"web-(?P<hash>{SAFE}{{1,10}})-{SAFE}{{5}}", "ReplicaSet"),
        ("ReplicaSet", rf"web-{SAFE}{{5}}", "ReplicaSet"),
        ("StatefulSet", r"web-[01]", "StatefulSet"),
    ],
)
def test_names_and_owners(kind: str, pattern: str, owner: str) -> None:
    pods = users_pods(settled(workload(kind, "web", 2)))
    assert len({p.name for p in pods}) == 2
    for made in pods:
        match = re.fullmatch(pattern, made.name)
        assert match
        (reference,) = made.metadata.ownerReferences
        assert (reference.kind, reference.controller) == (owner, True)
        assert reference.name == (f"web-{match['hash']}" if kind == "Deployment" else "web")
        if kind == "Deployment":
            assert made.metadata.labels == {"app": "web", "pod-template-hash": match["hash"]}


def test_stateful_pods_have_an_identity() -> None:
    pods = users_pods(settled(workload("StatefulSet", "db", 2, spec="serviceName: db-peers,")))
    assert [(p.name, p.spec.hostname, p.spec.subdomain) for p in pods] == [("db-0", "db-0", "db-peers"), ("db-1", "db-1", "db-peers")]
    assert pods[1].metadata.labels == {"app": "db", "statefulset.kubernetes.io/pod-name": "db-1", "apps.kubernetes.io/pod-index": "1"}


def test_a_daemon_runs_on_every_node_that_takes_it() -> None:
    unschedulable = node("cordoned", spec="unschedulable: true")
    tainted = node("tainted", spec="taints: [{key: gpu, effect: NoSchedule}]")
    pods = users_pods(settled(node("plain"), unschedulable, tainted, workload("DaemonSet", "agent", None)))
    assert [p.spec.nodeName for p in pods] == ["plain", "cordoned"]
    assert all(re.fullmatch(rf"agent-{SAFE}{{5}}", p.name) for p in pods)


def test_names_depend_on_the_seed_and_on_nothing_else() -> None:
    def names(*manifests: str, seed: int = 0) -> set[str]:
        return {p.name for p in users_pods(settled(*manifests, seed=seed)) if p.name.startswith("web")}

    web = workload("Deployment", "web", 3)
    assert names(web) == names(web) == names(workload("Deployment", "api", 2), web, pod("client"))
    assert not names(web) & names(web, seed=1)


def test_another_template_has_another_hash() -> None:
    one, other = (users_pods(settled(workload("Deployment", "web", ports=f"{{containerPort: {p}}}")))[0] for p in (80, 81))
    assert one.metadata.labels["pod-template-hash"] != other.metadata.labels["pod-template-hash"]


OWNED = "ownerReferences: [{apiVersion: apps/v1, kind: %s, name: %s, uid: u, controller: true}]"


def test_a_dump_is_not_made_twice() -> None:
    replica_set = workload("ReplicaSet", "web-5d8f7", 2).replace(
        "name: web-5d8f7}", "name: web-5d8f7, " + OWNED % ("Deployment", "web") + "}", 1
    )
    present = pod("web-5d8f7-x2x4k", meta=OWNED % ("ReplicaSet", "web-5d8f7"))
    state = settled(workload("Deployment", "web", 2), replica_set, present)
    assert [p.name for p in users_pods(state)] == ["web-5d8f7-x2x4k"]


def test_a_dump_without_its_replicasets_is_not_made_twice() -> None:
    owned = pod("web-5d8f7-x2x4k", "pod-template-hash: 5d8f7", meta=OWNED % ("ReplicaSet", "web-5d8f7"))
    assert [p.name for p in users_pods(settled(workload("Deployment", "web", 2), owned))] == ["web-5d8f7-x2x4k"]


def test_a_replicaset_in_the_dump_makes_its_deployments_pods() -> None:
    replica_set = workload("ReplicaSet", "web-5d8f7", 2).replace(
        "name: web-5d8f7}", "name: web-5d8f7, " + OWNED % ("Deployment", "web") + "}", 1
    )
    pods = users_pods(settled(workload("Deployment", "web", 2), replica_set))
    assert len(pods) == 2
    assert all(p.name.startswith("web-5d8f7-") for p in pods)


def test_ended_pods_are_left_out_and_counted() -> None:
    state = settled(pod("a"), pod("b", status="phase: Succeeded"), pod("c", status="phase: Failed"))
    assert [p.name for p in users_pods(state)] == ["a"]
    assert any("2 Pods that ended" in notice for notice in state.notices)


def test_generate_name_gets_a_suffix() -> None:
    text = "{apiVersion: v1, kind: Pod, metadata: {generateName: job-}, spec: {containers: [{name: c}]}}"
    names = [p.name for p in users_pods(settled(text, text))]
    assert len(set(names)) == 2
    assert all(re.fullmatch(rf"job-{SAFE}{{5}}", name) for name in names)


def test_more_replicas_than_addresses_is_a_problem_and_no_wait() -> None:
    problem = problem_of(workload("Deployment", "web", 2_000_000_000))
    assert (problem.path, problem.document) == ("spec.replicas", 1)


def test_no_replicas() -> None:
    assert users_pods(settled(workload("Deployment", "web", 0))) == []


def test_a_stateful_pod_that_exists_already() -> None:
    problem = problem_of(pod("db-0"), workload("StatefulSet", "db", 1))
    assert "db-0" in problem.what
    assert problem.document == 2


def test_static_pods_belong_to_control_planes() -> None:
    state = settled(cluster("{role: control-plane}, {role: control-plane}, {role: worker}, {role: etcd}"))
    assert {(p.name, p.spec.nodeName, p.spec.hostNetwork) for p in state.pods} == {
        ("kube-apiserver-control-plane", "control-plane", True),
        ("kube-apiserver-control-plane-2", "control-plane-2", True),
        ("etcd-etcd-1", "etcd-1", True),
    }


@settings(max_examples=50, deadline=None)
@given(st.text("abc-", min_size=1, max_size=253), st.integers(0, 3))
def test_generated_names_fit_and_are_new(base: str, seed: int) -> None:
    taken: set[str] = set()
    names = [generate_name(base, seed, "x", taken=taken) for _ in range(5)]
    assert len(set(names)) == 5
    assert all(len(name) <= MAX_GENERATED_LENGTH and name.startswith(base[:58]) for name in names)
