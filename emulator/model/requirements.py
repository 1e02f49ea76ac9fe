"""Defines the sentences of the Kubernetes network model and of steps, and the facts that break one. Pure
values; ``report.prose_of_requirements`` writes the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..net import Address, Endpoint
from ..objects.config import Outcome
from ..objects.references import ObjectRef
from .journeys import Change, Ending, Hop
from .timeline import ClusterEvent
from .timeline import Ending as Ended


class Sentence(Enum):
    """Lists the sentences; the value of each is its name in a report."""

    PODS_REACH_PODS = "pods-reach-pods"
    NODES_REACH_PODS = "nodes-reach-pods"
    SAME_ADDRESS = "same-address-inside-and-outside"
    OWN_INTERFACE = "pod-address-on-its-own-interface"
    NO_INTERFACE = "cluster-ip-on-no-interface"
    ROLLED_OUT = "rolled-out"
    TRAFFIC = "traffic"


@dataclass(frozen=True, slots=True)
class Translated:
    """Says that an address was translated on the way of ``flow``."""

    flow: str
    change: Change


@dataclass(frozen=True, slots=True)
class Missed:
    """Says that ``flow`` did not reach the Pod."""

    flow: str
    outcome: Outcome
    ending: Ending


@dataclass(frozen=True, slots=True)
class Disguised:
    """Says that the Pod saw another source address than the one that was ``sent``."""

    flow: str
    seen: Address
    sent: Address


@dataclass(frozen=True, slots=True)
class Misknown:
    """Says that ``server`` saw ``client``, whose interfaces have the addresses ``own``, as ``seen``."""

    client: str
    own: frozenset[str]
    server: str
    seen: Address


@dataclass(frozen=True, slots=True)
class Misplaced:
    """Says that the address of a Pod or Service is on an interface of ``netns``, or ``missing`` there."""

    ip: str
    object: ObjectRef
    netns: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class LostRequest:
    """Describes a request without an answer. ``last`` is where its packets were seen last (None: their frames
    do not say); ``endpoint``: the Pod that it was led to ("": none is known). ``events``: what happened to
    that Pod, or to the Service.
    """

    at: int  # ns since the epoch
    src: Endpoint
    dst: Endpoint
    how: Ended
    last: Hop | None
    endpoint: str
    events: tuple[ClusterEvent, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """Says that ``lost`` of ``sent`` requests had no answer, and ``most`` may have none; ``first`` is the
    first of them.
    """

    sent: int
    lost: int
    most: int
    first: LostRequest


@dataclass(frozen=True, slots=True)
class Stuck:
    """Says what a roll-out waited for when its deadline had passed."""

    text: str


Breach = Translated | Missed | Disguised | Misknown | Misplaced | Lost | Stuck
