"""Finds the flows whose servers must give their identity, and the real commands that a flow may meet; decides
when each of these gets its next client and for how long an answer is waited for.

A real command is no echo server of ours: it may take one connection at a time, answer late or never, close at
once or send first. So clients take turns (:class:`Turns`), and only a handshake is expected of it. Pure:
the caller passes the time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from typing import Generic, TypeVar

from ..cluster.state import ClusterState
from ..model.expectations import Expectation
from ..model.flows import CommandServer, Flow
from ..net import Endpoint, is_loopback
from ..oracle.parties import find_owners

J = TypeVar("J")

# seconds for a handshake: a SYN, or the answer to it, that was dropped is sent again after 1 and after 3
CONNECT = 3.5
ANSWER = 3.5  # seconds for the first bytes of an answer, from a server that has answered so far
DATAGRAM = 0.5  # seconds for an answer, or for an ICMP error in its place
RELAY = 0.5  # seconds for a proxy to pass on a request to a server that does not answer
QUIET = 0.1  # seconds after an answer's last bytes
BUDGET = 10.0  # seconds for which a server is waited for, all its answers together
HURRY = 0.3  # seconds for the first bytes of an answer, once the budget is spent


def find_servers(
    state: ClusterState, flows: Iterable[tuple[Flow, Expectation]]
) -> Mapping[str, frozenset[CommandServer]]:
    """Returns, by the name of each flow that may meet one, the real commands behind its endpoints. (The SCTP
    handshake is answered by podwire, ICMP by kernels.)
    """
    if not state.commands:
        return {}
    owners = find_owners(state)
    found: dict[str, frozenset[CommandServer]] = {}
    for flow, expectation in flows:
        servers = set()
        if flow.protocol not in ("TCP", "UDP"):
            continue
        for backend in expectation.backends:
            owner = owners.get(backend.address)
            netns = flow.client.netns if is_loopback(backend.address) else owner.netns if owner else ""
            command = state.commanded_ports.get((netns, backend.port, flow.protocol))
            if command:
                servers.add(CommandServer(command[0], netns, backend, own=netns not in state.node))
        if servers:
            found[flow.name] = frozenset(servers)
    return found


def find_hidden(state: ClusterState, flows: Iterable[tuple[Flow, Expectation]]) -> frozenset[str]:
    """Returns the names of the flows to a Service that may be led to a node's own address.

    The node that translates such a packet may be the one that has the address. Then no tap sees the packet
    translated, and only the server can prove that it is the endpoint.
    """
    owners = find_owners(state)
    at_nodes = {ip for ip, owner in owners.items() if owner.kind == "node"}
    return frozenset(
        flow.name
        for flow, expectation in flows
        if flow.to.service and not at_nodes.isdisjoint(b.address for b in expectation.endpoints)
    )


def find_sole_sctp(state: ClusterState) -> Mapping[str, Endpoint]:
    """Returns, by node, the endpoint whose server is the only one there that speaks SCTP.

    SCTP servers do not give their identity. If a node has only one, an answer from that node is its answer.
    """
    served: dict[str, set[Endpoint]] = {}
    for listener in state.listeners:
        if listener.protocol == "SCTP" and not listener.refused and listener.netns in state.node:
            served.setdefault(listener.netns, set()).add(Endpoint.of(listener.ip, listener.port))
    return {node: next(iter(backends)) for node, backends in served.items() if len(backends) == 1}


class _Server:
    """Holds the state of one server. ``silent``: its answers are not waited for any more; ``full``: it is not
    waited for until its other clients leave.
    """

    __slots__ = ("full", "silent", "spent")

    def __init__(self) -> None:
        self.silent, self.full, self.spent = False, False, 0.0


class Turns(Generic[J]):
    """Gives clients their turns: one at a time at the same server, and one at a time for a client whose
    connections only time tells apart.

    A server that did not answer in time counts as silent from then on, and one that did not even accept as
    full. Then all others send at once, as there is nothing to wait for.
    """

    def __init__(self) -> None:
        self._known: dict[CommandServer, _Server] = {}
        self._lanes: dict[tuple[frozenset[CommandServer], str], deque[J]] = {}
        self._busy: Counter[CommandServer | str] = Counter()

    def add(self, job: J, servers: frozenset[CommandServer], client: str = "") -> None:
        """Queues ``job``, which may meet any of ``servers``; ``client``: the client that is to send one
        request at a time ("": no limit).
        """
        self._lanes.setdefault((servers, client), deque()).append(job)

    def next(self) -> J | None:
        """Returns a job that may begin now; until :meth:`leave` it takes its servers' turn. Jobs with few
        servers come first: their results help the others.
        """
        for lane in sorted(self._lanes, key=lambda lane: len(lane[0])):
            servers, client = lane
            waits = [server for server in servers if not self._of(server).full]
            if any(self._busy[server] for server in waits) or (client and self._busy[client] and waits):
                continue
            job = self._lanes[lane].popleft()
            if not self._lanes[lane]:
                del self._lanes[lane]
            self._busy.update((*servers, *([client] if client else ())))
            return job
        return None

    def waiting(self) -> bool:
        """Returns whether some job has not begun."""
        return bool(self._lanes)

    def patience(self, servers: Iterable[CommandServer]) -> float:
        """Returns how many seconds to wait for the first bytes of an answer: 0 if one of ``servers`` is known
        not to answer.
        """
        known = [self._of(server) for server in servers]
        if any(server.silent for server in known):
            return 0.0
        return HURRY if any(server.spent > BUDGET for server in known) else ANSWER

    def leave(
        self, servers: Collection[CommandServer], client: str, seconds: float, *, connected: bool, heard: bool
    ) -> None:
        """Ends a job's turn after so many ``seconds``, in which it was ``connected``, and ``heard`` the
        server send, close or refuse.
        """
        for server in servers:
            known = self._of(server)
            known.spent += seconds / len(servers)
            known.silent |= not heard
            known.full |= not heard and not connected
            self._busy[server] -= 1
        if client:
            self._busy[client] -= 1

    def _of(self, server: CommandServer) -> _Server:
        return self._known.setdefault(server, _Server())
