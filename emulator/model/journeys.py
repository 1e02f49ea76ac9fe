"""Journeys: the hops of one attempt there and back, and what was rewritten between them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from emulator.cluster.state import BALANCER
from emulator.model.frames import Backend
from emulator.objects.config import Outcome


@dataclass(frozen=True, slots=True)
class Hop:
    """``netns/interface`` in or out, with the addresses that the packet had there. ``frame`` is the Frame's
    number.
    """

    time: int
    netns: str
    interface: str
    direction: Literal["in", "out"]
    src: str  # address:port
    dst: str
    ttl: int
    frame: int

    def __str__(self) -> str:
        return f"{self.netns}/{self.interface} {self.direction} {self.src} → {self.dst} ttl {self.ttl}"


@dataclass(frozen=True, slots=True)
class Change:
    """What a node did to a packet between two hops. ``frame`` is the first Frame that shows it.

    ``before`` and ``after`` are an address and port each; of what was relayed, ``A → B`` each: a process that
    was reached by the one connection said the same on another, which it opened.
    """

    what: Literal["DNAT", "SNAT", "un-DNAT", "un-SNAT", "relayed"]
    where: str  # network namespace
    before: str
    after: str
    frame: int

    def __str__(self) -> str:
        return f"{self.what} at {self.where}: {self.before} {'becomes' if self.what == 'relayed' else '→'} {self.after}"

    @property
    def led_to(self) -> str:
        """The address and port that it led to."""
        return self.after.rpartition(" → ")[2]


def find_dialled(dialled: str, there: Sequence[Hop]) -> str:
    """The address and port that the node which serves is asked for: what the client ``dialled``, or what a
    balancer in the path made of it.
    """
    return next((hop.dst for hop in reversed(there) if hop.netns == BALANCER), dialled)


@dataclass(frozen=True, slots=True)
class Journey:
    """One attempt's way there and back."""

    token: int
    crafted: bool
    sent: tuple[str, str]  # src, dst as the client sent it (address:port)
    there: tuple[Hop, ...]
    back: tuple[Hop, ...]
    changes: tuple[Change, ...]
    outcome: Outcome
    backend: Backend | None = None
    source_seen: str = ""  # the client address (without port) as the backend saw it
    reply_from: str = ""  # address:port that the client heard from
    # for rejected/unreachable: "ICMP port unreachable from 172.18.0.3", "RST from …", "no route"
    evidence: str = ""
    unserved: str = ""  # namespace/name of the Pod that it came to, whose real command did not take it
