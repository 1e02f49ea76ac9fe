"""Tests steps of a FlowCheck: the cluster after a step, what stays, and problems that are found before
anything runs.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from emulator.cluster.state import ClusterState
from emulator.errors import InputError
from tests.sandboxed import scenario_of, state_of

CLUSTER = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: control-plane}, {role: worker}, {role: worker}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: agent}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 9090}]}
---
"""
CHECK = """
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: %s}
spec:
  steps:
%s
---
"""


def check(*steps: str, name: str = "t") -> str:
    return CHECK % (name, "\n".join(f"  - {step}" for step in steps))


def states(*steps: str) -> list[ClusterState]:
    """Returns the cluster at first, and after each step."""
    return [moment.state for moment in scenario_of(text=CLUSTER + check(*steps)).moments]


def pods(state: ClusterState, app: str) -> dict[str, tuple[str, str]]:
    """Returns name → (node, address) of the Pods of ``app``."""
    return {p.name: (p.spec.nodeName, p.ip) for p in state.pods if p.metadata.labels.get("app") == app}


def endpoints(state: ClusterState, service: str = "default/web") -> dict[str, tuple[bool, bool, bool]]:
    """Returns Pod → (ready, serving, terminating)."""
    rows = (e for s in state.slices_of.get(service, ()) for e in s.endpoints)
    return {e.targetRef.name: (e.ready, e.serving, e.terminating) for e in rows if e.targetRef}


