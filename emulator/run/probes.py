"""Sends the probes of containers from their nodes, as kubelets do: real packets to the Pod's address."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h11

from ..controllers.kubelet import Ended, Probe, Run, rfc3339
from ..controllers.probing import Exec, HttpGet, ProbeSpec, Streak, TcpSocket, find_probes, find_unknown
from ..net import Endpoint
from ..store.manifests import render
from ..store.objects import Stored
from .engine import Engine

_KILLED = 137  # the exit code of a container whose liveness probe failed: SIGKILL after the grace period
_AGENT = "kube-probe/1.37"

RunIn = Callable[[Mapping[str, Any], str, tuple[str, ...]], Awaitable[int]]


@dataclass(slots=True)
class _Watched:
    """Holds the probes of one Pod."""

    streaks: dict[str, dict[str, Streak]] = field(default_factory=dict)  # by container and kind
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Probes:
    """Sends the probes of every Pod that has its network. ``run``: runs a command in a container, and returns
    its exit code.
    """

    def __init__(self, engine: Engine, run: RunIn, say: Callable[[str], None]) -> None:
        self._engine, self._run, self._say = engine, run, say
        self._watched: dict[str, _Watched] = {}

    def follow(self) -> None:
        """Starts the probes of Pods that have come up, and ends those of Pods that are gone."""
        up = self._engine.facts.up
        for uid in [uid for uid in self._watched if uid not in up]:
            for task in self._watched.pop(uid).tasks:
                task.cancel()
        new = up.keys() - self._watched.keys()
        if new:
            for stored in self._engine.plane.store.list("Pod"):
                if stored.uid in new:
                    self._watched[stored.uid] = self._begin(stored)

    def close(self) -> None:
        for watched in self._watched.values():
            for task in watched.tasks:
                task.cancel()

    def _begin(self, stored: Stored) -> _Watched:
        document, watched = render(stored), _Watched()
        for container in find_unknown(document):
            self._say(
                f"container {container} of Pod {stored.key.namespace}/{stored.key.name} has a gRPC probe, "
                "which podwire does not send: the container counts as ready"
            )
        for spec in find_probes(document):
            streak = Streak(spec, good=spec.kind == "liveness")
            watched.streaks.setdefault(spec.container, {})[spec.kind] = streak
            watched.tasks.append(asyncio.ensure_future(self._send(stored, document, watched, streak)))
        for container in watched.streaks:
            self._tell(stored.uid, container, watched)
        return watched

    def _tell(self, uid: str, container: str, watched: _Watched) -> None:
        """Notes what the probes of a container say now."""
        streaks = watched.streaks[container]
        started = "startup" not in streaks or streaks["startup"].good
        ready = "readiness" not in streaks or streaks["readiness"].good
        known = self._engine.facts.probes.setdefault(uid, {})
        now = Probe(ready=ready, started=started)
        if known.get(container) != now:
            known[container] = now
            self._engine.facts.changed.add(uid)
            self._engine.poke()

    async def _send(
        self, stored: Stored, document: Mapping[str, Any], watched: _Watched, streak: Streak
    ) -> None:
        """Sends one probe again and again. Readiness and liveness wait for the startup probe."""
        spec = streak.spec
        await asyncio.sleep(spec.delay)
        startup = watched.streaks[spec.container].get("startup")
        while True:
            waits = spec.kind != "startup" and startup is not None and not startup.good
            if not waits and streak.note(await self._try(document, spec)):
                if spec.kind == "startup" and streak.good:
                    self._tell(stored.uid, spec.container, watched)
                    return
                if spec.kind != "readiness" and not streak.good:
                    self._restart(stored, spec.container, watched)
                self._tell(stored.uid, spec.container, watched)
            await asyncio.sleep(min(spec.period, 1) if waits else spec.period)

    def _restart(self, stored: Stored, container: str, watched: _Watched) -> None:
        """Restarts a container, and begins its probes anew."""
        facts, now = self._engine.facts, rfc3339(time.time())
        runs = facts.runs.setdefault(stored.uid, {})
        before = runs.get(container) or Run(facts.up.get(stored.uid, now))
        end = Ended(_KILLED, now, "its liveness or startup probe failed")
        runs[container] = Run(now, None, before.restarts + 1, end, before.since)
        for streak in watched.streaks[container].values():
            streak.begin_anew()
        facts.changed.add(stored.uid)

    async def _try(self, document: Mapping[str, Any], spec: ProbeSpec) -> bool:
        """Returns whether one probe succeeds in time. Its time-out begins when its socket is open: the thread
        that opens it may be busy with the kernel, or with the flows of ``podwire check``.
        """
        try:
            if isinstance(spec.action, Exec):
                running = self._run(document, spec.container, spec.action.command)
                return await asyncio.wait_for(running, spec.timeout) == 0
            return await self._connect(document, spec.action, spec.timeout)
        except (OSError, asyncio.TimeoutError, h11.RemoteProtocolError):
            return False

    async def _connect(
        self, document: Mapping[str, Any], action: HttpGet | TcpSocket, seconds: float
    ) -> bool:
        meta = document["metadata"]
        pod = self._engine.state.pod.get(f"{meta['namespace']}/{meta['name']}")
        if pod is None or not pod.ips or not action.port:
            return False
        target = Endpoint(pod.ip, action.port)
        enter = self._engine.namespaces.call_in
        sock = await self._engine.in_kernel(partial(enter, pod.spec.nodeName, partial(_socket, target)))
        with sock:
            return await asyncio.wait_for(_ask(sock, action, target), seconds)


async def _ask(sock: socket.socket, action: HttpGet | TcpSocket, target: Endpoint) -> bool:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, (action.host or str(target.address), action.port))
    return True if isinstance(action, TcpSocket) else await _get(sock, action, target)


def _socket(target: Endpoint) -> socket.socket:
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    return socket.socket(target.address.family.number, kind)


async def _get(sock: socket.socket, action: HttpGet, target: Endpoint) -> bool:
    """Returns whether the answer to a GET has a status from 200 to 399."""
    loop, connection = asyncio.get_running_loop(), h11.Connection(h11.CLIENT)
    headers = [("Host", action.host or str(target)), ("User-Agent", _AGENT), ("Accept", "*/*")]
    own = {name.lower() for name, _ in action.headers}
    rows = [*(row for row in headers if row[0].lower() not in own), *action.headers, ("Connection", "close")]
    try:
        request = h11.Request(method="GET", target=action.path or "/", headers=rows)
        data = (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")
    except h11.LocalProtocolError:
        return False  # a path or header that no HTTP request can have
    await loop.sock_sendall(sock, data)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await loop.sock_recv(sock, 1 << 14))
        elif isinstance(event, h11.Response):
            return 200 <= event.status_code < 400
        elif isinstance(event, h11.ConnectionClosed):
            return False
