"""Decides what the kubelets of a cluster that lives report of their Pods, and when a Pod ends. Pure.

The facts come from outside (:class:`Facts`): which Pods have their network, what containers do, what probes
found. The status is written as a kubelet writes it (pkg/kubelet/kubelet_pods.go, generateAPIPodStatus):
phase, conditions with their times, hostIPs and podIPs, containerStatuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from ..objects.kinds import Pod
from ..store.manifests import render
from ..store.objects import Key, Stored
from ..store.store import Event
from .apps.events import record
from .plane import Controller, ControlPlane

NAME = "kubelet"
GRACE = 30  # seconds of a Pod that names no terminationGracePeriodSeconds
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class Probe(NamedTuple):
    """Holds what the probes of a container say so far. ``started``: its startup probe has succeeded."""

    ready: bool = True
    started: bool = True


class Ended(NamedTuple):
    """Describes how a container's process ended; ``code`` is its exit code, 128 + n for signal n."""

    code: int
    at: str  # RFC 3339
    message: str = ""


class Run(NamedTuple):
    """Holds what is known of a container: since when it runs, how its process ended (None: it has not), how
    often it was started again, and its last end before that.
    """

    since: str
    ended: Ended | None = None
    restarts: int = 0
    last: Ended | None = None
    last_since: str = ""


@dataclass(slots=True)
class Facts:
    """Holds what the kubelets see, by the uid of a Pod. Whoever changes it wakes the controller
    :data:`NAME`, and adds the uids to ``changed``.
    """

    up: dict[str, str] = field(default_factory=dict)  # Pods with a network, and since when
    runs: dict[str, dict[str, Run]] = field(default_factory=dict)  # by container, those with a process
    probes: dict[str, dict[str, Probe]] = field(default_factory=dict)  # by container, those with probes
    ending: dict[str, str] = field(default_factory=dict)  # when a Pod that is being deleted is to go
    changed: set[str] = field(default_factory=set)
    node_info: Mapping[str, str] = field(default_factory=dict)  # the nodeInfo of every node


def kubelet(facts: Facts) -> Controller:
    """Returns the controller that writes what the kubelets report of ``facts``."""

    def run(plane: ControlPlane, events: Sequence[Event] | None) -> None:
        for node in _new_nodes(plane, events):
            plane.store.write(_with_status(render(node), facts, plane.now))
        waiting = {(row.pod.namespace, row.pod.name): row.reason for row in plane.waiting}
        touched = list(_touched(plane, facts, events))
        facts.changed.clear()
        for stored in touched:
            _sync(plane, facts, stored, waiting.get((stored.key.namespace, stored.key.name), ""))

    return Controller(NAME, run, _concerns)


def _concerns(event: Event) -> bool:
    return event.stored.key.kind in ("Pod", "Node")


def _new_nodes(plane: ControlPlane, events: Sequence[Event] | None) -> Iterator[Stored]:
    """Yields the nodes whose kubelet has not reported yet."""
    if events is None or any(event.stored.key.kind == "Node" for event in events):
        for stored in plane.store.list("Node"):
            status = stored.manifest.get("status")
            if not isinstance(status, Mapping) or "nodeInfo" not in status:
                yield stored


def _with_status(node: dict[str, Any], facts: Facts, now: str) -> dict[str, Any]:
    """Returns ``node`` with the status that a kubelet reports: it is ready, and short of nothing."""
    status = dict(node.get("status") or {})
    told = {c.get("type"): c for c in status.get("conditions") or ()}
    pods = status.get("allocatable", {}).get("pods", "110")
    for kind, good, reason, message in _NODE_CONDITIONS:
        row = {"type": kind, "status": good, "reason": reason, "message": message}
        told.setdefault(kind, {**row, "lastHeartbeatTime": now, "lastTransitionTime": now})
    name = node["metadata"]["name"]
    addresses = [*status.get("addresses", ())]
    if all(one.get("type") != "Hostname" for one in addresses):
        addresses.append({"type": "Hostname", "address": name})
    room = {"pods": pods}
    return {
        **node,
        "status": {
            **status,
            "addresses": addresses,
            "allocatable": {**room, **status.get("allocatable", {})},
            "capacity": {**room, **status.get("capacity", {})},
            "conditions": list(told.values()),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": dict(facts.node_info),
        },
    }


