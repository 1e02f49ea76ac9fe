"""Resolves the names that users type for Pods, nodes and clients of a running cluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ..errors import UsageError

# kubectl's names of the kinds that have Pods, and their short names
_CONTROLLERS: Mapping[str, str] = {
    **dict.fromkeys(("deploy", "deployment", "deployments"), "Deployment"),
    **dict.fromkeys(("rs", "replicaset", "replicasets"), "ReplicaSet"),
    **dict.fromkeys(("rc", "replicationcontroller", "replicationcontrollers"), "ReplicationController"),
    **dict.fromkeys(("sts", "statefulset", "statefulsets"), "StatefulSet"),
    **dict.fromkeys(("ds", "daemonset", "daemonsets"), "DaemonSet"),
    **dict.fromkeys(("job", "jobs"), "Job"),
}
_THEMSELVES = ("po", "pod", "pods", "no", "node", "nodes")
_MOST = 12  # names in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Describes a Pod of a running cluster. ``name`` is ``namespace/name``; ``controller`` is the workload
    that made it, as ``kind/name`` ("": none). ``containers`` are the names of those that run ((): not known).
    """

    name: str
    node: str = ""
    addresses: tuple[str, ...] = ()
    controller: str = ""
    ready: bool = True
    containers: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        return self.name.partition("/")[0]


def resolve(
    name: str, names: Mapping[str, str], members: Sequence[Member], topology: str, namespace: str = ""
) -> str:
    """Returns the key of ``names`` that ``name`` means: itself, ``pod/NAME``, ``node/NAME``, the first Pod
    of ``deploy/NAME``, or the only Pod of a workload called ``name``.

    ``namespace`` is where a Pod or workload is; "": anywhere, ``default`` first. Raises UsageError with what
    comes near.
    """
    found = _own(name, names, namespace)
    kind, slash, rest = name.partition("/")
    if not found and slash and kind.lower() in _THEMSELVES:
        found = _own(rest, names, namespace)
    if found:
        return found
    _check_namespace(namespace, members, topology)
    if slash and kind.lower() in _CONTROLLERS:
        controller = f"{_CONTROLLERS[kind.lower()]}/{rest}"
        made = _made_by([controller], members, namespace)
        if not made:
            raise UsageError(_no_controller(controller, members, topology, namespace))
        return made[0].name
    made = _made_by([f"{kind}/{name}" for kind in set(_CONTROLLERS.values())], members, namespace)
    if len(made) == 1:
        return made[0].name
    if made:
        short = next(short for short, kind in _CONTROLLERS.items() if made[0].controller == f"{kind}/{name}")
        raise UsageError(
            f"{name} is {len(made)} Pods: {_listed([one.name for one in made])} "
            f"({short}/{name} takes the first)"
        )
    raise UsageError(_nobody(name, names, topology, namespace))


def check_container(container: str, name: str, member: Member | None) -> None:
    """Raises UsageError, with kubectl's words, where ``name`` has no ``container``. ``member``: the Pod that
    ``name`` means; None: it is no Pod.
    """
    if member is None:
        raise UsageError(f"{name} is no Pod and has no containers: leave out -c {container}")
    if member.containers and container not in member.containers:
        raise UsageError(
            f"container {container} not found in pod {member.name} out of: {', '.join(member.containers)}"
        )


def _check_namespace(namespace: str, members: Sequence[Member], topology: str) -> None:
    known = sorted({one.namespace for one in members})
    if namespace and known and namespace not in known:
        near = get_close_matches(namespace, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {_listed(known)}"
        raise UsageError(f"no Pod is in namespace {namespace!r} of {topology}: {hint}")


def _own(name: str, names: Mapping[str, str], namespace: str) -> str:
    inside = f"{namespace}/{name}"
    if namespace and inside in names:
        return inside
    is_machine = names.get(name) == name
    return name if name in names and (not namespace or is_machine or name.startswith(f"{namespace}/")) else ""


def _made_by(controllers: Sequence[str], members: Sequence[Member], namespace: str) -> list[Member]:
    """Returns the Pods of ``controllers``, those that are ready first; those of one namespace alone."""
    made = [one for one in members if one.controller in controllers]
    places = {one.namespace for one in made}
    chosen = namespace or ("default" if "default" in places else "")
    if chosen:
        made = [one for one in made if one.namespace == chosen]
    return sorted(made, key=lambda one: (not one.ready, one.name))


def _no_controller(controller: str, members: Sequence[Member], topology: str, namespace: str) -> str:
    known = sorted({one.controller for one in members if one.controller and namespace in ("", one.namespace)})
    kind, _, name = controller.partition("/")
    where = f"namespace {namespace} of {topology}" if namespace else topology
    said = f"no {kind} {name!r} with Pods in {where}"
    return f"{said}: there are {_listed(known)}" if known else said


def _nobody(name: str, names: Mapping[str, str], topology: str, namespace: str) -> str:
    inside = [one for one in names if one.startswith(f"{namespace}/")] if namespace else names
    near = get_close_matches(name, inside, n=3)
    known = _listed(near or sorted(one for one in inside if namespace or "/" not in one))
    where = f"namespace {namespace} of {topology}" if namespace else topology
    said = f"no Pod, node or client {name!r} in {where}"
    return f"{said}: " + ("did you mean " if near else "there are ") + known if known else said


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more (podwire ps -o wide)" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
