"""Results: what was observed of a flow, its verdict, and the report of a run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from emulator.model.expectations import Expectation
from emulator.model.findings import Finding
from emulator.model.flows import Flow
from emulator.model.frames import Backend, Health
from emulator.model.journeys import Ending, Journey

Verdict = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What all attempts of a flow together say. ``outcomes`` counts attempts by outcome."""

    outcomes: Mapping[str, int]
    backends: Mapping[Backend, int] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    reply_from: tuple[str, ...] = ()
    health: tuple[Health, ...] = ()  # what health checks were answered, each answer once
    lost_frames: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowResult:
    flow: Flow
    expected: Expectation
    observed: Observation
    # one for each distinct way, at least one crafted and one by socket where both were sent
    journeys: tuple[Journey, ...]
    verdict: Verdict
    finding: Finding | None = None  # why not "pass"
    captures: tuple[str, ...] = ()  # file names inside the captures directory
    frames: tuple[int, ...] = ()  # the numbers of every frame of the flow
    # the verdict rests on silence: a packet that was lost without a trace would explain it
    silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One sentence of the Kubernetes network model, and what the packets and interfaces say about it.

    ``reason`` is the first fact against it, ``ending`` how the attempt ended that shows that fact, ``more``
    the number of other facts against it.
    """

    name: str
    text: str
    verdict: Verdict
    checked: int  # how many facts it rests on
    reason: str = ""
    ending: Ending | None = None
    more: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a run found; tables, JSON, JUnit and pcapng are made from this alone."""

    topology: str
    seed: int
    proxy_mode: str
    machine: Mapping[str, str]  # kernel, iptables flavour, podwire version, started (RFC 3339), seconds
    cluster: tuple[tuple[str, ...], ...]  # rows: node, role, address, podCIDR, Pods (names)
    # rows: namespace/name, type, clusterIP, ports, endpoints (how many)
    services: tuple[tuple[str, ...], ...]
    flows: tuple[FlowResult, ...]
    requirements: tuple[Requirement, ...]
    notices: tuple[str, ...] = ()

    @property
    def summary(self) -> Mapping[str, int]:
        counts = {"flows": len(self.flows), "pass": 0, "fail": 0, "unknown": 0}
        for result in self.flows:
            counts[result.verdict] += 1
        return counts

    @property
    def ok(self) -> bool:
        """Whether every flow is as expected and no requirement is broken (one that no flow of this run bears
        on is no failure).
        """
        return all(f.verdict == "pass" for f in self.flows) and all(
            r.verdict != "fail" for r in self.requirements
        )