_NODE_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


def _touched(plane: ControlPlane, facts: Facts, events: Sequence[Event] | None) -> Iterator[Stored]:
    """Yields the Pods that an event is about, or of which something else is known now."""
    if events is None:
        yield from plane.store.list("Pod")
        return
    keys = dict.fromkeys(event.stored.key for event in events if event.stored.key.kind == "Pod")
    due = {uid for uid, at in facts.ending.items() if at <= plane.now}
    if wanted := facts.changed | due:
        keys |= dict.fromkeys(one.key for one in plane.store.list("Pod") if one.uid in wanted)
    for key in keys:
        if (stored := plane.store.get(key)) is not None:
            yield stored


def _sync(plane: ControlPlane, facts: Facts, stored: Stored, waiting: str) -> None:
    """Brings the status of one Pod up to date, or ends it. ``waiting``: why it runs nowhere."""
    pod: Pod = stored.object
    if stored.deletionTimestamp:
        _end(plane, facts, stored)
        return
    if pod.status.phase in ("Succeeded", "Failed"):
        return
    document = render(stored)
    node = plane.store.get(Key("Node", "", pod.spec.nodeName)) if pod.spec.nodeName else None
    hosts = [str(ip) for ip in node.object.internalIPs] if node else []
    status = pod_status(document, facts, stored.uid, plane.now, hosts, waiting)
    if status != document.get("status"):
        plane.store.write({**document, "status": status})
        _record(plane, document, status)


def _end(plane: ControlPlane, facts: Facts, stored: Stored) -> None:
    """Lets a Pod that is being deleted go once its time has come; until then it serves."""
    at = facts.ending.get(stored.uid)
    if at is None:
        wait = grace_needed(render(stored)) if stored.uid in facts.up else 0
        at = facts.ending[stored.uid] = later(plane.now, wait)
        if wait:
            plane.wake(wait, NAME)
            return
        if stored.uid in facts.up:  # its rules go first: it ends in the next round
            facts.changed.add(stored.uid)
            return
    if at <= plane.now and not stored.finalizers:  # the last finalizer's end is an event that comes here
        facts.ending.pop(stored.uid, None)
        plane.store.finalize(stored.key)


def grace_needed(document: Mapping[str, Any]) -> float:
    """Returns how many seconds a Pod goes on serving when it is told to end: its longest preStop sleep, and
    no more than its grace period. The built-in server ends at SIGTERM at once, as most servers do.
    """
    spec = document.get("spec", {})
    given = document["metadata"].get("deletionGracePeriodSeconds")
    grace = given if isinstance(given, int) else spec.get("terminationGracePeriodSeconds", GRACE)
    sleeps = [0.0]
    for container in spec.get("containers", ()):
        stop = (container.get("lifecycle") or {}).get("preStop") or {}
        sleeps.append(float((stop.get("sleep") or {}).get("seconds") or 0))
    return min(max(sleeps), float(grace))


def later(now: str, seconds: float) -> str:
    """Returns the time ``seconds`` after ``now``, both RFC 3339 with whole seconds."""
    return (datetime.strptime(now, _TIME) + timedelta(seconds=seconds)).strftime(_TIME)