def problems(*steps: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        states(*steps)
    return [str(problem).split(": ", 1)[1] for problem in raised.value.problems]


def names(of: Iterable[str]) -> set[str]:
    return set(of)


# --- what stays
# --------------------------------------------------------------------------------------------------


def test_what_a_step_does_not_touch_stays_as_it_is() -> None:
    before, after = states("wait: 1")
    for field in (
        "nodes",
        "pods",
        "services",
        "endpointSlices",
        "listeners",
        "clients",
        "routerIP",
        "podSubnet",
        "hostSubnet",
        "proxy",
    ):
        assert getattr(before, field) == getattr(after, field), field


def test_steps_have_names_of_their_own_and_wait() -> None:
    first = scenario_of(
        text=CLUSTER + check("{name: a moment, wait: 1.5}", "wait: 1") + check("wait: 2", name="u")
    )
    assert [(step.name, step.wait) for step in first.steps] == [
        ("t, a moment", 1.5),
        ("t, step 2", 1),
        ("u", 0),
        ("u, step 1", 2),
    ]


def test_each_flowcheck_begins_with_the_cluster_as_it_was() -> None:
    gone = "delete: [{kind: Service, name: web}]"
    first = scenario_of(text=CLUSTER + check(gone) + check(gone, name="u"))
    assert [("default/web" in step.state.service) for step in first.steps] == [False, True, False]
    assert first.steps[1].state is first.state


# --- scale
# -------------------------------------------------------------------------------------------------------


def test_scaled_up_the_new_pods_have_names_and_addresses_that_nobody_had() -> None:
    scale = "scale: {kind: Deployment, name: web, replicas: %d}"
    first, fewer, more = states(scale % 1, scale % 3)
    assert len(pods(fewer, "web")) == 1
    assert pods(fewer, "web").items() <= pods(more, "web").items()
    new = pods(more, "web").items() - pods(fewer, "web").items()
    assert len(new) == 2
    assert not {name for name, _ in new} & pods(first, "web").keys()
    assert not {ip for _, (_, ip) in new} & {ip for _, ip in pods(first, "web").values()}
    assert names(endpoints(more)) == names(pods(more, "web"))


def test_a_replicaset_takes_the_unready_first_then_the_crowded_then_the_newest() -> None:
    first = states("wait: 1")[0]
    web = list(pods(first, "web"))  # on worker-1, worker-2, worker-1 in the order in which they were made
    assert [pods(first, "web")[name][0] for name in web] == ["worker-1", "worker-2", "worker-1"]
    _, crowded = states("scale: {kind: Deployment, name: web, replicas: 2}")
    assert list(pods(crowded, "web")) == web[:2]
    sick = (
        f"apply: [{{apiVersion: v1, kind: Pod, metadata: {{name: {web[1]}, labels: {{app: web, "
        f"pod-template-hash: {web[1].split('-')[1]}}}}}, "
    )
    sick += "spec: {containers: [{name: web}]}, status: {conditions: [{type: Ready, status: 'False'}]}}]"
    _, _, unready = states(sick, "scale: {kind: Deployment, name: web, replicas: 2}")
    assert list(pods(unready, "web")) == [web[0], web[2]]


def test_a_statefulset_takes_the_highest_and_makes_it_again_under_its_name() -> None:
    scale = "scale: {kind: StatefulSet, name: db, replicas: %d}"
    first, fewer, more = states(scale % 1, scale % 3)
    assert [list(pods(s, "db")) for s in (first, fewer, more)] == [
        ["db-0", "db-1"],
        ["db-0"],
        ["db-0", "db-1", "db-2"],
    ]
    assert pods(more, "db")["db-0"] == pods(first, "db")["db-0"]
    assert pods(more, "db")["db-1"] != pods(first, "db")["db-1"]


# --- delete
# ------------------------------------------------------------------------------------------------------


def test_a_deleted_pod_of_a_controller_is_replaced() -> None:
    web = list(pods(states("wait: 1")[0], "web"))
    first, after = states(f"delete: [{{kind: Pod, name: {web[0]}}}, {{kind: Pod, name: db-1}}]")
    assert web[0] not in pods(after, "web")
    assert len(pods(after, "web")) == 3
    assert pods(after, "db")["db-1"] != pods(first, "db")["db-1"]


def test_a_deleted_workload_takes_its_pods_along_and_a_service_its_slices() -> None:
    _, after = states("delete: [{kind: Deployment, name: web}, {kind: Service, name: web}]")
    assert pods(after, "web") == {}
    assert "default/web" not in after.service
    assert endpoints(after) == {}


def test_a_deleted_node_takes_its_pods_along_and_they_are_replaced_elsewhere() -> None:
    first, after = states("delete: [{kind: Node, name: worker-1}]")
    assert "worker-1" not in after.node
    assert {node for node, _ in pods(after, "web").values()} == {"worker-2"}
    assert len(pods(after, "web")) == 3
    assert len(pods(after, "agent")) == len(pods(first, "agent")) - 1


def test_a_deleted_namespace_takes_everything_in_it_along() -> None:
    _, after = states("delete: [{kind: Namespace, name: default}]")
    assert {pod.namespace for pod in after.pods} == {"kube-system"}
    assert [s.key for s in after.services] == ["default/kubernetes"]  # which the API server makes again


# --- apply
# -------------------------------------------------------------------------------------------------------


def test_an_applied_service_keeps_what_was_given_out() -> None:
    new = (
        "apply: [{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: NodePort, "
        "selector: {app: db}, ports: [{port: 81}]}}]"
    )
    first, after = states(new)
    old, now = first.service["default/web"].spec, after.service["default/web"].spec
    assert (now.clusterIP, now.ports[0].nodePort, now.ports[0].port) == (
        old.clusterIP,
        old.ports[0].nodePort,
        81,
    )
    assert names(endpoints(after)) == {"db-0", "db-1"}


def test_an_applied_node_joins_and_daemonsets_run_on_it() -> None:
    first, after = states("apply: [{apiVersion: v1, kind: Node, metadata: {name: worker-3}}]")
    assert after.nodes[:-1] == first.nodes
    assert after.nodes[-1].internalIPs
    assert pods(after, "agent").items() > pods(first, "agent").items()
    assert {node for node, _ in pods(after, "agent").values()} >= {"worker-3"}


def test_an_applied_deployment_of_another_template_replaces_its_pods() -> None:
    new = (
        "apply: [{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 2, "
        "selector: {matchLabels: {app: web}}, template: "
    )
    new += "{metadata: {labels: {app: web, v: two}}, spec: {containers: [{name: web}]}}}}]"
    first, after = states(new)
    assert len(pods(after, "web")) == 2
    assert not pods(after, "web").keys() & pods(first, "web").keys()


def test_who_listened_goes_on_though_nothing_leads_there_any_more() -> None:
    """Serves port 9090, since the Service leads there; no container declares it."""
    first, after = states("delete: [{kind: Service, name: web}]")
    served = {(li.pod, li.port) for li in first.listeners if li.port == 9090}
    assert len(served) == 3
    assert served <= {(li.pod, li.port) for li in after.listeners}


# --- terminate
# ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("serving", [True, False])
def test_a_terminating_pod_goes_on_and_is_replaced(serving: bool) -> None:
    web = list(pods(states("wait: 1")[0], "web"))
    _, after = states(f"terminate: {{pod: {web[0]}, serving: {str(serving).lower()}}}")
    assert endpoints(after)[web[0]] == (False, serving, True)
    assert len(pods(after, "web")) == 4
    assert sum(ready for ready, _, _ in endpoints(after).values()) == 3


def test_the_pods_of_a_deployment_are_terminated_by_their_labels() -> None:
    before, after = states("terminate: {podSelector: {app: web}}")
    web = pods(before, "web")
    assert {name: endpoints(after)[name] for name in web} == dict.fromkeys(web, (False, True, True))
    assert len(pods(after, "web")) == 6
    (said,) = problems("terminate: {podSelector: {app: wep}}")
    assert said.endswith(
        "spec.steps[0].terminate.podSelector: there is no Pod with app=wep in namespace default at this step"
    )


def test_a_terminating_pod_of_a_statefulset_is_not_replaced_before_it_is_gone() -> None:
    _, ending, gone = states("terminate: {pod: db-1}", "delete: [{kind: Pod, name: db-1}]")
    assert list(pods(ending, "db")) == ["db-0", "db-1"]
    assert list(pods(gone, "db")) == ["db-0", "db-1"]
    assert pods(gone, "db")["db-1"] != pods(ending, "db")["db-1"]


# --- a dump
# ------------------------------------------------------------------------------------------------------

DUMPED_SLICE = """
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata:
  name: web-xyz
  labels: {kubernetes.io/service-name: web, endpointslice.kubernetes.io/managed-by: %s}
addressType: IPv4
endpoints: [{addresses: [10.244.1.77], hints: {forZones: [{name: a}]}}]
ports: [{port: 9090}]
---
"""


@pytest.mark.parametrize(("manager", "kept"), [("endpointslice-controller.k8s.io", False), ("me", True)])
def test_slices_are_made_anew_by_their_controller_when_their_pods_change(manager: str, kept: bool) -> None:
    first = scenario_of(
        text=CLUSTER
        + DUMPED_SLICE % manager
        + check("wait: 1", "scale: {kind: Deployment, name: web, replicas: 4}")
    )
    ways = [
        {a for s in step.state.slices_of["default/web"] for e in s.endpoints for a in e.addresses}
        for step in first.steps
    ]
    # beside another's slice it makes its own
    assert ("10.244.1.77" in ways[0], len(ways[0])) == (True, 4 if kept else 1)
    assert ("10.244.1.77" in ways[1], len(ways[1])) == (kept, 5 if kept else 4)


# --- mistakes
# ----------------------------------------------------------------------------------------------------


def test_every_mistake_of_every_step_is_told_with_its_path() -> None:
    found = problems(
        "scale: {kind: Deployment, name: wep, replicas: 1}",
        "terminate: {pod: db-7}",
        "delete: [{kind: Pod, name: db-1}, {kind: Pod, name: db-9}]",
        "{scale: {kind: StatefulSet, name: db, replicas: 1}, flows: [{name: a, from: {pod: db-0}, "
        "to: {pod: db-1, port: 1}, "
        "expect: {outcome: rejected}}]}",
        "apply: [{apiVersion: v1, kind: Service, metadata: {name: other}, spec: {clusterIP: "
        "10.96.0.1, ports: [{port: 1}]}}]",
    )
    assert found == [
        (
            "document 6: spec.steps[0].scale.name: there is no Deployment default/wep at this step "
            "(hint: did you mean web?)"
        ),
        (
            "document 6: spec.steps[1].terminate.pod: there is no Pod default/db-7 at this step (hint: "
            "did you mean db-1 or db-0?)"
        ),
        (
            "document 6: spec.steps[2].delete[1].name: there is no Pod default/db-9 at this step (hint: "
            "did you mean db-0?)"
        ),
        "document 6: spec.steps[3].flows[0].to.pod: there is no Pod default/db-1 (hint: did you mean db-0?)",
        "document 6: spec.steps[4].apply[0].spec.clusterIP: ClusterIP 10.96.0.1 of Service "
        "default/other is that of Service "
        "default/kubernetes already (hint: leave it out, and a free one is taken)",
    ]


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ("{}", "spec.steps[0]: does nothing"),
        ("{name: x}", "spec.steps[0]: does nothing"),
        ("wait: -1", "spec.steps[0].wait: must be between 0 and 3600 seconds, is -1"),
        ("wait: soon", "spec.steps[0].wait: "),
        (
            "{wait: 1, scael: {}}",
            "spec.steps[0].scael: is not a field of podwire's (hint: did you mean scale?)",
        ),
        (
            "scale: {kind: DaemonSet, name: a, replicas: 1}",
            (
                "spec.steps[0].scale.kind: must be one of Deployment, ReplicaSet, "
                "ReplicationController, StatefulSet"
            ),
        ),
        (
            "scale: {kind: Deployment, name: web, replicas: -1}",
            "spec.steps[0].scale.replicas: must be between 0 and",
        ),
        (
            "scale: {kind: Deployment, name: web, replicas: 999999}",
            "scale.replicas: 999,999 replicas: the podCIDRs of all nodes",
        ),
        (
            "flows: [{name: a, protocol: ICMP, connection: c, from: {pod: db-0}, to: {pod: db-1}}]",
            "spec.steps[0].flows[0].connection: goes with",
        ),
        (
            "flows: [{name: a, attempts: 2, connection: c, from: {pod: db-0}, to: {pod: db-1, port: 1}}]",
            "flows[0].attempts: must be left out",
        ),
        (
            "flows: [{name: a, connection: c, from: {podSelector: {app: db}}, to: {pod: db-1, port: 1}}]",
            "spec.steps[0].flows[0].from.podSelector: must be one Pod",
        ),
        (
            "flows: [{name: a, connection: c, from: {pod: db-0}, to: {pod: db-1, port: 1}}, "
            "{name: b, connection: c, from: {pod: db-0}, to: {pod: db-1, port: 1}}]",
            "spec.steps[0].flows[1].connection: 'c' is the connection of flow 'a', which is sent at once",
        ),
        ("delete: [{kind: Service}]", "spec.steps[0].delete[0].name: is required"),
        ("terminate: {pod: 'a b'}", "spec.steps[0].terminate.pod: "),
        ("terminate: {}", "spec.steps[0].terminate: must have exactly one of pod, podSelector"),
        ("apply: [{apiVersion: v1, kind: Pod}]", "spec.steps[0].apply[0].metadata: is required"),
        ("apply: [3]", "spec.steps[0].apply[0]: must be a mapping"),
        ("apply: 3", "spec.steps[0].apply: must be a list, is 3"),
        (
            (
                "apply: [{apiVersion: v1, kind: Pod, metadata: {generateName: a-}, spec: {containers: "
                "[{name: c}]}}]"
            ),
            "spec.steps[0].apply[0].metadata.name: is required",
        ),
        (
            "apply: [{apiVersion: podwire.dev/v1alpha1, kind: Cluster}]",
            "spec.steps[0].apply[0].kind: Cluster cannot be applied in a step",
        ),
        (
            (
                "delete: [{kind: Node, name: control-plane}, {kind: Node, name: worker-1}, {kind: Node, "
                "name: worker-2}]"
            ),
            "worker-2 is the last node",
        ),
        (
            (
                "apply: [{apiVersion: v1, kind: Pod, metadata: {name: db-0}, spec: {nodeName: "
                "control-plane, containers: [{name: c}]}}]"
            ),
            "Pod default/db-0 runs on worker-2 with 10.244.2.3 and cannot change that",
        ),
        (
            (
                "apply: [{apiVersion: v1, kind: Node, metadata: {name: worker-1}, spec: {podCIDR: "
                "10.244.9.0/24}}]"
            ),
            "node worker-1 has 172.18.0.3 and 10.244.1.0/24 and",
        ),
        (
            (
                "apply: [{apiVersion: v1, kind: Node, metadata: {name: n}, status: {addresses: [{type: "
                "InternalIP, address: 172.18.0.1}]}}]"
            ),
            "172.18.0.1 is the router's address already",
        ),
    ],
)
def test_what_a_step_cannot_be(step: str, what: str) -> None:
    assert what in "\n".join(problems(step))


