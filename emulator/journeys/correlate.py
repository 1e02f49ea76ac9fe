"""Turns frames into journeys: which frames belong to an attempt, in which order it passed them, and what was
rewritten between two of them. Pure.

A token (:func:`emulator.model.frames.make_token`) survives NAT, so frames that carry the same one are one
packet on its way. Only a TCP socket's initial sequence number must be looked for. Invariant: nothing is
guessed; an attempt whose frames cannot be told from another's has no journey.

Where a process of a node accepts and dials the endpoint, there are two connections and two packets with the
same data. Such an attempt (:attr:`Attempt.relayed`) is followed by the cookie of its request, hop by hop on
the one connection and on the other. Over TCP the frames alone show that: each connection has an initial
sequence number of its own, which no translation changes. A UDP datagram looks translated; the servers show
that it is not, as they find no translation in the nodes' connection tracking (``verdicts.judge`` compares).

A tap stands outside the netfilter hooks of its namespace: an incoming frame is seen before PREROUTING, an
outgoing one after POSTROUTING (AF_PACKET in net/core/dev.c). So a node that is itself the client shows its
packet already translated, and the reply not yet translated back; a node whose own process is the endpoint
shows the packet before DNAT and the reply after un-DNAT. Hence:

- a first hop that differs from what was sent was rewritten by the client's own namespace;
- a reply whose last hop comes from where the first hop there went is translated back by connection tracking:
  the client hears the address it dialled (a bridge with br_netfilter has undone the masquerading before its
  own tap, but not DNAT);
- an endpoint behind the last tap is known by the server's own account alone (``Answer.local``): what was
  dialled there, by the client or by a balancer in the path, is the last thing seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ..cluster.state import BALANCER
from ..model.flows import Attempt
from ..model.frames import Frame
from ..model.journeys import (
    ANSWERED,
    Change,
    Connection,
    Ending,
    EndingKind,
    Hop,
    Journey,
    find_dialled,
)
from ..net import Address, Endpoint
from ..objects.config import Outcome
from .tokens import (
    Trace,
    divide_frames,
    find_tokens,
)

# The outcome of an attempt after an ICMP error (type/code: RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1). The
# prohibitions are what netfilter's REJECT and a firewall send; messages not in this table end nothing.
ICMP_ERRORS: Mapping[str, Outcome] = {
    "3/0": "unreachable",
    "3/1": "unreachable",
    "3/2": "rejected",
    "3/3": "rejected",
    "3/5": "unreachable",
    "3/6": "unreachable",
    "3/7": "unreachable",
    "3/8": "unreachable",
    "3/9": "rejected",
    "3/10": "rejected",
    "3/11": "unreachable",
    "3/12": "unreachable",
    "3/13": "rejected",
    "11/0": "unreachable",
}
# The outcome by a client's error when no answer to it was captured. A crafted packet reports only a failure
# to send.
_SOCKET_ERRORS: Mapping[str, Outcome] = {
    "ENETUNREACH": "unreachable",
    "EHOSTUNREACH": "unreachable",
    "EPERM": "dropped",
    "timeout": "dropped",
}
_ENDINGS = ("EOF", "ECONNRESET", "EPIPE")  # errors of a client's socket when a server closes it
_SENDING_ERRORS: Mapping[str, Outcome] = {
    "ENETUNREACH": "unreachable",
    "EHOSTUNREACH": "unreachable",
    "EPERM": "dropped",
    "": "dropped",
}

_Place = tuple[str, str, bool, int]  # netns, interface, outgoing, ttl


@dataclass(frozen=True, slots=True)
class Correlation:
    """Holds ``journeys`` and ``frames`` by the attempt's index; ``frames`` are the numbers of every frame of
    its token and connection (data and FIN too) in order of time.

    An attempt has no journey if nothing certain can be said of it: its frames may be another's
    (``collisions``: another attempt had the same token at the same time), or its socket heard something that
    no tap saw.
    """

    journeys: Mapping[int, Journey]
    frames: Mapping[int, tuple[int, ...]]
    collisions: tuple[int, ...]


def correlate(attempts: Sequence[Attempt], frames: Sequence[Frame]) -> Correlation:
    """Returns the journey of each attempt. ``frames`` may be interleaved between namespaces; each namespace's
    frames are in order.
    """
    trace = Trace(frames)
    tokens, ambiguous = find_tokens(attempts, trace)
    own, collisions = divide_frames(attempts, tokens, trace)
    journeys: dict[int, Journey] = {}
    unclear = ambiguous.union(collisions)
    for index, attempt in enumerate(attempts):
        if index not in unclear:
            journey = _make_journey(attempt, tokens.get(index, 0), own.get(index, []))
            if journey is not None:
                journeys[index] = journey
    numbers = {index: tuple([frame.number for frame in members]) for index, members in own.items()}
    return Correlation(journeys, numbers, tuple(sorted(collisions)))


# --- one attempt ------------------------------------------------------------------------------------------


def _make_journey(attempt: Attempt, token: int, frames: Iterable[Frame]) -> Journey | None:
    """Returns what ``frames`` (and the client's own error) say of ``attempt``; None if they contradict each
    other.
    """
    frames = _tell_echoes(token, frames) if attempt.servers else list(frames)
    there, answers = _order_hops(token, frames, attempt.relayed)
    arrival = _arrival(attempt, there)
    if (attempt.relayed or attempt.continued) and not answers and not arrival:
        answers = _closings(attempt, frames)
    sent = Connection(attempt.src, attempt.dst)
    left_as = there[0].src if there else sent.src
    ours = (sent.dst, there[0].dst) if attempt.relayed and there else None
    heard = next(
        (answer for answer in answers if _reached(answer, attempt.netns, (sent.src, left_as), ours)), None
    )
    answer = heard or (answers[0] if answers else _NO_ANSWER)
    outcome = (
        heard.outcome
        if heard
        else (_SENDING_ERRORS if attempt.crafted else _SOCKET_ERRORS).get(attempt.error)
    )
    backend, source_seen = _find_backend(attempt, sent.dst, there, answer)
    arrival = None if heard else arrival
    if arrival:
        outcome, backend, source_seen = (
            "delivered",
            arrival.dst,
            arrival.src.address,
        )
    if outcome is None:
        return None
    reply_from = None
    if heard and heard.outcome == "delivered":
        last = heard.hops[-1]
        reply_from = sent.dst if there and last.src == there[0].dst else last.src
    return Journey(
        token=token,
        crafted=attempt.crafted,
        sent=sent,
        there=there,
        back=answer.hops,
        changes=_find_changes(attempt.netns, sent, there, answer.hops, attempt.relayed),
        outcome=outcome,
        backend=backend,
        source_seen=source_seen,
        reply_from=reply_from,
        ending=Ending(kind="arrived", last=arrival)
        if arrival
        else _find_ending(attempt, outcome, there, answer, heard is not None),
    )


def _tell_echoes(token: int, frames: Iterable[Frame]) -> list[Frame]:
    """Returns ``frames``, with those of ``token`` marked as replies that go back where such a frame came
    from: a real command may echo the request.
    """
    ways: set[tuple[str, str, int, str, int]] = set()
    marked = []
    for frame in frames:
        echo = (frame.netns, frame.dst, frame.dport, frame.src, frame.sport) in ways
        if frame.token == token and not frame.reply and not echo:
            ways.add((frame.netns, frame.src, frame.sport, frame.dst, frame.dport))
        marked.append(frame._replace(reply=True) if frame.token == token and echo else frame)
    return marked


def _arrival(attempt: Attempt, there: Sequence[Hop]) -> Hop | None:
    """Returns the hop where the request came in at a real command, which need not answer it.

    That is enough for data on a TCP connection, which was accepted before, and for a datagram in a Pod's own
    network namespace. In a node's namespace its rules come between, so there some server must have answered.
    """
    if attempt.crafted or not (attempt.protocol == "UDP" or attempt.relayed or attempt.continued):
        return None
    places = {
        (s.netns, s.backend) for s in attempt.servers if s.own or attempt.protocol == "TCP" or attempt.heard
    }
    return next(
        (hop for hop in reversed(there) if hop.direction == "in" and (hop.netns, hop.dst) in places), None
    )


class _Answer(NamedTuple):
    """Describes one kind of packet that came back; ``code`` is its ICMP type/code or its TCP flag,
    ``outcome`` its meaning for the client.
    """

    hops: tuple[Hop, ...]
    kind: EndingKind
    code: str
    outcome: Outcome

    @property
    def ending(self) -> Ending:
        """Returns how an attempt ends that hears it."""
        if self.kind == "answered":
            return ANSWERED
        return Ending(kind=self.kind, code=self.code, by=self.hops[0].src)


_NO_ANSWER = _Answer((), "answered", "", "dropped")


def _order_hops(token: int, frames: Iterable[Frame], relayed: bool) -> tuple[tuple[Hop, ...], list[_Answer]]:
    """Returns the packet's hops there, and those of each kind of answer, the first answer first.

    The same place again is a retransmission, of which the first is kept, unless the packet's TTL is lower:
    then it loops. A proxy's request on its own connection is a packet of its own (``relayed``), which may
    pass the same place with the same TTL.
    """
    there: dict[tuple[_Place, object], Frame] = {}
    answers: dict[tuple[str, str], dict[tuple[_Place, object], Frame]] = {}
    for frame in frames:
        if frame.token != token:
            continue  # another segment of the connection
        ends = (frame.src, frame.sport, frame.dst, frame.dport) if relayed else None
        place = ((frame.netns, frame.interface, frame.outgoing, frame.ttl), ends)
        if frame.reply:
            # data: whatever else its segment says
            flags = "" if relayed and frame.protocol == "TCP" else frame.flags
            answers.setdefault((frame.protocol, flags), {}).setdefault(place, frame)
        elif frame.protocol != "ICMP error":  # the client's error about a reply
            there.setdefault(place, frame)
    return (
        tuple([_hop(frame) for frame in there.values()]),
        [
            _Answer(tuple([_hop(frame) for frame in way.values()]), *meaning)
            for (protocol, flags), way in answers.items()
            if (meaning := _read_answer(protocol, flags))
        ],
    )


def _read_answer(protocol: str, flags: str) -> tuple[EndingKind, str, Outcome] | None:
    """Returns the kind of an answer, its code and the outcome that it means; None if it ends nothing."""
    if protocol == "ICMP error":
        return ("icmp", flags, ICMP_ERRORS[flags]) if flags in ICMP_ERRORS else None
    if protocol == "TCP" and "R" in flags:
        return "rst", "", "rejected"
    if flags == "ABORT":
        return "abort", "", "rejected"
    return "answered", "", "delivered"


def _find_backend(
    attempt: Attempt, dialled: Endpoint, there: Sequence[Hop], answer: _Answer
) -> tuple[Endpoint | None, Address | None]:
    """Returns the endpoint that answered, and the source address that it saw: as the packet came in where the
    answer was first seen, if that was no router's.
    """
    if not answer.hops or answer.kind == "icmp":
        return None, None
    arrival = next(
        (hop for hop in reversed(there) if hop.direction == "in" and hop.netns == answer.hops[0].netns), None
    )
    if arrival is None:
        return None, None
    behind_tap = (
        attempt.answer.local if attempt.answer and arrival.dst == find_dialled(dialled, there) else None
    )
    return behind_tap or arrival.dst, arrival.src.address


def _find_ending(
    attempt: Attempt, outcome: Outcome, there: Sequence[Hop], answer: _Answer, heard: bool
) -> Ending:
    """Returns how the attempt ended; ``heard``: the client heard ``answer``."""
    if heard:
        return answer.ending
    if outcome == "unreachable":
        return Ending(kind="no route", code=attempt.error)
    if attempt.error == "EPERM":
        return Ending(kind="filtered")
    if answer.hops:
        refusal = None if answer.kind == "answered" else answer.ending
        return Ending(kind="reply lost", after=refusal, last=answer.hops[-1])
    return Ending(kind="silence", last=there[-1] if there else None, place=attempt.netns)


def _closings(attempt: Attempt, frames: Iterable[Frame]) -> list[_Answer]:
    """Returns the end of a connection on which nothing was answered: to the client that is a refusal, though
    it was let in.
    """
    hops: dict[_Place, Frame] = {}
    for frame in frames:
        if frame.time < attempt.started:
            continue  # an earlier request on this connection
        if (
            not frame.token
            and (frame.dst, frame.dport) == attempt.src
            and ("F" in frame.flags or "R" in frame.flags)
        ):
            hops.setdefault((frame.netns, frame.interface, frame.outgoing, frame.ttl), frame)
    first = next(iter(hops.values()), None)
    if first is None or attempt.error not in _ENDINGS:
        return []
    code = "FIN" if "F" in first.flags else "RST"
    return [_Answer(tuple([_hop(frame) for frame in hops.values()]), "closed", code, "rejected")]


def _find_changes(
    client: str, sent: Connection, there: Sequence[Hop], back: Sequence[Hop], relayed: bool = False
) -> tuple[Change, ...]:
    """Returns the rewrites between neighbouring hops.

    Replies are compared hop by hop from their first hop. If the server's node reversed DNAT before that hop,
    its source already equals the dialled address. Relayed replies cross the proxy in the opposite direction.
    (A balancer in the path translates in its kernel, both ways.)
    """
    changes: list[Change] = []
    # where, from and to: from and to on the other connection
    turned: dict[tuple[str, Endpoint, Endpoint], Connection] = {}
    where, (src, dst) = client, sent
    for hop in there:
        if relayed and hop.netns != BALANCER and hop.src != src and hop.dst != dst:
            changes.append(
                Change(
                    "relayed",
                    _between(where, hop.netns),
                    Connection(src, dst),
                    Connection(hop.src, hop.dst),
                    hop.frame,
                )
            )
            turned[hop.netns, hop.dst, hop.src] = Connection(dst, src)
            where, src, dst = hop.netns, hop.src, hop.dst
            continue
        if hop.dst != dst:
            changes.append(Change("DNAT", _between(where, hop.netns), dst, hop.dst, hop.frame))
        if hop.src != src:
            changes.append(Change("SNAT", _between(where, hop.netns), src, hop.src, hop.frame))
        where, src, dst = hop.netns, hop.src, hop.dst
    if not back:
        return tuple(changes)
    first = back[0]
    changes += [
        Change("un-DNAT", first.netns, change.after, change.before, first.frame)
        for change in changes
        if change.what == "DNAT"
        and change.where == first.netns
        and (change.before, change.after) == (first.src, dst)
    ]
    where, src, dst = first.netns, first.src, first.dst
    for hop in back:
        if hop.src != src and hop.dst != dst:
            src, dst = turned.get((hop.netns, src, dst), Connection(src, dst))
        if hop.src != src:
            changes.append(Change("un-DNAT", _between(where, hop.netns), src, hop.src, hop.frame))
        if hop.dst != dst:
            changes.append(Change("un-SNAT", _between(where, hop.netns), dst, hop.dst, hop.frame))
        where, src, dst = hop.netns, hop.src, hop.dst
    return tuple(changes)


def _between(before: str, after: str) -> str:
    """Returns where a rewrite happened: a link changes nothing, so two namespaces differ only if a tap
    between them missed the packet.
    """
    return after if before == after else f"{before}…{after}"


def _reached(
    answer: _Answer,
    netns: str,
    addresses: tuple[Endpoint, Endpoint],
    senders: tuple[Endpoint, Endpoint] | None,
) -> bool:
    """Returns whether an answer's last hop brings it to the client, and not merely through the client's
    namespace. ``senders``: the only addresses from which the client's socket takes a reply; a proxy may send
    from an address of its own that is not translated back.
    """
    hop = answer.hops[-1]
    unexpected = senders is not None and answer.outcome == "delivered" and hop.src not in senders
    return hop.netns == netns and hop.direction == "in" and hop.dst in addresses and not unexpected


def _hop(frame: Frame) -> Hop:
    number, time, netns, interface, outgoing, protocol, src, sport, dst, dport, ttl, _, _, _, _ = frame
    sender = _endpoint(src, 0 if protocol == "ICMP error" else sport)
    direction = "out" if outgoing else "in"
    return tuple.__new__(
        Hop, (time, netns, interface, direction, sender, _endpoint(dst, dport), ttl, number)
    )  # half of the time that Hop(...) takes


@lru_cache(maxsize=1 << 12)  # the hops of an attempt have few addresses
def _endpoint(address: Address, port: int) -> Endpoint:
    return Endpoint(address, port)
