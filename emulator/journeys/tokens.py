"""Finds the frames of each attempt: frames by token, and the token of every attempt. Pure.

UDP, ICMP, SCTP and crafted packets carry a token that the attempt knows; so does the request of a TCP attempt
that a proxy relays. Any other TCP socket's token is its initial sequence number, which only the wire shows,
so its first SYN must be found. Invariant: an attempt whose frames cannot be told from another's is named as
such, never guessed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter

from ..model.flows import Attempt
from ..model.frames import Frame
from ..net import PROTOCOL_NUMBER, Address, Endpoint

_TCP = PROTOCOL_NUMBER["TCP"]


class Trace:
    """Holds frames in order of time, with indexes.

    ``members``: token → its frames, the connection's other segments among them. ``openings``: source address
    and port of a connection → SYNs from there, and ICMP errors to there that quote a TCP segment.
    ``carriers``: token of a TCP request → those of the connections on which it was made; a proxy makes it on
    a second one.
    """

    __slots__ = ("carriers", "members", "openings")

    def __init__(self, frames: Sequence[Frame]) -> None:
        members: defaultdict[int, list[Frame]] = defaultdict(list)
        openings: defaultdict[tuple[Address, int], list[Frame]] = defaultdict(list)
        connections: dict[tuple[str, str, int, str, int], int] = {}
        carriers: defaultdict[int, dict[int, None]] = defaultdict(dict)
        # by time; stable, for a tap stamps a packet alike on a bridge and its port
        for frame in sorted(frames, key=itemgetter(1)):
            _, _, netns, _, _, protocol, src, sport, dst, dport, _, flags, token, reply, _ = frame
            if protocol == "TCP":
                if token and ("S" in flags or "R" in flags):
                    connections[netns, src, sport, dst, dport] = token
                    if not reply:
                        openings[src, sport].append(frame)
                else:
                    said = token
                    token = connections.get((netns, src, sport, dst, dport)) or connections.get(
                        (netns, dst, dport, src, sport), 0
                    )
                    if said and token:
                        carriers[said][token] = None
            elif token >> 64 == _TCP:  # an ICMP error about a segment
                openings[dst, dport].append(frame)
            if token:
                members[token].append(frame)
        self.members, self.openings = dict(members), dict(openings)
        self.carriers: dict[int, tuple[int, ...]] = {said: tuple(tokens) for said, tokens in carriers.items()}

    def frames_of(self, token: int) -> list[Frame]:
        """Returns the frames of ``token``; of a request, those of every connection that carried it."""
        carriers = self.carriers.get(token)
        if carriers is None:
            return self.members.get(token, [])
        return sorted((frame for carrier in carriers for frame in self.members[carrier]), key=itemgetter(1))

    def shared(self, tokens: Iterable[int]) -> set[int]:
        """Returns those of ``tokens`` that share a TCP connection: as its initial sequence number or as a
        cookie in its payload.
        """
        holders: defaultdict[int, set[int]] = defaultdict(set)
        for token in tokens:
            for carrier in self.carriers.get(token, (token,)):
                holders[carrier].add(token)
        return {token for several in holders.values() if len(several) > 1 for token in several}

    def begins_in(self, token: int, netns: str) -> bool:
        """Returns whether the first frame of ``token`` was seen in ``netns``."""
        return self.members[token][0].netns == netns


# --- the tokens of TCP sockets ----------------------------------------------------------------------------


def find_tokens(attempts: Sequence[Attempt], trace: Trace) -> tuple[dict[int, int], set[int]]:
    """Returns the token of each attempt whose packets were seen, and the attempts that may have one that
    cannot be told from others.

    Candidates, in order: a SYN with the addresses that the socket has; a SYN from the address that the server
    saw (its own node masqueraded it); of attempts that no server answered, a SYN from the socket's address to
    another (its own node's DNAT), or an ICMP error to it; what is left over in that time.
    """
    tokens = {index: attempt.token for index, attempt in enumerate(attempts) if attempt.token}
    sockets = {
        index: attempt
        for index, attempt in enumerate(attempts)
        if not attempt.token and attempt.protocol == "TCP"
    }
    for index, attempt in sockets.items():
        token = _opened_by(attempt, trace)
        if token:
            tokens[index] = token
    open_ = {index: attempt for index, attempt in sockets.items() if index not in tokens}
    ambiguous: set[int] = set()
    steps: tuple[Callable[[Mapping[int, Attempt], Trace, set[int]], dict[int, set[int]]], ...] = (
        _by_answer,
        _by_source,
        _by_time,
    )
    for candidates_of in steps:
        if not open_:
            break
        known = set(tokens.values())
        candidates = candidates_of(
            open_, trace, known.union(*(trace.carriers.get(token, ()) for token in known))
        )
        settled = _settle(candidates)
        tokens.update(settled)
        open_ = {index: attempt for index, attempt in open_.items() if index not in settled}
        ambiguous.update(index for index in open_ if candidates.get(index))
    return tokens, ambiguous & open_.keys()


def _opened_by(attempt: Attempt, trace: Trace) -> int:
    for frame in trace.openings.get(attempt.src, ()):
        if (
            (frame.dst, frame.dport) == attempt.dst
            and frame.netns == attempt.netns
            and _within(frame, attempt)
        ):
            return frame.token
    return 0


def _by_source(attempts: Mapping[int, Attempt], trace: Trace, claimed: set[int]) -> dict[int, set[int]]:
    return {
        index: {
            frame.token
            for frame in trace.openings.get(attempt.src, ())
            if _within(frame, attempt)
            and frame.token not in claimed
            and trace.begins_in(frame.token, attempt.netns)
        }
        for index, attempt in attempts.items()
        # else the server's account is better: masquerading may have given this port to another connection
        if attempt.answer is None
    }


def _by_answer(attempts: Mapping[int, Attempt], trace: Trace, claimed: set[int]) -> dict[int, set[int]]:
    return {
        index: {
            frame.token
            for frame in trace.openings.get(answer.client, ())
            if _within(frame, attempt)
            and frame.token not in claimed
            and answer.local in (None, (frame.dst, frame.dport))
            and trace.begins_in(frame.token, attempt.netns)
        }
        for index, attempt in attempts.items()
        if (answer := attempt.answer) is not None
    }


def _by_time(attempts: Mapping[int, Attempt], trace: Trace, claimed: set[int]) -> dict[int, set[int]]:
    places = {attempt.netns for attempt in attempts.values()}
    left: dict[str, list[tuple[int, int]]] = {netns: [] for netns in places}
    for token, members in trace.members.items():
        first = members[0]
        if (
            first.protocol == "TCP"
            and first.outgoing
            and not first.reply
            and first.netns in places
            and token not in claimed
        ):
            left[first.netns].append((first.time, token))
    for rows in left.values():
        rows.sort()
    return {
        index: _between(left[attempt.netns], attempt.started, attempt.finished)
        for index, attempt in attempts.items()
    }


def _between(rows: list[tuple[int, int]], started: int, finished: int) -> set[int]:
    """Returns the tokens of the (time, token) ``rows`` from ``started`` to ``finished``."""
    return {token for _, token in rows[bisect_left(rows, (started,)) : bisect_left(rows, (finished + 1,))]}


def _settle(candidates: Mapping[int, set[int]]) -> dict[int, int]:
    """Gives each attempt its token where only one remains, as long as no other attempt has that one alone
    too.
    """
    settled: dict[int, int] = {}
    rest = dict(candidates)
    while True:
        lone = {index: next(iter(tokens)) for index, tokens in rest.items() if len(tokens) == 1}
        wanted = Counter(lone.values())
        won = {index: token for index, token in lone.items() if wanted[token] == 1}
        if not won:
            return settled
        settled.update(won)
        taken = set(won.values())
        rest = {index: tokens - taken for index, tokens in rest.items() if index not in won}


def _within(frame: Frame, attempt: Attempt) -> bool:
    return attempt.started <= frame.time <= attempt.finished


def divide_frames(
    attempts: Sequence[Attempt], tokens: Mapping[int, int], trace: Trace
) -> tuple[dict[int, list[Frame]], set[int]]:
    """Returns each attempt's own frames, and the attempts that cannot be told apart.

    Two connections may choose the same initial sequence number (32 bits: one pair in 100,000 connections is
    likely). If one ended before the other began, time divides their frames. The time that a crafted packet is
    under way is not known.
    """
    claims: defaultdict[int, list[int]] = defaultdict(list)
    for index, token in tokens.items():
        claims[token].append(index)
    own: dict[int, list[Frame]] = {}
    collisions: set[int] = set()
    shared = trace.shared(claims)
    for token, claimants in claims.items():
        if token in shared:
            collisions.update(claimants)
            continue
        frames = trace.frames_of(token)
        if len(claimants) == 1:
            own[claimants[0]] = frames
            continue
        claimants.sort(key=lambda index: attempts[index].started)
        overlap = any(attempts[a].finished >= attempts[b].started for a, b in pairwise(claimants))
        if overlap or any(attempts[index].crafted for index in claimants):
            collisions.update(claimants)
            continue
        starts = [attempts[index].started for index in claimants]
        for index in claimants:
            own[index] = []
        for frame in frames:
            own[claimants[max(0, bisect_right(starts, frame.time) - 1)]].append(frame)
    return own, collisions


def find_answering(attempts: Sequence[Attempt], frames: Iterable[Frame]) -> dict[str, set[Endpoint]]:
    """Returns, by flow, the senders of the replies to ``attempts``: endpoints of Services among them.

    Cheaper than journeys, and enough to know whether more attempts are wanted: an attempt whose packets are
    hard to find has none.
    """
    clients = {attempt.netns for attempt in attempts}
    openings: defaultdict[tuple[str, Address, int, Address, int], list[Frame]] = defaultdict(list)
    senders: defaultdict[int, set[Endpoint]] = defaultdict(set)
    for frame in frames:
        _, _, netns, _, _, _, src, sport, dst, dport, _, flags, token, reply, _ = frame
        if not token:
            continue
        if reply:
            senders[token].add(Endpoint(src, sport))
        elif flags == "S" and netns in clients:
            openings[netns, src, sport, dst, dport].append(frame)
    answering: dict[str, set[Endpoint]] = {attempt.flow: set() for attempt in attempts}
    for attempt in attempts:
        found = answering[attempt.flow]
        if attempt.answer and attempt.answer.local:
            found.add(attempt.answer.local)
        elif attempt.token:
            found |= senders[attempt.token]
        else:
            for frame in openings.get((attempt.netns, *attempt.src, *attempt.dst), ()):
                if _within(frame, attempt):
                    found |= senders[frame.token]
    return answering