def test_a_flowcheck_has_flows_or_steps_and_no_step_name_twice() -> None:
    with pytest.raises(InputError, match=r"spec\.flows: must not be empty"):
        state_of(text="apiVersion: podwire.dev/v1alpha1\nkind: FlowCheck\nmetadata: {name: a}\nspec: {}")
    assert "spec.steps[1].name: 'a' is the name of an earlier entry already" in "\n".join(
        problems("{name: a, wait: 1}", "{name: a, wait: 1}")
    )


def test_a_pod_that_waits_runs_once_a_node_takes_it() -> None:
    picky = (
        "{apiVersion: v1, kind: Pod, metadata: {name: p, labels: {app: p}}, spec: {nodeSelector: {gpu: "
        "x}, containers: [{name: c}]}}"
    )
    service = (
        "{apiVersion: v1, kind: Service, metadata: {name: p}, spec: {selector: {app: p}, ports: [{port: "
        "80}]}}"
    )
    node = "apply: [{apiVersion: v1, kind: Node, metadata: {name: big, labels: {gpu: x}}}]"
    first = scenario_of(text=CLUSTER + picky + "\n---\n" + service + "\n---" + check(node))
    assert [row.pod.key for row in first.state.waiting] == ["default/p"]
    (step,) = first.steps
    assert step.state.waiting == ()
    assert step.state.pod["default/p"].spec.nodeName == "big"
    assert [e.nodeName for item in step.state.slices_of["default/p"] for e in item.endpoints] == ["big"]