def rfc3339(seconds: float) -> str:
    """Returns ``seconds`` since 1970 as Kubernetes writes times."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime(_TIME)


# --- the status ---------------------------------------------------------------------------------------------


def _record(plane: ControlPlane, document: dict[str, Any], status: Mapping[str, Any]) -> None:
    """Records the events of a status that has changed, as the scheduler and the kubelet do."""
    before: Mapping[str, Any] = document.get("status") or {}
    name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
    node = document["spec"].get("nodeName")
    was, now = ({c["type"]: c for c in one.get("conditions") or ()} for one in (before, status))
    unscheduled = now.get("PodScheduled", {}).get("status") == "False"
    if unscheduled and was.get("PodScheduled") != now["PodScheduled"]:
        message = now["PodScheduled"].get("message", "")
        record(plane, document, "Warning", "FailedScheduling", message, "default-scheduler")
    if node and was.get("PodScheduled", {}).get("status") != "True":
        said = f"Successfully assigned {namespace}/{name} to {node}"
        record(plane, document, "Normal", "Scheduled", said, "default-scheduler")
    old = {one["name"]: one for one in before.get("containerStatuses") or ()}
    for one in status.get("containerStatuses") or ():
        last = old.get(one["name"], {})
        if "running" in one["state"] and last.get("state", {}).get("running") != one["state"]["running"]:
            if one["restartCount"] > last.get("restartCount", 0):
                said = f"Container {one['name']} failed its probe, will be restarted"
                record(plane, document, "Normal", "Killing", said, "kubelet")
            record(plane, document, "Normal", "Started", f"Started container {one['name']}", "kubelet")


def pod_status(
    document: Mapping[str, Any],
    facts: Facts,
    uid: str,
    now: str,
    hosts: Sequence[str] = (),
    waiting: str = "",
) -> dict[str, Any]:
    """Returns the status of the Pod ``document``, whose node has the addresses ``hosts``; ``waiting`` is why
    it has no node. Conditions that others wrote into it, for readiness gates, stay.
    """
    before: Mapping[str, Any] = document.get("status") or {}
    spec = document["spec"]
    status = dict(before)
    if not spec.get("nodeName"):
        status["phase"] = "Pending"
        status.setdefault("qosClass", qos_class(spec))
        if waiting:
            told = {c.get("type"): c for c in before.get("conditions") or () if isinstance(c, Mapping)}
            row = _condition("PodScheduled", False, "Unschedulable", waiting)
            told["PodScheduled"] = _timed(row, told.get("PodScheduled"), now)
            status["conditions"] = list(told.values())
        return status
    up = facts.up.get(uid)
    runs = facts.runs.get(uid, {})
    probes = facts.probes.get(uid, {})
    containers = [
        container_status(one, runs.get(one["name"]), probes.get(one["name"], Probe()), up, uid)
        for one in spec.get("containers", ())
    ]
    phase = _phase(spec, containers) if up else "Pending"
    gates = [gate.get("conditionType") for gate in spec.get("readinessGates") or ()]
    told = {c.get("type"): c for c in before.get("conditions") or () if isinstance(c, Mapping)}
    containers_ready = bool(up) and phase == "Running" and all(one["ready"] for one in containers)
    unready = [one["name"] for one in containers if not one["ready"]]
    gated = all((told.get(gate) or {}).get("status") == "True" for gate in gates)
    reason, message = "", ""
    if phase in ("Succeeded", "Failed"):
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
    elif not containers_ready:
        reason = "ContainersNotReady"
        message = f"containers with unready status: [{' '.join(unready)}]"
    ready_reason, ready_message = reason, message
    if containers_ready and not gated:
        ready_reason = "ReadinessGatesNotReady"
        lacking = [gate for gate in gates if (told.get(gate) or {}).get("status") != "True"]
        ready_message = f'corresponding condition of pod readiness gate "{lacking[0]}" is not "True".'
    wanted = [
        _condition("PodReadyToStartContainers", bool(up)),
        _condition("Initialized", True),
        _condition("Ready", containers_ready and gated, ready_reason, ready_message),
        _condition("ContainersReady", containers_ready, reason, message),
        _condition("PodScheduled", True),
    ]
    kinds = {one["type"] for one in wanted}
    status["phase"] = phase
    status["conditions"] = [
        *(_timed(one, told.get(one["type"]), now) for one in wanted),
        *(one for kind, one in told.items() if kind not in kinds),
    ]
    status["qosClass"] = qos_class(spec)
    if hosts:
        status |= {"hostIP": hosts[0], "hostIPs": [{"ip": ip} for ip in hosts]}
    if up:
        if status.get("podIPs"):
            status["podIP"] = status["podIPs"][0]["ip"]
        status.setdefault("startTime", up)
        status["containerStatuses"] = containers
        if initial := [_initialised(one, up, uid) for one in spec.get("initContainers") or ()]:
            status["initContainerStatuses"] = initial
    return status


def _phase(spec: Mapping[str, Any], containers: Iterable[Mapping[str, Any]]) -> str:
    """Returns the phase of a Pod with its network: it ends when all of its containers have."""
    ends = [one["state"].get("terminated") for one in containers]
    if spec.get("restartPolicy", "Always") == "Always" or not all(ends) or not ends:
        return "Running"
    return "Failed" if any(end["exitCode"] for end in ends if end) else "Succeeded"


def _condition(kind: str, true: bool, reason: str = "", message: str = "") -> dict[str, Any]:
    condition: dict[str, Any] = {"type": kind, "status": "True" if true else "False"}
    if not true:
        condition |= {key: text for key, text in (("reason", reason), ("message", message)) if text}
    return condition


def _timed(condition: dict[str, Any], before: Mapping[str, Any] | None, now: str) -> dict[str, Any]:
    """Returns ``condition`` with the time of its last change."""
    same = before is not None and before.get("status") == condition["status"]
    stamp = before.get("lastTransitionTime") if same and before else None
    return {**condition, "lastProbeTime": None, "lastTransitionTime": stamp or now}


def container_status(
    container: Mapping[str, Any], run: Run | None, probe: Probe, up: str | None, uid: str
) -> dict[str, Any]:
    """Returns one of the containerStatuses. A container without a process of its own is served by the
    built-in server as long as the Pod has its network.
    """
    name, image = container["name"], container.get("image", "")
    status: dict[str, Any] = {
        "name": name,
        "image": image,
        "imageID": f"podwire://built-in/{image}" if up else "",
        "restartCount": run.restarts if run else 0,
        "lastState": {},
        "ready": False,
        "started": False,
    }
    if up is None:
        status["state"] = {"waiting": {"reason": "ContainerCreating"}}
        return status
    status["containerID"] = f"podwire://{uid}/{name}"
    if run is not None and run.last is not None:
        status["lastState"] = {"terminated": _terminated(run.last, run.last_since)}
    if run is not None and run.ended is not None:
        status["state"] = {"terminated": _terminated(run.ended, run.since)}
        return status
    since = run.since if run is not None else up
    status["state"] = {"running": {"startedAt": since}}
    status |= {"ready": probe.ready and probe.started, "started": probe.started}
    return status


def _terminated(end: Ended, since: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "exitCode": end.code,
        "reason": "Error" if end.code else "Completed",
        "startedAt": since,
        "finishedAt": end.at,
    }
    return row | ({"message": end.message} if end.message else {})


def _initialised(container: Mapping[str, Any], up: str, uid: str) -> dict[str, Any]:
    """Returns the status of an init container: a sidecar runs, another has done its work."""
    row = container_status(container, None, Probe(), up, uid)
    if container.get("restartPolicy") != "Always":
        row["state"] = {
            "terminated": {"exitCode": 0, "reason": "Completed", "startedAt": up, "finishedAt": up}
        }
        row["started"] = False
        row["ready"] = True
    return row


def qos_class(spec: Mapping[str, Any]) -> str:
    """Returns Guaranteed, Burstable or BestEffort (pkg/apis/core/v1/helper/qos)."""
    rows = [
        one.get("resources") or {} for one in (*spec.get("containers", ()), *spec.get("initContainers", ()))
    ]
    kinds = ("cpu", "memory")
    requests = [{k: v for k, v in (row.get("requests") or {}).items() if k in kinds} for row in rows]
    limits = [{k: v for k, v in (row.get("limits") or {}).items() if k in kinds} for row in rows]
    if not any(requests) and not any(limits):
        return "BestEffort"
    whole = all(set(limit) == set(kinds) for limit in limits)
    equal = all(not request or request == limit for request, limit in zip(requests, limits, strict=True))
    return "Guaranteed" if whole and equal else "Burstable"
