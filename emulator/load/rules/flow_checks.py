"""Checks FlowChecks: their flows, expectations and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...errors import Words, printable, worded
from ...net import parse_sloppy
from ...objects.config import (
    ASYMMETRIC,
    FlowCheck,
    FlowExpect,
    FlowFrom,
    FlowSpec,
    FlowStep,
    FlowTo,
)
from ...objects.families import ONLY_BUILT, is_other
from ...objects.warnings import Code
from ..faults import FieldPath, Oddity, shown
from .checks import (
    LABEL,
    MAX_INT32,
    SUBDOMAIN,
    Checks,
    check_metadata,
)

MAX_ATTEMPTS = 10_000
MAX_WAIT = 3600
MAX_RATE, MAX_TIMEOUT = 1000, 60


def check_flow_check(check: FlowCheck, namespaced: bool, checks: Checks) -> FlowCheck:
    if not (check.flows or check.steps or check.derive):
        checks.fault(("spec", "flows"), "must not be empty", "a FlowCheck without flows has steps")
    if check.steps and not check.steps[-1].flows:
        last = len(check.steps) - 1
        checks.notices.append(Oddity(("spec", "steps", last), Code.UNCHECKED_STEP))
    steps = tuple(
        _step(("spec", "steps", i), step, f"step {i + 1}", checks) for i, step in enumerate(check.steps)
    )
    checks.unique([(("spec", "steps", i, "name"), step.name) for i, step in enumerate(steps)], "name")
    if any(step.rollout for step in steps):
        for i, step in enumerate(steps):
            if step.terminate:
                what = "goes without a rollout in the same FlowCheck: its kubelets end Pods in their own time"
                checks.fault(("spec", "steps", i, "terminate"), what, "delete the Pod instead")
    return replace(
        check,
        metadata=check_metadata(check, namespaced, checks),
        flows=_flows(("spec", "flows"), check.flows, checks),
        steps=steps,
    )


def _step(path: FieldPath, step: FlowStep, name: str, checks: Checks) -> FlowStep:
    """Checks one step; ``name`` is its default name."""
    if step == FlowStep(name=step.name):
        checks.fault(
            path, "does nothing", "it may delete, apply, scale, terminate, roll out, wait, and have flows"
        )
    if step.name:
        _one_line((*path, "name"), step.name, checks)
    for i, gone in enumerate(step.delete):
        checks.name((*path, "delete", i, "name"), gone.name, SUBDOMAIN)
        checks.name((*path, "delete", i, "namespace"), gone.namespace, LABEL)
    if step.scale:
        checks.name((*path, "scale", "name"), step.scale.name, SUBDOMAIN)
        checks.name((*path, "scale", "namespace"), step.scale.namespace, LABEL)
        if not 0 <= step.scale.replicas <= MAX_INT32:
            checks.fault(
                (*path, "scale", "replicas"),
                worded("must be between 0 and {}, is {}", MAX_INT32, shown(step.scale.replicas)),
            )
    if step.terminate:
        _exactly_one((*path, "terminate"), step.terminate, ("pod", "podSelector"), checks)
        checks.optional_name((*path, "terminate", "pod"), step.terminate.pod, SUBDOMAIN)
        checks.labels((*path, "terminate", "podSelector"), step.terminate.podSelector)
        checks.name((*path, "terminate", "namespace"), step.terminate.namespace, LABEL)
    if step.rollout:
        _exactly_one((*path, "rollout"), step.rollout, ("image", "restart"), checks)
        checks.name((*path, "rollout", "deployment"), step.rollout.deployment, SUBDOMAIN)
        checks.name((*path, "rollout", "namespace"), step.rollout.namespace, LABEL)
        checks.optional_name((*path, "rollout", "container"), step.rollout.container, LABEL)
        if step.rollout.container and step.rollout.restart:
            checks.fault((*path, "rollout", "container"), "goes with image only")
    if step.traffic:
        _traffic((*path, "traffic"), step, checks)
    if not 0 <= step.wait <= MAX_WAIT:
        checks.fault(
            (*path, "wait"), worded("must be between 0 and {} seconds, is {}", MAX_WAIT, shown(step.wait))
        )
    return replace(step, name=step.name or name, flows=_flows((*path, "flows"), step.flows, checks))


def _traffic(path: FieldPath, step: FlowStep, checks: Checks) -> None:
    """Checks the traffic of a step."""
    traffic = step.traffic
    if traffic is None:
        return
    if not step.rollout:
        checks.fault(path, "goes with rollout only: any other change of a step is done at once")
    if not step.flows:
        checks.fault(path, "needs flows: the step's flows are what is sent")
    if not 0.1 <= traffic.rate <= MAX_RATE:
        checks.fault((*path, "rate"), f"must be between 0.1 and {MAX_RATE}, is {shown(traffic.rate)}")
    if not 0 <= traffic.maxLost <= MAX_INT32:
        checks.fault((*path, "maxLost"), f"must be 0 or more, is {shown(traffic.maxLost)}")
    if not 0.01 <= traffic.timeout <= MAX_TIMEOUT:
        what = f"must be between 0.01 and {MAX_TIMEOUT} seconds, is {shown(traffic.timeout)}"
        checks.fault((*path, "timeout"), what)
    for i, flow in enumerate(step.flows):
        if flow.protocol not in ("TCP", "UDP") or flow.via or flow.to.healthCheck:
            what = "is sent steadily: TCP or UDP, without via, and to no healthCheck"
            checks.fault((*path[:-1], "flows", i), what)


def _flows(path: FieldPath, flows: Sequence[FlowSpec], checks: Checks) -> tuple[FlowSpec, ...]:
    flows = _named(flows)
    checks.unique([((*path, i, "name"), flow.name) for i, flow in enumerate(flows)], "name")
    first: dict[str, str] = {}
    for i, flow in enumerate(flows):
        if flow.connection in first:
            other = f"flow {shown(first[flow.connection])}, which is sent at once with it"
            what = worded("{} is the connection of {}", shown(flow.connection), other)
            checks.fault((*path, i, "connection"), what, "name another one, or go on in a later step")
        elif flow.connection:
            first[flow.connection] = flow.name
    return tuple(_flow((*path, i), flow, checks) for i, flow in enumerate(flows))


def _named(flows: Sequence[FlowSpec]) -> list[FlowSpec]:
    """Returns ``flows`` with names for those that have none: their ends, and a number where that is taken."""
    taken = {flow.name for flow in flows}
    named = []
    for flow in flows:
        name = base = flow.name or _ends(flow)
        count = 1
        while not flow.name and name in taken:
            count += 1
            name = f"{base} ({count})"
        taken.add(name)
        named.append(replace(flow, name=name))
    return named


def _ends(flow: FlowSpec) -> str:
    """Returns ``pod client → service web:80``, with "?" for what is not said."""
    source, to = flow.from_, flow.to
    client = next(
        (f"{end} {getattr(source, end)}" for end in ("pod", "node", "external") if getattr(source, end)), ""
    )
    ends = ("service", "pod", "node", "ip", "loadBalancer", "external")
    target = next((f"{end} {getattr(to, end)}" for end in ends if getattr(to, end)), "")
    client = client or _labels(source.podSelector)
    target = target or _labels(to.podSelector)
    port = to.nodePort if to.nodePort is not None else to.port
    target += (
        f":{port}" if port is not None else f" health check of {to.healthCheck}" if to.healthCheck else ""
    )
    notes = ([flow.protocol] if flow.protocol != "TCP" else []) + ([f"via {flow.via}"] if flow.via else [])
    return printable(f"{client} → {target}" + (f" ({', '.join(notes)})" if notes else ""))


def _labels(selector: Mapping[str, str]) -> str:
    return f"pods {','.join(f'{key}={value}' for key, value in selector.items())}" if selector else "?"


def _one_line(path: FieldPath, text: str, checks: Checks) -> None:
    if not text.strip() or not text.isprintable():
        checks.fault(path, worded("{} must be one line of printable characters", shown(text)))


def _flow(path: FieldPath, flow: FlowSpec, checks: Checks) -> FlowSpec:
    _one_line((*path, "name"), flow.name, checks)
    _flow_from((*path, "from"), flow.from_, checks)
    if flow.via and not flow.from_.external:
        checks.fault(
            (*path, "via"),
            "is for external clients only",
            "packets of Pods and nodes start on a node: leave it out",
        )
    checks.optional_name((*path, "via"), flow.via, SUBDOMAIN)
    if flow.attempts is not None and not 1 <= flow.attempts <= MAX_ATTEMPTS:
        checks.fault(
            (*path, "attempts"), worded("must be between 1 and {}, is {}", MAX_ATTEMPTS, shown(flow.attempts))
        )
    if flow.connection:
        _connection(path, flow, checks)
    to = _flow_to((*path, "to"), flow.to, flow.protocol, checks)
    return replace(flow, to=to, expect=_flow_expect((*path, "expect"), flow.expect, checks))


def _connection(path: FieldPath, flow: FlowSpec, checks: Checks) -> None:
    _one_line((*path, "connection"), flow.connection, checks)
    if flow.protocol not in ("TCP", "UDP"):
        checks.fault((*path, "connection"), f"goes with TCP and UDP: {flow.protocol} has no sockets here")
    if flow.attempts not in (None, 1):
        checks.fault((*path, "attempts"), "must be left out: a connection carries one request a flow")
    for end in ("from_", "to"):
        if getattr(flow, end).podSelector:
            checks.fault(
                (*path, end.rstrip("_"), "podSelector"),
                "must be one Pod: a connection has one client and one destination",
            )


def _exactly_one(path: FieldPath, value: Any, names: Sequence[str], checks: Checks) -> None:
    given = [name for name in names if getattr(value, name)]
    if len(given) != 1:
        what = f"must have exactly one of {', '.join(names)}"
        checks.fault(path, f"{what}; has {' and '.join(given)}" if given else what)


def _flow_from(path: FieldPath, value: FlowFrom, checks: Checks) -> None:
    _exactly_one(path, value, ("pod", "podSelector", "node", "external"), checks)
    for name in ("pod", "node", "external"):
        checks.optional_name((*path, name), getattr(value, name), SUBDOMAIN)
    checks.labels((*path, "podSelector"), value.podSelector)
    checks.name((*path, "namespace"), value.namespace, LABEL)


def _flow_to(path: FieldPath, value: FlowTo, protocol: str, checks: Checks) -> FlowTo:
    _exactly_one(
        path, value, ("service", "pod", "podSelector", "node", "ip", "loadBalancer", "external"), checks
    )
    for name in ("service", "pod", "node", "loadBalancer", "external", "healthCheck"):
        checks.optional_name((*path, name), getattr(value, name), SUBDOMAIN)
    checks.labels((*path, "podSelector"), value.podSelector)
    checks.name((*path, "namespace"), value.namespace, LABEL)
    if isinstance(value.port, str):
        checks.name((*path, "port"), value.port, LABEL)
        if value.node or value.ip or value.external:
            checks.fault(
                (*path, "port"),
                worded(
                    "{} must be a number: only the ports of Services and Pods have names", shown(value.port)
                ),
            )
    elif value.port is not None:
        checks.port((*path, "port"), value.port)
    if value.nodePort is not None:
        checks.port((*path, "nodePort"), value.nodePort)
        if not value.node:
            checks.fault((*path, "nodePort"), "goes with node only", "write node: and nodePort:, or port:")
        elif value.port is not None:
            checks.fault(path, "must have port or nodePort, not both")
    if value.healthCheck:
        _health_check(path, value, protocol, checks)
    elif protocol != "ICMP" and value.port is None and value.nodePort is None:
        checks.required((*path, "port"), f" with {protocol}")
    ip = checks.optional_address((*path, "ip"), value.ip)
    if is_other(ip):
        checks.fault((*path, "ip"), worded("{}: {}", shown(ip), Words(ONLY_BUILT)))
    return replace(value, ip=ip)


def _health_check(path: FieldPath, value: FlowTo, protocol: str, checks: Checks) -> None:
    if not value.node:
        checks.fault(
            (*path, "healthCheck"),
            "goes with node only",
            "every node answers for itself: write node: and healthCheck:",
        )
    elif value.port is not None or value.nodePort is not None:
        checks.fault((*path, "healthCheck"), "goes without a port: it is the Service's healthCheckNodePort")
    if protocol != "TCP":
        checks.fault((*path, "healthCheck"), f"is HTTP, and so TCP, not {protocol}")


def _flow_expect(path: FieldPath, expect: FlowExpect, checks: Checks) -> FlowExpect:
    source = expect.source
    if source not in (None, "preserved", "node", "balancer"):
        try:
            source = str(parse_sloppy(str(source)))
        except ValueError:
            checks.fault(
                (*path, "source"),
                worded("must be preserved, node, balancer or an IP address, is {}", shown(source)),
            )
    if expect.outcome not in (None, "delivered", ASYMMETRIC):
        for name in ("source", "backends"):
            if getattr(expect, name):
                checks.fault(
                    (*path, name), f"must be left out: a flow that is {expect.outcome} meets no backend"
                )
        for name in ("status", "localEndpoints"):
            if getattr(expect, name) is not None:
                checks.fault(
                    (*path, name), f"must be left out: a flow that is {expect.outcome} gets no answer"
                )
    _expected_health(path, expect, checks)
    modes = {
        mode: _flow_expect((*path, "modes", mode), instead, checks) for mode, instead in expect.modes.items()
    }
    for mode, instead in modes.items():
        if instead.modes:
            checks.fault((*path, "modes", mode, "modes"), "must be left out: it is expected in one mode")
    return replace(expect, source=source, modes=modes)


def _expected_health(path: FieldPath, expect: FlowExpect, checks: Checks) -> None:
    """Checks the expected answer of a healthCheckNodePort: 200 with a count, 503 without
    (docs/semantics 10).
    """
    status, count = expect.status, expect.localEndpoints
    if status not in (None, 200, 503):
        checks.fault(
            (*path, "status"),
            worded("must be 200 or 503, is {}", shown(status)),
            "a healthCheckNodePort answers nothing else",
        )
    if count is not None and not 0 <= count <= MAX_INT32:
        checks.fault(
            (*path, "localEndpoints"), worded("must be between 0 and {}, is {}", MAX_INT32, shown(count))
        )
    elif (status == 503 and count) or (status == 200 and count == 0):
        checks.fault(
            (*path, "localEndpoints"),
            worded("cannot be {} with status {}", count, status),
            "200: there are some; 503: there are none",
        )
