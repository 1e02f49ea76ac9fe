"""Defines findings: why the verdict on a flow is not "pass". Pure values; ``report.prose_of_verdicts`` writes
the sentences, ``report.prose_of_limits`` those of limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from ..net import Endpoint
from ..objects.config import Outcome
from .flows import Attempt
from .journeys import Journey
from .reasons import Reason


class FlowFault(Enum):
    """Lists the kinds of finding: one for each rule of the judge, or two for a rule that finds several
    things.
    """

    UNPROMISED = "unpromised"  # the objects promise nothing
    UNOBSERVED = "unobserved"  # no attempt has a journey
    CONTROL = "control"  # a control failed
    OUTCOME = "outcome"
    BACKEND = "backend"  # another endpoint answered
    SOURCE = "source"  # the endpoint saw another address
    REPLY = "reply"  # the client heard from another address
    COMBINATION = "combination"  # endpoint, source and reply are possible, but not together
    SERVER_SAW = "server-saw"  # the server names another client address than the frames
    SERVER_REACHED = "server-reached"  # the server names another address of its own
    NOT_RELAYED = "not-relayed"  # translated, where a proxy is to relay
    SERVER_NAME = "server-name"  # one address gave two names
    CLIENT_ERROR = "client-error"  # the reply came in, and the socket met an error
    HEALTH = "health"  # a health check answered otherwise
    SERVER = "server"  # a real command did not take it
    UNTRACED = "untraced"  # the client's outcome is not promised, and no frames explain it
    UNMET = "unmet"  # an endpoint never answered
    UNMET_HIDDEN = "unmet-hidden"  # the same, but some attempts ended behind the last tap
    UNMET_UNTRACED = "unmet-untraced"  # the same, but some attempts have no journey
    SILENCE = "silence"  # nothing is wrong, but lost packets would look so
    UNFOLLOWED = "unfollowed"  # nothing is wrong, but some attempts have no journey


class LimitKind(Enum):
    """Lists the limits of the kernel that drop packets without a trace."""

    NEIGHBOURS = "neighbours"  # entries of the neighbour table, which all network namespaces share
    BACKLOG = "backlog"  # a processor's queue of received packets
    CONNTRACK = "conntrack"  # entries of connection tracking
    UDP_BUFFER = "udp-buffer"  # one socket's
    ACCEPT_QUEUE = "accept-queue"  # one server's
    TCP_MEMORY = "tcp-memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Describes a limit of the kernel. ``counters`` count the packets that were dropped for it, ``setting``
    is its sysctl. ``place``: the counters are the machine's or a namespace's.
    """

    kind: LimitKind
    place: Literal["machine", "namespace"]
    counters: tuple[str, ...]
    setting: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Describes a limit that was met ``times`` times; ``netns``: where ("" on the machine as a whole),
    ``value``: the current setting ("" if it cannot be read).
    """

    limit: Limit
    times: int
    netns: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Describes one fault, with the ``journey`` or ``attempt`` that shows it: true of ``count`` attempts out
    of ``total``.

    ``because`` is why nothing is promised, ``expected`` the outcome that was promised, ``allowed`` the source
    rules or addresses, ``seen`` what was seen instead, ``unmet`` the groups of endpoints of which none
    answered. ``lost_frames`` and ``limits`` say that frames or packets were lost, which may explain it.
    """

    fault: FlowFault
    journey: Journey | None = None
    attempt: Attempt | None = None
    count: int = 0
    total: int = 0
    control: str = ""
    because: Reason | None = None
    expected: Outcome | None = None
    rules: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    unmet: tuple[frozenset[Endpoint], ...] = ()
    lost_frames: int = 0
    limits: tuple[Reached, ...] = ()