# --- roll-outs --------------------------------------------------------------------------------------------


def test_a_roll_out_is_over_at_once_where_the_cluster_does_not_live() -> None:
    scenario = scenario_of(text=CLUSTER + CHECK % ("c", '  - rollout: {deployment: web, image: "web:2"}'))
    before = {pod.key for pod in scenario.state.pods if pod.name.startswith("web-")}
    after = [pod for pod in scenario.steps[0].state.pods if pod.name.startswith("web-")]
    assert len(after) == len(before) == 3
    assert not before & {pod.key for pod in after}
    assert {pod.spec.containers[0].image for pod in after} == {"web:2"}
    assert scenario.rolls


def test_a_restart_makes_the_pods_anew() -> None:
    scenario = scenario_of(text=CLUSTER + CHECK % ("c", "  - rollout: {deployment: web, restart: true}"))
    before, after = (
        {pod.key for pod in state.pods if pod.name.startswith("web-")}
        for state in (scenario.state, scenario.steps[0].state)
    )
    assert (len(after), before & after) == (3, set())


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("rollout: {deployment: wob, restart: true}", "there is no Deployment default/wob at this step"),
        (
            'rollout: {deployment: web, image: "x:1", container: c}',
            "Deployment default/web has no container c",
        ),
        ("rollout: {deployment: web}", "must have exactly one of image, restart"),
        ("rollout: {deployment: web, image: x, restart: true}", "must have exactly one of image, restart"),
        ("rollout: {deployment: web, restart: true, container: c}", "goes with image only"),
        ("traffic: {rate: 5}", "goes with rollout only"),
        ("{rollout: {deployment: web, restart: true}, traffic: {}}", "needs flows"),
        ("{rollout: {deployment: web, restart: true}, traffic: {rate: 0}}", "must be between 0.1 and 1000"),
        ("{rollout: {deployment: web, restart: true}, traffic: {maxLost: -1}}", "must be 0 or more"),
        ("{rollout: {deployment: web, restart: true}, traffic: {timeout: 0}}", "between 0.01 and 60 seconds"),
        (
            "{rollout: {deployment: web, restart: true}, terminate: {podSelector: {app: web}}}",
            "goes without a rollout in the same FlowCheck",
        ),
    ],
)
def test_what_a_roll_out_must_not_be(step: str, said: str) -> None:
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        scenario_of(text=CLUSTER + CHECK % ("c", f"  - {step}"))
