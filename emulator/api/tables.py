"""Makes the Tables that kubectl prints: the columns and cells of each kind. Pure.

Columns and cells follow pkg/printers/internalversion/printers.go; ages and durations are written as
apimachinery's util/duration writes them. A document may be malformed in any way: a cell is text then, or
"<unknown>", and never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ..net import Address, AddressError, Endpoint
from .resources import Resource
from .status import selector_text

Document = Mapping[str, Any]
UNKNOWN, NONE, UNSET = "<unknown>", "<none>", "<unset>"
_LONGEST = 1_000  # characters of a cell


class Column(NamedTuple):
    """Describes a column. ``wide``: shown by ``-o wide`` alone."""

    name: str
    type: str = "string"
    wide: bool = False
    format: str = ""
    description: str = ""


Cells = Callable[[Document, "_Now"], Sequence[Any]]


class _Now(NamedTuple):
    """Holds the time from which ages are counted."""

    time: datetime

    def age(self, stamp: Any) -> str:
        """Returns the time since ``stamp`` (RFC 3339), as kubectl prints it."""
        then = _time(stamp)
        return UNKNOWN if then is None else human_duration((self.time - then).total_seconds())


def _time(stamp: Any) -> datetime | None:
    if not isinstance(stamp, str) or not stamp:
        return None
    text = re.sub(r"\.\d+", "", stamp).replace("Z", "+00:00")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def human_duration(seconds: float) -> str:
    """Returns a duration as apimachinery's HumanDuration: two units where the larger one is small."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years = days // 365
    if days < 365 * 8:
        return f"{years}y{days % 365}d" if days % 365 else f"{years}y"
    return f"{years}y"


# --- reading what may be malformed --------------------------------------------------------------------------


def _at(document: Any, *steps: str | int) -> Any:
    """Returns the value at ``steps``, None where there is none."""
    for step in steps:
        if isinstance(step, int):
            document = document[step] if isinstance(document, list) and len(document) > step else None
        else:
            document = document.get(step) if isinstance(document, Mapping) else None
    return document


def _map(document: Any, *steps: str | int) -> Mapping[str, Any]:
    found = _at(document, *steps)
    return found if isinstance(found, Mapping) else {}


def _rows(document: Any, *steps: str | int) -> list[Mapping[str, Any]]:
    found = _at(document, *steps)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _list(document: Any, *steps: str | int) -> list[Any]:
    found = _at(document, *steps)
    return found if isinstance(found, list) else []


def _text(document: Any, *steps: str | int) -> str:
    found = _at(document, *steps)
    return "" if found is None else found if isinstance(found, str) else str(found)


def _number(document: Any, *steps: str | int) -> int:
    found = _at(document, *steps)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def _name(document: Document) -> str:
    return _text(document, "metadata", "name")


def _age(document: Document, now: _Now) -> str:
    return now.age(_at(document, "metadata", "creationTimestamp"))


def _labels(found: Mapping[str, Any]) -> str:
    """Returns labels as kubectl prints a selector."""
    return ",".join(f"{key}={value}" for key, value in sorted(found.items())) or NONE


def _selector(document: Any, *steps: str) -> str:
    try:
        return selector_text(_map(document, *steps)) or NONE
    except (TypeError, ValueError, AttributeError):
        return UNKNOWN


def _containers(spec: Any) -> tuple[str, str]:
    rows = _rows(spec, "containers")
    return (
        ",".join(_text(one, "name") for one in rows),
        ",".join(_text(one, "image") for one in rows),
    )


