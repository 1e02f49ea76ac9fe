"""Holds results: what was observed of a flow, its verdict, and the report of a run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ..net import Address, Endpoint
from ..objects.references import ObjectRef, service_ref
from ..objects.warnings import Code, ManifestWarning
from .expectations import Expectation
from .findings import Finding
from .flows import Flow, SourcePlace
from .frames import Health
from .journeys import Journey
from .notices import Notice
from .reasons import Why
from .requirements import Breach, Sentence

Verdict = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Holds what all attempts of a flow together say. ``outcomes`` counts attempts by outcome."""

    outcomes: Mapping[str, int]
    backends: Mapping[Endpoint, int] = field(default_factory=dict)
    sources: tuple[Address, ...] = ()
    reply_from: tuple[Endpoint, ...] = ()
    health: tuple[Health, ...] = ()  # the answers to health checks, each once
    lost_frames: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowResult:
    flow: Flow
    expected: Expectation
    observed: Observation
    # one for each distinct way, at least one crafted and one by socket where both were sent
    journeys: Sequence[Journey]
    verdict: Verdict
    finding: Finding | None = None  # why not "pass"
    captures: tuple[str, ...] = ()  # file names inside the captures directory
    bundle: str = ""  # the directory there that holds the state of the nodes on its path; "": there is none
    frames: Sequence[int] = ()  # the numbers of every frame of the flow, if its evidence is wanted
    # the verdict rests on silence: a packet that was lost without a trace would explain it
    silent: bool = False
    took: int = 0  # nanoseconds from the first attempt to the end of the last

    @property
    def stays_bound(self) -> bool:
        """Returns whether a UDP client was to go on being led to an endpoint that answers no more: what it
        sends next is, too.
        """
        bound = self.expected.because.why is Why.CONNECTION_BOUND and self.flow.protocol == "UDP"
        return bound and not self.observed.backends


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """Holds one sentence of the Kubernetes network model, and what the packets and interfaces say about it.

    ``breach`` is the first fact against it (some may be allowed), ``more`` the number of other facts against
    it. ``asked`` is false if nothing of the run bears on it; it is "unknown" then, and where the evidence was
    lost. ``mode`` has every ClusterIP on ``service_interface`` of the nodes ("": on none). ``about``: the
    flow or the Deployment of a step that it is about ("": the whole cluster); ``most`` requests may be lost.
    """

    sentence: Sentence
    verdict: Verdict
    checked: int  # how many facts it rests on
    breach: Breach | None = None
    more: int = 0
    asked: bool = True
    mode: str = ""
    service_interface: str = ""
    about: str = ""
    most: int = 0

    @property
    def name(self) -> str:
        """Returns the name by which programs know it."""
        return f"{self.sentence.value}: {self.about}" if self.about else self.sentence.value


class PodRow(NamedTuple):
    """Describes a Pod of a node. ``hostNetwork``: it shares the node's network namespace. ``workload`` is
    ``deployment/web``; "" for a Pod that no workload made.
    """

    name: str
    hostNetwork: bool = False
    namespace: str = ""
    workload: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """Describes a node, or another machine (then ``podCIDR`` is "" and there are no ``pods``); ``roles`` are
    words.
    """

    name: str
    roles: tuple[str, ...]
    addresses: tuple[str, ...]  # a node's InternalIPs, the primary one first
    podCIDR: str = ""
    pods: tuple[PodRow, ...] = ()


class PortRow(NamedTuple):
    """Describes a Service port; ``nodePort`` is 0 where it has none. Its text is that of kubectl."""

    port: int
    protocol: str
    nodePort: int = 0

    def __str__(self) -> str:
        return f"{self.port}{f':{self.nodePort}' if self.nodePort else ''}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """Describes a Service. ``address`` is its ClusterIPs, "None" of a headless one, the external name of an
    ExternalName Service. ``external`` are its externalIPs and load-balancer addresses; ``pending``: it waits
    for one.
    """

    name: str  # namespace/name
    type: str
    address: str
    proxied: bool  # kube-proxy has a part in it
    external: tuple[str, ...] = ()
    pending: bool = False
    ports: tuple[PortRow, ...] = ()
    endpoints: int = 0  # how many


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRows:
    """Holds the rows that a step made or changed, and the names of those that it removed."""

    step: str
    cluster: tuple[NodeRow, ...] = ()
    services: tuple[ServiceRow, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Holds all results of a run; tables, JSON, JUnit and pcapng are made from this alone."""

    topology: str
    seed: int
    proxy_mode: str
    machine: Mapping[str, str]  # kernel, iptables flavour, podwire version, started (RFC 3339), seconds
    cluster: tuple[NodeRow, ...]  # the nodes, then the other machines
    services: tuple[ServiceRow, ...]
    flows: tuple[FlowResult, ...]
    requirements: tuple[Requirement, ...]
    notices: tuple[Notice, ...] = ()
    steps: tuple[StepRows, ...] = ()  # how ``cluster`` and ``services`` change; they show the beginning
    # where Services are written that flows dial, and the objects of flows that are not as promised
    places: Mapping[ObjectRef, SourcePlace] = field(default_factory=dict)
    warnings: tuple[ManifestWarning, ...] = ()
    strict: bool = False  # warnings count as failures
    # Pod (namespace/name) with a drawn name → the name that another run gives it, too
    replicas: Mapping[str, str] = field(default_factory=dict)
    # kube-proxy's, whose behaviour is modelled; with ``program`` the one that it says it is
    release: str = ""
    program: str = ""  # the path of the real kube-proxy that made the rules
    directory: str = ""  # the place of the evidence, as the user named it ("": it goes nowhere)

    @property
    def summary(self) -> Mapping[str, int]:
        counts = {"flows": len(self.flows), "pass": 0, "fail": 0, "unknown": 0}
        for result in self.flows:
            counts[result.verdict] += 1
        return counts

    @property
    def ok(self) -> bool:
        """Returns whether every flow is as expected, no requirement is broken, and, if the report is strict,
        there is no warning.
        """
        return self.kept and not (self.strict and self.warnings)

    @property
    def kept(self) -> bool:
        """Returns whether every flow is as expected and no requirement is broken."""
        return all(f.verdict == "pass" for f in self.flows) and all(
            r.verdict != "fail" for r in self.requirements
        )

    def place_of(self, flow: Flow) -> SourcePlace:
        """Returns where a reader finds ``flow``: in its FlowCheck, or, if it is derived, at its Service."""
        return flow.place if flow.place.file else self.places.get(service_ref(flow.to.service), SourcePlace())

    @property
    def empty(self) -> bool:
        """Returns whether the input has nothing to check."""
        return any(one.code is Code.NOTHING for one in self.warnings)
