"""Collects the flows of one run, each under a name of its own, every Service flow with its controls. Pure.

A control is the same client straight to an endpoint's address: if it fails, the Pod is at fault and not the
Service.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..model.flows import Client, Destination, Flow, SourcePlace
from ..net import Endpoint
from ..objects.config import FlowProtocol
from ..oracle.expectations import Expectations
from ..oracle.parties import address_destination, communication_kind

MAX_CONTROLS = 5  # endpoints up to this number are all controlled
SAMPLED_CONTROLS = 3  # a sample, if there are more endpoints


class FlowBook:
    """Collects flows. Names stay unique ("… #2"); a direct flow that is there already serves as a control
    too.
    """

    def __init__(self, expectations: Expectations, step: str = "") -> None:
        """Starts an empty book. ``step``: the moment at which the flows are sent; controls carry its name,
        for every step has its own.
        """
        self.expectations, self._step = expectations, step
        self._flows: dict[str, Flow] = {}
        self._direct: dict[tuple[str, str, int, str], str] = {}

    def add(
        self,
        name: str,
        client: Client,
        to: Destination,
        protocol: FlowProtocol,
        *,
        via: str = "",
        attempts: int | None = None,
        check: str = "",
        entry: str = "",
        place: SourcePlace = SourcePlace(),  # noqa: B008 - a frozen value
        connection: str = "",
        prefix: str = "",
    ) -> Flow:
        """Adds the flow ``prefix`` + ``name`` and the controls that it needs. ``attempts`` None: enough to
        meet every endpoint (:func:`attempts_for`). :attr:`Flow.called` leaves out ``prefix``.
        """
        kind = communication_kind(self.expectations.owners, client, to)
        full, called = self._unique(prefix, name)
        flow = Flow(
            name=full,
            called=called,
            kind=kind,
            client=client,
            to=to,
            protocol=protocol,
            attempts=1,
            via=via,
            check=check,
            entry=entry,
            place=place,
            step=self._step,
        )
        if connection:
            flow, attempts = replace(flow, connection=connection), 1
        flow = self.expectations.with_attempts(flow) if attempts is None else replace(flow, attempts=attempts)
        translated = self.expectations.translation(flow) is not None
        flow = replace(flow, controls=self._controls(flow) if translated else ())
        self._flows[flow.name] = flow
        if not (translated or via or check):
            self._direct.setdefault((client.netns, to.ip, to.port, protocol), flow.name)
        return flow

    def flows(self) -> tuple[Flow, ...]:
        """Returns everything collected, as added; the controls last."""
        return tuple(sorted(self._flows.values(), key=lambda flow: flow.control))

    def _controls(self, flow: Flow) -> tuple[str, ...]:
        reachable = [b for b in self.expectations.may_meet(flow) if b.address in self.expectations.owners]
        return tuple(self._control(flow, backend) for backend in _sample(reachable, flow.client.ip))

    def _control(self, flow: Flow, backend: Endpoint) -> str:
        key = (flow.client.netns, backend.address, backend.port, flow.protocol)
        if key not in self._direct:
            owners = self.expectations.owners
            to = address_destination(owners, backend.address, backend.port)
            name, called = self._unique(
                f"{self._step}: " if self._step else "", flow_name(flow.client, to, flow.protocol, "control")
            )
            control = Flow(
                name=name,
                called=called,
                kind=communication_kind(owners, flow.client, to),
                client=flow.client,
                to=to,
                protocol=flow.protocol,
                attempts=1,
                control=True,
                check=flow.check,
                step=self._step,
            )
            self._flows[control.name] = control
            self._direct[key] = control.name
        return self._direct[key]

    def _unique(self, prefix: str, name: str) -> tuple[str, str]:
        """Returns a name that no flow has, with ``prefix`` and without it."""
        count, unique = 1, name
        while prefix + unique in self._flows:
            count += 1
            unique = f"{name} #{count}"
        return prefix + unique, unique if prefix else ""


def flow_name(client: Client, to: Destination, protocol: FlowProtocol, note: str = "") -> str:
    """Returns ``pod default/client → svc default/web:80 (other node)``; protocols other than TCP are part of
    the note.
    """
    notes = ", ".join(filter(None, ("" if protocol == "TCP" else protocol, note)))
    return f"{client.label} → {to.label}" + (f" ({notes})" if notes else "")


def _sample(backends: Sequence[Endpoint], client_ip: str) -> Sequence[Endpoint]:
    """Returns the backends that get a control: all, if few; else the client itself (a hairpin), then the
    first, the middle and the last.
    """
    if len(backends) <= MAX_CONTROLS:
        return backends
    itself = [b for b in backends if b.address == client_ip]
    spread = [backends[0], backends[len(backends) // 2], backends[-1]]
    return list(dict.fromkeys(itself + spread))[:SAMPLED_CONTROLS]