NAME = Column("Name", format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", description="CreationTimestamp is the time at which the object was created.")
_IMAGES = (Column("Containers", wide=True), Column("Images", wide=True))
_SELECTOR = Column("Selector", wide=True)


# --- Pods ---------------------------------------------------------------------------------------------------


def pod_reason(pod: Document) -> tuple[str, int, int, int, str]:
    """Returns what STATUS says of a Pod, its ready containers, all of them, restarts, and the time of the
    last one (printPod).
    """
    spec, status = _map(pod, "spec"), _map(pod, "status")
    reason = _text(status, "reason") or _text(status, "phase") or "Unknown"
    for one in _rows(status, "conditions"):
        if one.get("type") == "PodScheduled" and one.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    sidecars = {
        _text(one, "name") for one in _rows(spec, "initContainers") if one.get("restartPolicy") == "Always"
    }
    total = len(_rows(spec, "containers")) + len(sidecars)
    ready = restarts = sidecar_restarts = 0
    last = ""
    initialising = False
    initial = _rows(status, "initContainerStatuses")
    for index, one in enumerate(initial):
        restarts += _number(one, "restartCount")
        last = max(last, _text(one, "lastState", "terminated", "finishedAt"))
        name = _text(one, "name")
        if name in sidecars:
            sidecar_restarts += _number(one, "restartCount")
            if one.get("started") is True:
                ready += one.get("ready") is True
                continue
        ended, waiting = _map(one, "state", "terminated"), _map(one, "state", "waiting")
        if ended and ended.get("exitCode") == 0:
            continue
        if ended:
            signal = _number(ended, "signal")
            what = f"Signal:{signal}" if signal else f"ExitCode:{_number(ended, 'exitCode')}"
            reason = f"Init:{_text(ended, 'reason') or what}"
        elif waiting and _text(waiting, "reason") not in ("", "PodInitializing"):
            reason = f"Init:{_text(waiting, 'reason')}"
        else:
            reason = f"Init:{index}/{len(_rows(spec, 'initContainers'))}"
        initialising = True
        break
    if not initialising:
        restarts, running = sidecar_restarts, False
        for one in reversed(_rows(status, "containerStatuses")):
            restarts += _number(one, "restartCount")
            last = max(last, _text(one, "lastState", "terminated", "finishedAt"))
            ended, waiting = _map(one, "state", "terminated"), _map(one, "state", "waiting")
            if waiting and _text(waiting, "reason"):
                reason = _text(waiting, "reason")
            elif ended and _text(ended, "reason"):
                reason = _text(ended, "reason")
            elif ended:
                signal = _number(ended, "signal")
                reason = f"Signal:{signal}" if signal else f"ExitCode:{_number(ended, 'exitCode')}"
            elif one.get("ready") is True and _at(one, "state", "running") is not None:
                running = True
                ready += 1
        if reason == "Completed" and running:
            true = any(
                c.get("type") == "Ready" and c.get("status") == "True" for c in _rows(status, "conditions")
            )
            reason = "Running" if true else "NotReady"
    if _text(pod, "metadata", "deletionTimestamp"):
        ended_phases = ("Failed", "Succeeded")
        if _text(status, "reason") == "NodeLost":
            reason = "Unknown"
        elif _text(status, "phase") not in ended_phases:
            reason = "Terminating"
    return reason, ready, total, restarts, last


def _pod(pod: Document, now: _Now) -> Sequence[Any]:
    reason, ready, total, restarts, last = pod_reason(pod)
    again = f"{restarts} ({now.age(last)} ago)" if restarts and last else str(restarts)
    status = _map(pod, "status")
    gates = [_text(one, "conditionType") for one in _rows(pod, "spec", "readinessGates")]
    told = {_text(c, "type"): _text(c, "status") for c in _rows(status, "conditions")}
    met = sum(told.get(gate) == "True" for gate in gates)
    return (
        _name(pod),
        f"{ready}/{total}",
        reason,
        again,
        _age(pod, now),
        _text(status, "podIPs", 0, "ip") or _text(status, "podIP") or NONE,
        _text(pod, "spec", "nodeName") or NONE,
        _text(status, "nominatedNodeName") or NONE,
        f"{met}/{len(gates)}" if gates else NONE,
    )


_POD = (
    NAME,
    Column("Ready"),
    Column("Status"),
    Column("Restarts"),
    AGE,
    Column("IP", wide=True),
    Column("Node", wide=True),
    Column("Nominated Node", wide=True),
    Column("Readiness Gates", wide=True),
)


# --- Services and endpoints ---------------------------------------------------------------------------------


def _external_ip(service: Document) -> str:
    spec = _map(service, "spec")
    externals = [str(ip) for ip in _list(spec, "externalIPs")]
    kind = _text(spec, "type") or "ClusterIP"
    if kind == "LoadBalancer":
        rows = _rows(service, "status", "loadBalancer", "ingress")
        found = [_text(one, "ip") or _text(one, "hostname") for one in rows]
        whole = ",".join([*filter(None, found), *externals])
        return whole or "<pending>"
    if kind == "ExternalName":
        return _text(spec, "externalName") or NONE
    return ",".join(externals) or NONE


def _service_ports(service: Document) -> str:
    told = []
    for port in _rows(service, "spec", "ports"):
        node = _number(port, "nodePort")
        both = f"{_number(port, 'port')}:{node}" if node else f"{_number(port, 'port')}"
        told.append(f"{both}/{_text(port, 'protocol') or 'TCP'}")
    return ",".join(told) or NONE


def _service(one: Document, now: _Now) -> Sequence[Any]:
    return (
        _name(one),
        _text(one, "spec", "type") or "ClusterIP",
        _text(one, "spec", "clusterIPs", 0) or _text(one, "spec", "clusterIP") or NONE,
        _external_ip(one),
        _service_ports(one),
        _age(one, now),
        _labels(_map(one, "spec", "selector")),
    )


def _cut(found: Sequence[str], most: int) -> str:
    """Returns the first of ``found``, and how many more there are."""
    if not found:
        return NONE
    more = len(found) - most
    return ",".join(found[:most]) + (f" + {more} more..." if more > 0 else "")


def _endpoints(one: Document, now: _Now) -> Sequence[Any]:
    found = []
    for subset in _rows(one, "subsets"):
        ports = [_number(port, "port") for port in _rows(subset, "ports")]
        addresses = [_text(address, "ip") for address in _rows(subset, "addresses")]
        found += [_endpoint(ip, port) for port in ports for ip in addresses] if ports else addresses
    return _name(one), _cut(found, 3), _age(one, now)


def _endpoint(ip: str, port: int) -> str:
    try:
        return str(Endpoint(Address(ip), port))
    except (AddressError, ValueError):
        return ip


def _slice(one: Document, now: _Now) -> Sequence[Any]:
    ports = [_text(port, "port") or _text(port, "name") or "*" for port in _rows(one, "ports")]
    addresses = [str(ip) for endpoint in _rows(one, "endpoints") for ip in _list(endpoint, "addresses")]
    return (
        _name(one),
        _text(one, "addressType"),
        _cut(ports, 3) if ports else UNSET,
        _cut(addresses, 3) if addresses else UNSET,
        _age(one, now),
    )


# --- nodes and namespaces -----------------------------------------------------------------------------------

_ROLE = "node-role.kubernetes.io/"


def _kernel(info: Document) -> str:
    machine = _text(info, "architecture")
    return (_text(info, "kernelVersion") or UNKNOWN) + (f" ({machine})" if machine else "")


def _node(one: Document, now: _Now) -> Sequence[Any]:
    conditions = {_text(c, "type"): _text(c, "status") for c in _rows(one, "status", "conditions")}
    ready = conditions.get("Ready", "True")  # a node that podwire runs is ready unless it says otherwise
    state = "Ready" if ready == "True" else "NotReady"
    if _at(one, "spec", "unschedulable") is True:
        state += ",SchedulingDisabled"
    labels = _map(one, "metadata", "labels")
    roles = sorted(
        key[len(_ROLE) :] for key in labels if isinstance(key, str) and key.startswith(_ROLE) and key != _ROLE
    )
    if labels.get("kubernetes.io/role"):
        roles.append(str(labels["kubernetes.io/role"]))
    addresses = _rows(one, "status", "addresses")

    def address(kind: str) -> str:
        return next((_text(a, "address") for a in addresses if a.get("type") == kind), NONE)

    info = _map(one, "status", "nodeInfo")
    return (
        _name(one),
        state,
        ",".join(roles) or NONE,
        _age(one, now),
        _text(info, "kubeletVersion"),
        address("InternalIP"),
        address("ExternalIP"),
        _text(info, "osImage") or UNKNOWN,
        _kernel(info),
        _text(info, "containerRuntimeVersion") or UNKNOWN,
    )


def _namespace(one: Document, now: _Now) -> Sequence[Any]:
    return _name(one), _text(one, "status", "phase") or "Active", _age(one, now)


# --- workloads ----------------------------------------------------------------------------------------------


def _wanted(one: Document) -> int:
    found = _at(one, "spec", "replicas")
    return found if isinstance(found, int) else 1


def _template(one: Document) -> tuple[str, str]:
    return _containers(_map(one, "spec", "template", "spec"))


def _deployment(one: Document, now: _Now) -> Sequence[Any]:
    status = _map(one, "status")
    return (
        _name(one),
        f"{_number(status, 'readyReplicas')}/{_wanted(one)}",
        _number(status, "updatedReplicas"),
        _number(status, "availableReplicas"),
        _age(one, now),
        *_template(one),
        _selector(one, "spec", "selector"),
    )


def _replicaset(one: Document, now: _Now) -> Sequence[Any]:
    status = _map(one, "status")
    return (
        _name(one),
        _wanted(one),
        _number(status, "replicas"),
        _number(status, "readyReplicas"),
        _age(one, now),
        *_template(one),
        _selector(one, "spec", "selector"),
    )


def _statefulset(one: Document, now: _Now) -> Sequence[Any]:
    ready = f"{_number(one, 'status', 'readyReplicas')}/{_wanted(one)}"
    return _name(one), ready, _age(one, now), *_template(one)


def _daemonset(one: Document, now: _Now) -> Sequence[Any]:
    status = _map(one, "status")
    chosen = _map(one, "spec", "template", "spec", "nodeSelector")
    return (
        _name(one),
        _number(status, "desiredNumberScheduled"),
        _number(status, "currentNumberScheduled"),
        _number(status, "numberReady"),
        _number(status, "updatedNumberScheduled"),
        _number(status, "numberAvailable"),
        _labels(chosen),
        _age(one, now),
        *_template(one),
        _selector(one, "spec", "selector"),
    )


def _job(one: Document, now: _Now) -> Sequence[Any]:
    status, spec = _map(one, "status"), _map(one, "spec")
    done = _number(status, "succeeded")
    if isinstance(spec.get("completions"), int):
        completions = f"{done}/{spec['completions']}"
    else:
        several = _number(spec, "parallelism")
        completions = f"{done}/1 of {several}" if several > 1 else f"{done}/1"
    began, ended = _time(status.get("startTime")), _time(status.get("completionTime"))
    duration = ""
    if began:
        duration = human_duration(((ended or now.time) - began).total_seconds())
    true = {_text(c, "type") for c in _rows(status, "conditions") if c.get("status") == "True"}
    state = "Running"
    for kind, word in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if kind in true:
            state = word
            break
    else:
        if _text(one, "metadata", "deletionTimestamp"):
            state = "Terminating"
        elif "FailureTarget" in true:
            state = "FailureTarget"
        elif "SuccessCriteriaMet" in true:
            state = "SuccessCriteriaMet"
    return (
        _name(one),
        state,
        completions,
        duration,
        _age(one, now),
        *_template(one),
        _selector(one, "spec", "selector"),
    )


def _cronjob(one: Document, now: _Now) -> Sequence[Any]:
    spec, status = _map(one, "spec"), _map(one, "status")
    last = now.age(status["lastScheduleTime"]) if status.get("lastScheduleTime") else NONE
    return (
        _name(one),
        _text(spec, "schedule"),
        _text(spec, "timeZone") or NONE,
        "True" if spec.get("suspend") is True else "False",
        len(_list(status, "active")),
        last,
        _age(one, now),
        *_containers(_map(spec, "jobTemplate", "spec", "template", "spec")),
        _selector(one, "spec", "jobTemplate", "spec", "selector"),
    )


# --- other kinds --------------------------------------------------------------------------------------------


def _event(one: Document, now: _Now) -> Sequence[Any]:
    first, last = _at(one, "firstTimestamp"), _at(one, "lastTimestamp")
    series = _map(one, "series")
    began = first or _at(one, "eventTime")
    seen = now.age(series.get("lastObservedTime") or last or began)
    count = _number(series, "count") or _number(one, "count") or 1
    about = _map(one, "involvedObject") or _map(one, "regarding")
    kind = _text(about, "kind").lower()
    target = f"{kind}/{_text(about, 'name')}" if kind else _text(about, "name")
    component = (
        _text(one, "source", "component")
        or _text(one, "deprecatedSource", "component")
        or _text(one, "reportingComponent")
        or _text(one, "reportingController")
    )
    host = _text(one, "source", "host") or _text(one, "reportingInstance")
    return (
        seen,
        _text(one, "type"),
        _text(one, "reason"),
        target,
        _text(about, "fieldPath"),
        f"{component}, {host}" if host else component,
        (_text(one, "message") or _text(one, "note")).strip(),
        now.age(began),
        count,
        _name(one),
    )


def _ingress(one: Document, now: _Now) -> Sequence[Any]:
    spec = _map(one, "spec")
    hosts = [_text(rule, "host") for rule in _rows(spec, "rules") if _text(rule, "host")]
    rows = _rows(one, "status", "loadBalancer", "ingress")
    addresses = [_text(row, "ip") or _text(row, "hostname") for row in rows]
    return (
        _name(one),
        _text(spec, "ingressClassName") or NONE,
        _cut(hosts, 3) if hosts else "*",
        ",".join(filter(None, addresses)),
        "80, 443" if _list(spec, "tls") else "80",
        _age(one, now),
    )


def _ingress_class(one: Document, now: _Now) -> Sequence[Any]:
    about = _map(one, "spec", "parameters")
    told = NONE
    if about:
        kind = _text(about, "kind")
        group = _text(about, "apiGroup")
        told = f"{kind}.{group}/{_text(about, 'name')}" if group else f"{kind}/{_text(about, 'name')}"
    return _name(one), _text(one, "spec", "controller"), told, _age(one, now)


def _policy(one: Document, now: _Now) -> Sequence[Any]:
    return _name(one), _selector(one, "spec", "podSelector"), _age(one, now)


def _budget(one: Document, now: _Now) -> Sequence[Any]:
    spec = _map(one, "spec")
    return (
        _name(one),
        _text(spec, "minAvailable") or "N/A",
        _text(spec, "maxUnavailable") or "N/A",
        _number(one, "status", "disruptionsAllowed"),
        _age(one, now),
    )


def _metric(metric: Document, state: Any) -> str:
    """Returns what a metric is and should be: ``cpu: 20%/50%`` (formatHPAMetrics)."""
    kind = _text(metric, "type")
    field = kind[:1].lower() + kind[1:]
    target, current = _map(metric, field, "target"), _map(state, field, "current")
    named = kind in ("Resource", "ContainerResource")
    if "averageValue" in target:
        what = f"{_text(current, 'averageValue') or UNKNOWN}/{_text(target, 'averageValue')}"
        if kind in ("External", "Object"):
            what += " (avg)"
    elif named:
        use, wanted = _at(current, "averageUtilization"), _at(target, "averageUtilization")
        what = f"{UNKNOWN if use is None else f'{use}%'}/{'<auto>' if wanted is None else f'{wanted}%'}"
    elif kind in ("External", "Object", "Pods"):
        what = f"{_text(current, 'value') or UNKNOWN}/{_text(target, 'value')}"
    else:
        return "<unknown type>"
    return f"{_text(metric, field, 'name')}: {what}" if named else what


def _scaler(one: Document, now: _Now) -> Sequence[Any]:
    spec = _map(one, "spec")
    target = f"{_text(spec, 'scaleTargetRef', 'kind')}/{_text(spec, 'scaleTargetRef', 'name')}"
    metrics, current = _rows(spec, "metrics"), _list(one, "status", "currentMetrics")
    states = [*current, *[None] * len(metrics)]
    found = [_metric(metric, state) for metric, state in zip(metrics, states, strict=False)]
    more = f" + {len(found) - 2} more..." if len(found) > 2 else ""
    minimum = _at(spec, "minReplicas")
    return (
        _name(one),
        target,
        (", ".join(found[:2]) or NONE) + more,
        UNSET if minimum is None else str(minimum),
        _number(spec, "maxReplicas"),
        _number(one, "status", "currentReplicas"),
        _age(one, now),
    )


def _storage_class(one: Document, now: _Now) -> Sequence[Any]:
    notes = _map(one, "metadata", "annotations")
    default = notes.get("storageclass.kubernetes.io/is-default-class") == "true"
    return (
        f"{_name(one)} (default)" if default else _name(one),
        _text(one, "provisioner"),
        _text(one, "reclaimPolicy") or "Delete",
        _text(one, "volumeBindingMode") or UNSET,
        one.get("allowVolumeExpansion") is True,
        _age(one, now),
    )


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(document: Any, *steps: str) -> str:
    return ",".join(_MODES.get(str(one), str(one)) for one in _list(document, *steps))


def _volume(one: Document, now: _Now) -> Sequence[Any]:
    spec = _map(one, "spec")
    claim = _map(spec, "claimRef")
    return (
        _name(one),
        _text(spec, "capacity", "storage"),
        _modes(spec, "accessModes"),
        _text(spec, "persistentVolumeReclaimPolicy"),
        _text(one, "status", "phase"),
        f"{_text(claim, 'namespace')}/{_text(claim, 'name')}" if claim else "",
        _text(spec, "storageClassName"),
        UNSET,
        _text(one, "status", "reason"),
        _age(one, now),
        _text(spec, "volumeMode") or UNSET,
    )


def _claim(one: Document, now: _Now) -> Sequence[Any]:
    spec, status = _map(one, "spec"), _map(one, "status")
    bound = bool(_text(spec, "volumeName"))
    return (
        _name(one),
        _text(status, "phase"),
        _text(spec, "volumeName"),
        _text(status, "capacity", "storage") if bound else "",
        _modes(status, "accessModes") if bound else "",
        _text(spec, "storageClassName"),
        UNSET,
        _age(one, now),
        _text(spec, "volumeMode") or UNSET,
    )


def _binding(one: Document, now: _Now) -> Sequence[Any]:
    reference = _map(one, "roleRef")
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in _rows(one, "subjects"):
        kind, name = _text(subject, "kind"), _text(subject, "name")
        if kind == "ServiceAccount":
            name = f"{_text(subject, 'namespace')}/{name}"
        subjects.setdefault(kind, []).append(name)
    return (
        _name(one),
        f"{_text(reference, 'kind')}/{_text(reference, 'name')}",
        _age(one, now),
        *(", ".join(subjects[kind]) for kind in ("User", "Group", "ServiceAccount")),
    )


def _role(one: Document, _: _Now) -> Sequence[Any]:
    return _name(one), _text(one, "metadata", "creationTimestamp")


def _revision(one: Document, now: _Now) -> Sequence[Any]:
    owner = next((o for o in _rows(one, "metadata", "ownerReferences") if o.get("controller") is True), None)
    told = NONE
    if owner:
        group = _text(owner, "apiVersion").rpartition("/")[0]
        kind = _text(owner, "kind").lower()
        told = f"{kind}.{group}/{_text(owner, 'name')}" if group else f"{kind}/{_text(owner, 'name')}"
    return _name(one), told, _number(one, "revision"), _age(one, now)


def _api_service(one: Document, now: _Now) -> Sequence[Any]:
    service = _map(one, "spec", "service")
    told = f"{_text(service, 'namespace')}/{_text(service, 'name')}" if service else "Local"
    state = next((c for c in _rows(one, "status", "conditions") if c.get("type") == "Available"), None)
    reason = f" ({_text(state, 'reason')})" if state and _text(state, "status") != "True" else ""
    return _name(one), told, (_text(state, "status") or "Unknown") + reason, _age(one, now)


def _quota(one: Document, now: _Now) -> Sequence[Any]:
    hard, used = _map(one, "status", "hard"), _map(one, "status", "used")
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        row = f"{name}: {used.get(name, 0)}/{hard[name]}"
        (limits if str(name).startswith("limits.") else requests).append(row)
    return _name(one), ", ".join(requests), ", ".join(limits), _age(one, now)


def _definition(one: Document, _: _Now) -> Sequence[Any]:
    spec, names = _map(one, "spec"), _map(one, "spec", "names")
    versions = [
        f"{_text(each, 'name')}(storage)" if each.get("storage") is True else _text(each, "name")
        for each in _rows(spec, "versions")
        if each.get("served") is True or each.get("storage") is True
    ]
    established = [
        _text(c, "status") for c in _rows(one, "status", "conditions") if c.get("type") == "Established"
    ]
    return (
        _name(one),
        _text(spec, "scope"),
        ",".join(versions),
        _text(one, "metadata", "creationTimestamp"),
        _text(spec, "group"),
        _text(names, "kind"),
        ",".join(map(str, _list(names, "shortNames"))),
        established == ["True"],
    )


def _data(one: Document) -> int:
    return len(_map(one, "data")) + len(_map(one, "binaryData"))


_ROWS: Mapping[tuple[str, str], tuple[tuple[Column, ...], Cells]] = {
    ("", "Pod"): (_POD, _pod),
    ("", "Service"): (
        (
            NAME,
            Column("Type"),
            Column("Cluster-IP"),
            Column("External-IP"),
            Column("Port(s)"),
            AGE,
            _SELECTOR,
        ),
        _service,
    ),
    ("", "Endpoints"): ((NAME, Column("Endpoints"), AGE), _endpoints),
    ("discovery.k8s.io", "EndpointSlice"): (
        (NAME, Column("AddressType"), Column("Ports"), Column("Endpoints"), AGE),
        _slice,
    ),
    ("", "Node"): (
        (
            NAME,
            Column("Status"),
            Column("Roles"),
            AGE,
            Column("Version"),
            Column("Internal-IP", wide=True),
            Column("External-IP", wide=True),
            Column("OS-Image", wide=True),
            Column("Kernel-Version", wide=True),
            Column("Container-Runtime", wide=True),
        ),
        _node,
    ),
    ("", "Namespace"): ((NAME, Column("Status"), AGE), _namespace),
    ("apps", "Deployment"): (
        (
            NAME,
            Column("Ready"),
            Column("Up-to-date"),
            Column("Available"),
            AGE,
            *_IMAGES,
            _SELECTOR,
        ),
        _deployment,
    ),
    ("apps", "ReplicaSet"): (
        (
            NAME,
            Column("Desired", "integer"),
            Column("Current", "integer"),
            Column("Ready", "integer"),
            AGE,
            *_IMAGES,
            _SELECTOR,
        ),
        _replicaset,
    ),
    ("", "ReplicationController"): (
        (
            NAME,
            Column("Desired", "integer"),
            Column("Current", "integer"),
            Column("Ready", "integer"),
            AGE,
            *_IMAGES,
            _SELECTOR,
        ),
        _replicaset,
    ),
    ("apps", "StatefulSet"): ((NAME, Column("Ready"), AGE, *_IMAGES), _statefulset),
    ("apps", "DaemonSet"): (
        (
            NAME,
            Column("Desired", "integer"),
            Column("Current", "integer"),
            Column("Ready", "integer"),
            Column("Up-to-date", "integer"),
            Column("Available", "integer"),
            Column("Node Selector"),
            AGE,
            *_IMAGES,
            _SELECTOR,
        ),
        _daemonset,
    ),
    ("apps", "ControllerRevision"): (
        (NAME, Column("Controller"), Column("Revision"), AGE),
        _revision,
    ),
    ("batch", "Job"): (
        (NAME, Column("Status"), Column("Completions"), Column("Duration"), AGE, *_IMAGES, _SELECTOR),
        _job,
    ),
    ("batch", "CronJob"): (
        (
            NAME,
            Column("Schedule"),
            Column("Timezone"),
            Column("Suspend", "boolean"),
            Column("Active", "integer"),
            Column("Last Schedule"),
            AGE,
            *_IMAGES,
            _SELECTOR,
        ),
        _cronjob,
    ),
    ("", "ConfigMap"): (
        (NAME, Column("Data"), AGE),
        lambda one, now: (_name(one), _data(one), _age(one, now)),
    ),
    ("", "Secret"): (
        (NAME, Column("Type"), Column("Data"), AGE),
        lambda one, now: (_name(one), _text(one, "type") or "Opaque", _data(one), _age(one, now)),
    ),
    ("", "ServiceAccount"): (
        (NAME, AGE),
        lambda one, now: (_name(one), _age(one, now)),
    ),
    ("", "Event"): (
        (
            Column("Last Seen"),
            Column("Type"),
            Column("Reason"),
            Column("Object"),
            Column("Subobject", wide=True),
            Column("Source", wide=True),
            Column("Message"),
            Column("First Seen", wide=True),
            Column("Count", wide=True),
            NAME._replace(wide=True),
        ),
        _event,
    ),
    ("networking.k8s.io", "Ingress"): (
        (NAME, Column("Class"), Column("Hosts"), Column("Address"), Column("Ports"), AGE),
        _ingress,
    ),
    ("networking.k8s.io", "IngressClass"): (
        (NAME, Column("Controller"), Column("Parameters"), AGE),
        _ingress_class,
    ),
    ("networking.k8s.io", "NetworkPolicy"): ((NAME, Column("Pod-Selector"), AGE), _policy),
    ("networking.k8s.io", "ServiceCIDR"): (
        (NAME, Column("CIDRs"), AGE),
        lambda one, now: (_name(one), ",".join(map(str, _list(one, "spec", "cidrs"))), _age(one, now)),
    ),
    ("networking.k8s.io", "IPAddress"): (
        (NAME, Column("ParentRef"), AGE),
        lambda one, now: (
            _name(one),
            "/".join(
                filter(
                    None,
                    (_text(one, "spec", "parentRef", key) for key in ("resource", "namespace", "name")),
                )
            )
            or NONE,
            _age(one, now),
        ),
    ),
    ("policy", "PodDisruptionBudget"): (
        (
            NAME,
            Column("Min Available"),
            Column("Max Unavailable"),
            Column("Allowed Disruptions", "integer"),
            AGE,
        ),
        _budget,
    ),
    ("autoscaling", "HorizontalPodAutoscaler"): (
        (
            NAME,
            Column("Reference"),
            Column("Targets"),
            Column("MinPods"),
            Column("MaxPods"),
            Column("Replicas"),
            AGE,
        ),
        _scaler,
    ),
    ("coordination.k8s.io", "Lease"): (
        (NAME, Column("Holder"), AGE),
        lambda one, now: (_name(one), _text(one, "spec", "holderIdentity"), _age(one, now)),
    ),
    ("storage.k8s.io", "StorageClass"): (
        (
            NAME,
            Column("Provisioner"),
            Column("ReclaimPolicy"),
            Column("VolumeBindingMode"),
            Column("AllowVolumeExpansion"),
            AGE,
        ),
        _storage_class,
    ),
    ("", "PersistentVolume"): (
        (
            NAME,
            Column("Capacity"),
            Column("Access Modes"),
            Column("Reclaim Policy"),
            Column("Status"),
            Column("Claim"),
            Column("StorageClass"),
            Column("VolumeAttributesClass"),
            Column("Reason"),
            AGE,
            Column("VolumeMode", wide=True),
        ),
        _volume,
    ),
    ("", "PersistentVolumeClaim"): (
        (
            NAME,
            Column("Status"),
            Column("Volume"),
            Column("Capacity"),
            Column("Access Modes"),
            Column("StorageClass"),
            Column("VolumeAttributesClass"),
            AGE,
            Column("VolumeMode", wide=True),
        ),
        _claim,
    ),
    ("scheduling.k8s.io", "PriorityClass"): (
        (
            NAME,
            Column("Value", "integer"),
            Column("Global-Default", "boolean"),
            AGE,
            Column("PreemptionPolicy"),
        ),
        lambda one, now: (
            _name(one),
            _number(one, "value"),
            one.get("globalDefault") is True,
            _age(one, now),
            _text(one, "preemptionPolicy") or "PreemptLowerPriority",
        ),
    ),
    ("", "PodTemplate"): (
        (NAME, Column("Containers"), Column("Images"), Column("Pod Labels")),
        lambda one, _: (
            _name(one),
            *_containers(_map(one, "template", "spec")),
            _labels(_map(one, "template", "metadata", "labels")),
        ),
    ),
    ("apiregistration.k8s.io", "APIService"): (
        (NAME, Column("Service"), Column("Available"), AGE),
        _api_service,
    ),
    **{
        ("admissionregistration.k8s.io", kind): (
            (NAME, Column("Webhooks", "integer"), AGE),
            lambda one, now: (_name(one), len(_list(one, "webhooks")), _age(one, now)),
        )
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
    },
    ("", "ResourceQuota"): ((NAME, Column("Request"), Column("Limit"), AGE), _quota),
    ("", "LimitRange"): (
        (NAME, Column("Created At", "date")),
        lambda one, _: (_name(one), _text(one, "metadata", "creationTimestamp")),
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (
        (
            NAME,
            Column("Scope"),
            Column("Versions"),
            Column("Created At", "date"),
            Column("Group", wide=True),
            Column("Kind", wide=True),
            Column("ShortNames", wide=True),
            Column("Established", "boolean", wide=True),
        ),
        _definition,
    ),
    **{
        ("rbac.authorization.k8s.io", kind): ((NAME, Column("Created At", "date")), _role)
        for kind in ("Role", "ClusterRole")
    },
    **{
        ("rbac.authorization.k8s.io", kind): (
            (
                NAME,
                Column("Role"),
                AGE,
                Column("Users", wide=True),
                Column("Groups", wide=True),
                Column("ServiceAccounts", wide=True),
            ),
            _binding,
        )
        for kind in ("RoleBinding", "ClusterRoleBinding")
    },
}
# autoscaling/v1, Scale, is a subresource of many kinds
_SCALE: tuple[tuple[Column, ...], Cells] = (
    (
        NAME,
        Column("Desired", type="integer", description="Replicas that are wanted."),
        Column("Available", type="integer", description="Replicas that there are."),
        AGE,
    ),
    lambda one, now: (
        _name(one),
        _at(one, "spec", "replicas") or 0,
        _at(one, "status", "replicas") or 0,
        _age(one, now),
    ),
)
_PLAIN: tuple[tuple[Column, ...], Cells] = ((NAME, AGE), lambda one, now: (_name(one), _age(one, now)))


# --- custom resources ---------------------------------------------------------------------------------------

_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]|\[(\d+)\]|\.?\['?\"?([^'\"\]]+)'?\"?\]")


def _by_path(document: Document, path: str) -> Any:
    """Returns the value at a simple JSONPath (``.spec.replicas``, ``.status.addresses[0].ip``,
    ``.status.conditions[?(@.type=="Ready")].status``); None where there is none.
    """
    value: Any = document
    rest = path
    while rest:
        chosen = re.match(r"""\[\?\(@\.([\w.-]+)\s*==\s*["']([^"']*)["']\)\]""", rest)
        if chosen:
            rows = value if isinstance(value, list) else []
            wanted = chosen[1].split(".")
            value = next((row for row in rows if _text(row, *wanted) == chosen[2]), None)
            rest = rest[chosen.end() :]
            continue
        step = _STEP.match(rest)
        if not step:
            return None
        rest = rest[step.end() :]
        value = _at(value, int(step[3])) if step[3] else _at(value, step[1] or step[2] or step[4])
    return value


def _custom(columns: Sequence[Mapping[str, Any]]) -> tuple[tuple[Column, ...], Cells]:
    """Returns the columns and cells that a CustomResourceDefinition asks for."""
    rows = [
        Column(
            _text(one, "name"),
            _text(one, "type") or "string",
            _number(one, "priority") > 0,
            _text(one, "format"),
            _text(one, "description"),
        )
        for one in columns
    ]
    paths = [_text(one, "jsonPath") for one in columns]

    def cells(one: Document, now: _Now) -> Sequence[Any]:
        found = [_by_path(one, path) for path in paths]
        return (
            _name(one),
            *(
                now.age(value) if row.type == "date" and value is not None else _plain(value, row.type)
                for row, value in zip(rows, found, strict=True)
            ),
        )

    return (NAME, *rows), cells


def _plain(value: Any, kind: str) -> Any:
    if value is None or (isinstance(value, int | float | bool) and kind != "string"):
        return value
    return value if isinstance(value, str) else str(value)


# --- the Table ----------------------------------------------------------------------------------------------


def table(resource: Resource, documents: Iterable[Document], now: str, include: str = "") -> dict[str, Any]:
    """Returns the Table of ``documents``. ``now`` is the time, RFC 3339; ``include`` says what each row has
    of its object: None, Metadata (also "") or Object.
    """
    documents = [*documents]
    if documents and documents[0].get("kind") == "Scale":
        columns, cells = _SCALE
    elif resource.schema is not None:
        given = resource.columns or (
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        )
        columns, cells = _custom(given)
    else:
        group = "" if resource.kind == "Event" else resource.group
        columns, cells = _ROWS.get((group, resource.kind), _PLAIN)
    moment = _Now(_time(now) or datetime.now(timezone.utc))
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [
            {
                "name": one.name,
                "type": one.type,
                "format": one.format,
                "description": one.description or f"{one.name} of the {resource.kind}.",
                "priority": 1 if one.wide else 0,
            }
            for one in columns
        ],
        "rows": [
            {
                "cells": [_cell(value) for value in cells(one, moment)],
                **_conditions(resource, one),
                "object": _object(one, include),
            }
            for one in documents
        ],
    }


def _cell(value: Any) -> Any:
    return value[:_LONGEST] if isinstance(value, str) else value


def _conditions(resource: Resource, document: Document) -> dict[str, Any]:
    """Returns the condition of a Pod's row that tells that it has ended; nothing for other rows."""
    phase = _text(document, "status", "phase")
    if resource.kind != "Pod" or resource.group or phase not in ("Succeeded", "Failed"):
        return {}
    told = "The pod has completed successfully." if phase == "Succeeded" else "The pod failed."
    return {"conditions": [{"type": "Completed", "status": "True", "reason": phase, "message": told}]}


def _object(document: Document, include: str) -> Any:
    if include == "None":
        return None
    if include == "Object":
        return document
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": document.get("metadata") or {},
    }
