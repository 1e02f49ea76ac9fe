"""Tests roll-outs of Deployments, round by round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.controllers.apps.deployment import REVISION
from emulator.controllers.apps.documents import is_active, is_ready
from emulator.store.manifests import render
from emulator.store.objects import Stored
from tests.unit.controllers.apps.living import Living, set_image, set_spec, workload


def rolling(surge: Any, unavailable: Any) -> dict[str, Any]:
    update = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"strategy": {"type": "RollingUpdate", "rollingUpdate": update}}


def sizes(living: Living) -> dict[str, int]:
    """Returns the sizes of the ReplicaSets by the image that they run."""
    return {image_of(one): one.manifest["spec"]["replicas"] for one in living.all("ReplicaSet")}


def image_of(stored: Stored) -> str:
    image: str = stored.manifest["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def revisions(living: Living) -> dict[str, str]:
    sets = living.all("ReplicaSet")
    return {image_of(one): one.object.metadata.annotations[REVISION] for one in sets}


def undo(living: Living, name: str, image: str) -> None:
    """Patches the template as `kubectl rollout undo` does: with that of an old ReplicaSet."""
    old = next(render(one) for one in living.all("ReplicaSet") if image_of(one) == image)
    template = old["spec"]["template"]
    del template["metadata"]["labels"]["pod-template-hash"]
    living.change("Deployment", name, set_spec(template=template))


def rolled(surge: Any = "25%", unavailable: Any = "25%", replicas: int = 4, **spec: Any) -> Living:
    living = Living()
    living.create(workload("Deployment", "web", replicas, **rolling(surge, unavailable), **spec))
    living.settle()
    return living


def test_a_new_deployment_has_a_replica_set_with_its_hash() -> None:
    living = rolled()
    (own,) = living.all("ReplicaSet")
    mark = own.object.metadata.labels["pod-template-hash"]
    assert own.key.name == f"web-{mark}"
    assert own.manifest["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": mark}
    assert own.object.metadata.annotations == {
        REVISION: "1",
        "deployment.kubernetes.io/desired-replicas": "4",
        "deployment.kubernetes.io/max-replicas": "5",
    }
    assert living.document("Deployment", "web")["metadata"]["annotations"][REVISION] == "1"
    assert len(living.all("Pod")) == 4
    assert living.messages("ScalingReplicaSet") == [f"Scaled up replica set {own.key.name} from 0 to 4"]
    assert living.conditions("Deployment", "web") == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    status = living.status("Deployment", "web")
    keys = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    assert [status[key] for key in keys] == [4, 4, 4, 4]
    assert "unavailableReplicas" not in status


def test_a_second_look_changes_nothing() -> None:
    living = rolled()
    before = living.plane.store.resourceVersion
    living.plane.resync()
    assert living.plane.store.resourceVersion == before


@pytest.mark.parametrize(
    ("surge", "unavailable", "steps"),
    [
        # replicas 4; sizes (old, new) after each round of the controllers
        (1, 0, [(4, 1), (3, 2), (2, 3), (1, 4), (0, 4)]),
        (0, 1, [(3, 1), (2, 2), (1, 3), (0, 4)]),
        ("50%", "0%", [(4, 2), (2, 4), (0, 4)]),
        ("30%", "30%", [(3, 3), (0, 4)]),  # 1.2: up to 2, down to 1
        (0, 0, [(3, 1), (2, 2), (1, 3), (0, 4)]),  # as if maxUnavailable were 1
        ("100%", 0, [(4, 4), (0, 4)]),
    ],
)
def test_a_rolling_update_takes_its_steps(surge: Any, unavailable: Any, steps: list[tuple[int, int]]) -> None:
    if (surge, unavailable) == (0, 0):
        living = rolled("0%", "1%")  # which is rounded down to 0
    else:
        living = rolled(surge, unavailable)
    living.change("Deployment", "web", set_image("web:2"))
    seen = []
    for _ in range(12):
        now = (sizes(living)["web:1"], sizes(living)["web:2"])
        seen += [now] if now not in seen else []
        living.step()
    assert [row for row in seen if row[1]] == [*steps]


def test_old_pods_that_are_not_ready_go_first() -> None:
    living = rolled(0, 2)
    sick = living.all("Pod")[0]
    living.keeps_unready = lambda pod: pod.key == sick.key
    living.settle()
    living.change("Deployment", "web", set_image("web:2"))
    assert sick.key.name not in [pod.key.name for pod in living.all("Pod") if is_active(pod)]
    assert sizes(living)["web:1"] == 2


def test_an_update_that_never_gets_ready_stops_and_times_out() -> None:
    living = rolled(1, 1, progressDeadlineSeconds=30)
    living.keeps_unready = lambda pod: pod.object.metadata.labels["pod-template-hash"] in bad
    bad: list[str] = []
    living.change("Deployment", "web", set_image("web:broken"))
    bad.append(living.all("ReplicaSet")[1].object.metadata.labels["pod-template-hash"])
    living.settle()
    assert sizes(living) == {"web:1": 3, "web:broken": 2}
    assert living.conditions("Deployment", "web")["Progressing"] == ("True", "ReplicaSetUpdated")
    for _ in range(40):
        living.step()
    assert living.conditions("Deployment", "web")["Progressing"] == ("False", "ProgressDeadlineExceeded")
    assert living.conditions("Deployment", "web")["Available"][0] == "True"
    undo(living, "web", "web:1")
    living.settle()
    assert sizes(living) == {"web:1": 4, "web:broken": 0}
    assert living.conditions("Deployment", "web")["Progressing"] == ("True", "NewReplicaSetAvailable")


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    living = Living()
    living.create(workload("Deployment", "web", 3, strategy={"type": "Recreate"}))
    living.settle()
    living.lingers = lambda _: True
    living.change("Deployment", "web", set_image("web:2"))
    living.step()
    assert sizes(living) == {"web:1": 0}
    assert [pod.deletionTimestamp is not None for pod in living.all("Pod")] == [True] * 3
    living.lingers = lambda _: False
    living.step()
    assert sizes(living) == {"web:1": 0, "web:2": 3}
    living.settle()
    assert len(living.all("Pod")) == 3


def test_undo_makes_the_old_replica_set_the_newest_revision() -> None:
    living = rolled()
    for image in ("web:2", "web:3"):
        living.change("Deployment", "web", set_image(image))
        living.settle()
    assert revisions(living) == {"web:1": "1", "web:2": "2", "web:3": "3"}
    undo(living, "web", "web:1")
    living.settle()
    assert revisions(living) == {"web:1": "4", "web:2": "2", "web:3": "3"}
    oldest = living.all("ReplicaSet")[0]
    assert oldest.object.metadata.annotations["deployment.kubernetes.io/revision-history"] == "1"
    assert living.document("Deployment", "web")["metadata"]["annotations"][REVISION] == "4"


def test_no_more_old_replica_sets_are_kept_than_the_history_limit() -> None:
    living = rolled(revisionHistoryLimit=2)
    for number in range(2, 7):
        living.change("Deployment", "web", set_image(f"web:{number}"))
        living.settle()
    assert [*revisions(living)] == ["web:4", "web:5", "web:6"]


def test_a_paused_deployment_scales_and_does_not_roll() -> None:
    living = rolled()
    living.change("Deployment", "web", set_spec(paused=True))
    assert living.conditions("Deployment", "web")["Progressing"] == ("Unknown", "DeploymentPaused")
    living.change("Deployment", "web", set_image("web:2"))
    living.change("Deployment", "web", set_spec(replicas=6))
    living.settle()
    assert sizes(living) == {"web:1": 6}
    living.change("Deployment", "web", set_spec(paused=False))
    living.settle()
    assert sizes(living) == {"web:1": 0, "web:2": 6}


def test_scaling_in_the_middle_of_a_roll_out_is_shared() -> None:
    # https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling
    living = rolled(3, 2, replicas=10)
    living.keeps_unready = lambda pod: pod.object.metadata.labels["pod-template-hash"] == bad
    bad = ""
    living.change("Deployment", "web", set_image("web:2"))
    bad = living.all("ReplicaSet")[1].object.metadata.labels["pod-template-hash"]
    living.settle()
    assert sizes(living) == {"web:1": 8, "web:2": 5}
    living.change("Deployment", "web", set_spec(replicas=15))
    assert sizes(living) == {"web:1": 11, "web:2": 7}


def test_a_default_that_is_written_down_is_no_new_revision() -> None:
    living = rolled()

    def fill_in(document: dict[str, Any]) -> None:
        spec = document["spec"]["template"]["spec"]
        spec |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "securityContext": {}}
        spec["containers"][0] |= {"imagePullPolicy": "IfNotPresent", "resources": {}}

    living.change("Deployment", "web", fill_in)
    living.settle()
    assert [*revisions(living)] == ["web:1"]


def test_a_replica_set_without_owner_is_adopted() -> None:
    living = Living()
    alone = workload("ReplicaSet", "web", 2)
    alone["metadata"]["labels"] = {"app": "web"}
    living.create(alone)
    living.settle()
    pods = living.names("Pod")
    living.create(workload("Deployment", "web", 2))
    living.settle()
    (own,) = living.all("ReplicaSet")
    assert [(one.kind, one.name) for one in own.owners] == [("Deployment", "web")]
    assert living.names("Pod") == pods


def test_min_ready_seconds_delay_availability() -> None:
    living = Living()
    living.create(workload("Deployment", "web", 2, minReadySeconds=10))
    for _ in range(3):
        living.step()
    status = living.status("Deployment", "web")
    assert (status["readyReplicas"], status.get("availableReplicas")) == (2, None)
    assert living.conditions("Deployment", "web")["Available"][0] == "False"
    for _ in range(10):
        living.step()
    assert living.status("Deployment", "web")["availableReplicas"] == 2


# --- properties -------------------------------------------------------------------------------------------

PORTIONS = st.one_of(st.integers(0, 3), st.sampled_from(["0%", "25%", "50%", "100%"]))
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("image"), st.integers(1, 3)),
        st.tuples(st.just("paused"), st.booleans()),
        st.tuples(st.just("linger"), st.booleans()),
        st.tuples(st.just("steps"), st.integers(1, 4)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(PORTIONS, PORTIONS, st.integers(1, 7), ACTIONS)
def test_a_roll_out_stays_between_its_bounds(
    surge: Any, unavailable: Any, replicas: int, actions: list[tuple[str, int]]
) -> None:
    none = surge in (0, "0%") and unavailable in (0, "0%")
    living = rolled(surge, 1 if none else unavailable, replicas)
    wanted = portion(surge, replicas, up=True), portion(unavailable, replicas, up=False)
    most, least = replicas + wanted[0], replicas - (wanted[1] if any(wanted) else 1)

    def check() -> None:
        pods = living.all("Pod")
        assert sum(map(is_active, pods)) <= most
        assert sum(is_active(pod) and is_ready(pod) for pod in pods) >= least

    def image(number: int) -> None:
        living.change("Deployment", "web", set_image(f"web:{number}"))

    def steps(count: int) -> None:
        for _ in range(count):
            living.step()
            check()

    acts: dict[str, Callable[[int], None]] = {
        "image": image,
        "paused": lambda yes: living.change("Deployment", "web", set_spec(paused=bool(yes))),
        "linger": lambda yes: setattr(living, "lingers", lambda _: yes),
        "steps": steps,
    }
    for name, value in actions:
        acts[name](value)
        check()
    living.lingers = lambda _: False
    acts["paused"](False)
    for _ in range(60):
        steps(1)
    document = living.document("Deployment", "web")
    status = document["status"]
    assert status["observedGeneration"] == document["metadata"]["generation"]
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    assert [status[key] for key in counts] == [replicas] * 4
    assert living.conditions("Deployment", "web")["Progressing"] == ("True", "NewReplicaSetAvailable")
    assert sum(sizes(living).values()) == replicas == len(living.all("Pod"))


def portion(value: Any, replicas: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value if up else min(value, replicas)
    exact = int(value[:-1]) * replicas / 100
    return int(exact) + (up and exact != int(exact))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 6),
    st.lists(
        st.tuples(st.sampled_from(["image", "replicas", "paused", "sick"]), st.integers(0, 6)), max_size=10
    ),
)
def test_whatever_happens_it_ends_as_wanted(replicas: int, actions: list[tuple[str, int]]) -> None:
    living = rolled(1, 1, replicas)
    for name, value in actions:
        if name == "image":
            living.change("Deployment", "web", set_image(f"web:{value}"))
        elif name == "replicas":
            living.change("Deployment", "web", set_spec(replicas=value))
            replicas = value
        elif name == "paused":
            living.change("Deployment", "web", set_spec(paused=value > 3))
        else:
            living.keeps_unready = lambda pod, value=value: int(pod.uid[0], 16) % 7 < value  # type: ignore[misc]
        living.step()
    living.keeps_unready = lambda _: False
    living.change("Deployment", "web", set_spec(paused=False))
    living.settle()
    status = living.status("Deployment", "web")
    assert status.get("availableReplicas", 0) == status.get("replicas", 0) == replicas
    assert len(living.all("Pod")) == replicas
