"""Tests Pods of controllers: names, labels, owners, and when none are made."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.controllers.names import MAX_GENERATED_LENGTH, SAFE_ALPHABET, generate_name
from emulator.errors import InputError
from tests.told import told
from tests.unit.controllers.clusters import (
    cluster,
    node,
    pod,
    problem_of,
    service,
    settled,
    users_pods,
    workload,
)

SAFE = f"[{SAFE_ALPHABET}]"


@pytest.mark.parametrize(
    ("kind", "pattern", "owner"),
    [
        ("Deployment", rf"web-(?P<hash>{SAFE}{{1,10}})-{SAFE}{{5}}", "ReplicaSet"),
        ("ReplicaSet", rf"web-{SAFE}{{5}}", "ReplicaSet"),
        ("ReplicationController", rf"web-{SAFE}{{5}}", "ReplicationController"),
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


def test_a_replication_controller_selects_by_labels_and_by_those_of_its_template_where_it_says_none() -> None:
    """Takes guestbook-go of kubernetes/examples: its Services had no endpoints while these were left out."""
    template = "template: {metadata: {labels: {app: g}}, spec: {containers: [{name: c}]}}"
    for selector in ("selector: {app: g}, ", ""):
        text = (
            f"{{kind: ReplicationController, apiVersion: v1, metadata: {{name: g}}, spec: {{replicas: "
            f"3, {selector}{template}}}}}"
        )
        state = settled(text, service("g", "selector: {app: g}, ports: [{port: 3000}]"))
        assert len(state.slices_of["default/g"][0].endpoints) == 3


def test_a_replication_controller_whose_selector_is_another_is_refused() -> None:
    template = "template: {metadata: {labels: {app: g}}, spec: {containers: [{name: c}]}}"
    text = (
        f"{{kind: ReplicationController, apiVersion: v1, metadata: {{name: g}}, spec: {{selector: "
        f"{{app: x}}, {template}}}}}"
    )
    with pytest.raises(InputError, match="does not select the Pods of its own template"):
        settled(text)


def job(spec: str, meta: str = "") -> str:
    template = (
        "template: {metadata: {labels: {app: j}}, spec: {restartPolicy: Never, containers: [{name: c}]}}"
    )
    return f"{{apiVersion: batch/v1, kind: Job, metadata: {{name: j, {meta}}}, spec: {{{spec} {template}}}}}"


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        pytest.param("", 1, id="one"),
        pytest.param("parallelism: 3,", 3, id="a work queue"),
        pytest.param("completions: 5,", 1, id="one after the other"),
        pytest.param("parallelism: 3, completions: 2,", 2, id="no more than are wanted"),
        pytest.param("parallelism: 0,", 0, id="paused"),
        pytest.param("suspend: true,", 0, id="suspended"),
    ],
)
def test_a_job_has_as_many_pods_as_work_side_by_side(spec: str, count: int) -> None:
    pods = users_pods(settled(job(spec)))
    assert len(pods) == count
    for made in pods:
        assert re.fullmatch(rf"j-{SAFE}{{5}}", made.name)
        assert made.metadata.labels == {"app": "j", "job-name": "j", "batch.kubernetes.io/job-name": "j"}
        assert [(o.kind, o.name) for o in made.metadata.ownerReferences] == [("Job", "j")]


@pytest.mark.parametrize("policy", ["", "restartPolicy: Always,"])
def test_a_job_whose_pods_would_never_end_is_refused(policy: str) -> None:
    with pytest.raises(InputError, match="must be OnFailure or Never for a Job, is 'Always'"):
        settled(job("").replace("restartPolicy: Never,", policy))


def test_an_indexed_job_numbers_its_pods() -> None:
    pods = users_pods(settled(job("completionMode: Indexed, parallelism: 2, completions: 4,")))
    assert [
        (p.spec.hostname, p.metadata.labels["batch.kubernetes.io/job-completion-index"]) for p in pods
    ] == [("j-0", "0"), ("j-1", "1")]
    assert all(p.name.startswith(f"{p.spec.hostname}-") for p in pods)


def test_a_job_of_a_live_cluster_makes_no_pod_again() -> None:
    assert users_pods(settled(job("", "uid: 7f3a"))) == []
    ended = pod("j-abcde", status="phase: Succeeded", meta=OWNED % ("Job", "j"))
    assert users_pods(settled(job(""), ended)) == []


def test_a_cron_job_makes_no_pod_before_its_time() -> None:
    cron = "{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {schedule: '0 3 * * *'}}"
    state = settled(cron, pod("a"))
    assert [p.name for p in users_pods(state)] == ["a"]
    assert any("makes no Pod until its time" in notice for notice in told(state))


# --- Pods that run nowhere --------------------------------------------------------------------------------

INSUFFICIENT = (
    "phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: "
    "'0/1 nodes: 1 Insufficient cpu.'}]"
)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        pytest.param(pod("p", status=INSUFFICIENT), "0/1 nodes: 1 Insufficient cpu.", id="unschedulable"),
        pytest.param(
            pod("p", status="phase: Pending"),
            "it is Pending, and has no address yet",
            id="nobody has looked at it",
        ),
        pytest.param(
            pod("p", spec="nodeName: n", status="phase: Pending"),
            "it is Pending, and has no address yet",
            id="its containers are created",
        ),
        pytest.param(
            pod("p", spec="nodeName: n", status="phase: Running", meta="uid: 5c9e"),
            "it is Running, and has no address yet",
            id="no address",
        ),
        pytest.param(
            pod("p", spec="nodeName: n, hostNetwork: true", status="phase: Pending"),
            "it is Pending, and has no address yet",
            id="hostNetwork",
        ),
    ],
)
def test_pods_that_have_no_network_in_a_dump_have_none_here(written: str, reason: str) -> None:
    state = settled(node("n"), written, service("s", "selector: {}, ports: [{port: 80}]"))
    assert users_pods(state) == []
    assert [(row.pod.key, row.reason) for row in state.waiting] == [("default/p", reason)]


@pytest.mark.parametrize(
    "status", ["", "phase: Running", "phase: Unknown, podIP: 10.244.0.9", "phase: Pending, podIP: 10.244.0.9"]
)
def test_pods_without_a_status_and_those_with_an_address_run(status: str) -> None:
    """Leaves a Pod whose image cannot be pulled Pending; it has an address."""
    assert [p.name for p in users_pods(settled(node("n"), pod("p", spec="nodeName: n", status=status)))] == [
        "p"
    ]


@pytest.mark.parametrize(("publish", "addresses"), [("false", []), ("true", ["10.244.7.9"])])
def test_a_pod_of_a_node_that_is_gone_runs_nowhere(publish: str, addresses: list[str]) -> None:
    """Skips it as the EndpointSlice controller does, unless the Service publishes addresses that are not
    ready.
    """
    lost = pod(
        "p", "app: p", spec="nodeName: gone", status="phase: Running, podIP: 10.244.7.9", meta="uid: 5c9e"
    )
    web = service("s", f"selector: {{app: p}}, ports: [{{port: 80}}], publishNotReadyAddresses: {publish}")
    state = settled(node("n"), lost, web)
    assert [e.addresses[0] for s in state.slices_of.get("default/s", ()) for e in s.endpoints] == addresses
    assert users_pods(state) == []


def test_a_message_of_the_cluster_is_shown_without_control_characters() -> None:
    message = "phase: Pending, conditions: [{type: PodScheduled, status: 'False', message: \"\\e[2J\"}]"
    assert all(notice.isprintable() for notice in told(settled(node("n"), pod("p", status=message))))


def test_stateful_pods_are_numbered_from_the_first_ordinal() -> None:
    pods = users_pods(settled(workload("StatefulSet", "db", 2, spec="ordinals: {start: 3},")))
    assert [(p.name, p.metadata.labels["apps.kubernetes.io/pod-index"]) for p in pods] == [
        ("db-3", "3"),
        ("db-4", "4"),
    ]


def test_stateful_pods_have_an_identity() -> None:
    pods = users_pods(settled(workload("StatefulSet", "db", 2, spec="serviceName: db-peers,")))
    assert [(p.name, p.spec.hostname, p.spec.subdomain) for p in pods] == [
        ("db-0", "db-0", "db-peers"),
        ("db-1", "db-1", "db-peers"),
    ]
    assert pods[1].metadata.labels == {
        "app": "db",
        "statefulset.kubernetes.io/pod-name": "db-1",
        "apps.kubernetes.io/pod-index": "1",
    }


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
    one, other = (
        users_pods(settled(workload("Deployment", "web", ports=f"{{containerPort: {p}}}")))[0]
        for p in (80, 81)
    )
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
    assert [p.name for p in users_pods(settled(workload("Deployment", "web", 2), owned))] == [
        "web-5d8f7-x2x4k"
    ]


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
    assert any("2 Pods that ended" in notice for notice in told(state))


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
