"""Computes what a run needs of the machine, from its schedule alone: how many frames pass each namespace, and
how many descriptors a process holds.

Pure: known before anything is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from math import ceil, sqrt

from ..cluster.state import (
    BALANCER,
    ROUTER,
    SWITCH,
    ClusterState,
    pod_netns,
)
from ..model.flows import Flow
from .schedule import Moment, Schedule

_PACKETS = 8  # frames of one connection: SYN, SYN-ACK, ACK, request, ACK, answer, ACK, RST
_HANDSHAKE = 3  # those of them that are captured if only handshakes are
_AT_NODE = 4  # captures of a packet at a node: on two links, and on the bridge's own device both ways
_AT_MIDDLE = 2  # at the switch, the router, the balancer: it comes and it goes
_CHATTER = 256  # datagrams of an open UDP connection between two reads of the rings
# spread of the attempts at one endpoint above its share: standard deviations of a fair choice
_DEVIATIONS = 6

_RING_BYTES = 512 << 20  # all rings together
_LEAST = 32  # slots of a ring
_SPARE_BYTES = 256 << 20  # shared among the rings of few namespaces, beyond their need
_SPARE_SLOTS = 512  # at most in each
_MOST = 8192  # slots of a ring: it is emptied while flows are sent
_MOST_BROADCASTS = 1 << 16  # slots of the switch's ring: it captures a broadcast once a port

_RING_HEADERS = 80 + 14  # bytes of a slot before the packet: the ring's own, then Ethernet's
_SLOT_HEADERS = _RING_HEADERS + 52  # before the payload: with IP's and TCP's headers
_ANSWER = 176  # bytes of an echo server's answer without its names (workload/answer.py)
_HEALTH_ANSWER = 400  # bytes of the answer to a health check


def ring_slots(schedule: Schedule, names: Collection[str], width: int) -> dict[str, int]:
    """Returns how many slots of ``width`` bytes the ring of each namespace in ``names`` needs: enough for the
    frames that may come between two reads of it. All rings together take no more than 512 MiB.
    """
    # a proxy's own connections
    double: int = 2 if any(expectation.relayed for expectation in schedule.expectations.values()) else 1
    most: int = _MOST * (2 if schedule.pairs else double)
    spare = min(_SPARE_SLOTS * double, _SPARE_BYTES // (width * max(1, len(names))))
    frames: dict[str, float] = {}
    for moment in schedule.moments:
        for name, count in _passing(schedule, moment).items():
            frames[name] = max(frames.get(name, 0.0), count)
    slots = {name: max(_LEAST, spare, min(most, ceil(frames.get(name, 0)) * double)) for name in names}
    for name, count in _broadcasts(schedule).items():
        if name in slots:
            slots[name] = max(slots[name], min(_MOST_BROADCASTS, count))
    total = sum(slots.values()) * width
    if total > _RING_BYTES:
        slots = {name: max(_LEAST, int(count * _RING_BYTES / total)) for name, count in slots.items()}
    return slots


def needs_bare_segments(schedule: Schedule) -> bool:
    """Returns whether a verdict may depend on how an accepted connection ended: one that is relayed, that
    stays open, or that may meet a real command.
    """
    return (
        any(flow.connection for flow in schedule.flows)
        or any(expectation.relayed for expectation in schedule.expectations.values())
        or any(moment.state.commands for moment in schedule.moments)
    )


def slot_width(schedule: Schedule) -> int:
    """Returns the bytes of a slot, a power of two: a whole frame fits, unless only handshakes are
    captured.
    """
    if schedule.pairs:
        return 256
    states = [moment.state for moment in schedule.moments]
    if any(state.commands for state in states):
        # answers of real commands are as long as a link's MTU allows
        longest = _RING_HEADERS + max(state.podNetwork.mtu for state in states)
        return 1 << (longest - 1).bit_length()
    listeners = [listener for state in states for listener in state.listeners]
    names = max((len(x.pod) + len(x.container) + len(x.node) for x in listeners), default=0)
    longest = (
        _SLOT_HEADERS + names + max(_ANSWER, _HEALTH_ANSWER if any(x.healthCheck for x in listeners) else 0)
    )
    return next((width for width in (512, 1024) if longest <= width), 2048)


def _passing(schedule: Schedule, moment: Moment) -> dict[str, float]:
    """Returns how many frames the flows of ``moment`` leave in each namespace, if every one of them takes its
    longest way.
    """
    state, places = moment.state, _Places(moment.state)
    sure: Counter[str] = Counter()
    chances: dict[str, float] = {}
    for flow in moment.flows:
        expectation = schedule.expectations[flow.name]
        frames = _frames_of(flow, schedule.pairs)
        ends = [
            flow.client.netns,
            *([flow.client.node] if flow.client.node else []),
            *([flow.via] if flow.via else []),
        ]
        service = state.service.get(flow.to.service)
        sticky = service is not None and service.spec.sessionAffinity == "ClientIP"
        share = frames if sticky or not expectation.backends else frames / len(expectation.backends)
        for backend in expectation.backends:
            for netns in places.of(backend.address):
                chances[netns] = chances.get(netns, 0) + share
        for netns in dict.fromkeys([*ends, *places.of(flow.to.ip)]):
            sure[netns] += frames
        for netns in (SWITCH, ROUTER, BALANCER):
            sure[netns] += frames
    for netns, mean in chances.items():
        sure[netns] += ceil(mean + _DEVIATIONS * sqrt(mean * _PACKETS))
    return {netns: count * places.times_seen(netns) for netns, count in sure.items()}


def _frames_of(flow: Flow, pairs: bool) -> int:
    """Returns the packets of a flow's attempts, each of which is a frame on every link that it passes."""
    if pairs:
        return _HANDSHAKE * flow.attempts
    chatter = _CHATTER if flow.connection and flow.protocol == "UDP" else 0
    return _PACKETS * (flow.attempts + 1) + chatter  # one more is crafted


def _broadcasts(schedule: Schedule) -> dict[str, int]:
    """Returns how many frames the speakers' announcements (a request and a reply each) leave in each
    namespace.
    """
    most: Counter[str] = Counter()
    for state in (moment.state for moment in schedule.moments if moment.state.speakers):
        said = 2 * len(state.speakers)
        seen = {
            SWITCH: said * (len(state.nodes) + 2),
            ROUTER: said,
            **{node.name: said for node in state.nodes},
        }
        most |= Counter(seen)
    return dict(most)


class _Places:
    """Finds the namespaces of addresses in one state."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._clients = {client.address: client.name for client in state.clients}
        self._middle = {SWITCH, ROUTER, BALANCER}

    def of(self, ip: str) -> Iterable[str]:
        """Returns the namespaces that a packet to ``ip`` ends in: a Pod's and its node's, a node's, a
        client's; none for a Service's address.
        """
        if pod := self._state.pod_by_ip.get(ip):
            return pod_netns(pod), pod.spec.nodeName
        if node := self._state.node_by_ip.get(ip):
            return (node.name,)
        return (self._clients[ip],) if ip in self._clients else ()

    def times_seen(self, netns: str) -> int:
        if netns in self._middle:
            return _AT_MIDDLE
        return _AT_NODE if netns in self._state.node else 1
