"""Sends requests steadily through a cluster that is up and shows how each ends, beside what happens in the
cluster: ``podwire watch``.

The caller's process sends, from the clients' network namespaces, which it enters: so requests go on while the
cluster's own threads change the kernel, and end with the caller. The cluster's process resolves the names and
tells its events (:mod:`emulator.run.control`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from queue import Empty, SimpleQueue
from socket import socket
from threading import Event, Thread
from typing import cast

from ..cluster.state import ClusterState
from ..controllers.happenings import tell
from ..controllers.settle import send_once
from ..errors import Exit, PodwireError, UsageError
from ..flows.checks import flows_from_checks
from ..flows.words import client_in, read_destination
from ..kernel.netns import Entered
from ..model.flows import Attempt, Flow
from ..model.timeline import ClusterEvent, summarize
from ..objects.config import FlowCheck, FlowProtocol, FlowSpec
from ..objects.kinds import Loaded, ObjectMeta, Origin
from ..oracle.expectations import Expectations
from ..report.output import complain, say
from ..report.timeline import Form, TimeLine
from ..store.errors import ExpiredError
from ..traffic.servers import find_servers
from ..traffic.steady import SteadySender
from .announcement import announcement
from .clusters import Running, read_announcement
from .control import ask
from .engine import Engine
from .naming import resolve

_MOST_WAITING = 10_000  # events that a slow caller may leave unread
_LOOK = 1.0  # seconds after which nothing is held back any more
_EPOCH = datetime.fromtimestamp(0, timezone.utc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Asks a cluster to resolve flows, each who dials and what, and then for its events."""

    flows: tuple[tuple[str, str], ...]
    namespace: str = ""
    protocol: FlowProtocol = "TCP"


@dataclass(frozen=True, slots=True)
class Watching:
    """Holds the first answer: the flows, and the names of those that may meet real commands."""

    flows: tuple[Flow, ...]
    commands: frozenset[str]


# --- the cluster ------------------------------------------------------------------------------------------


def find_flows(state: ClusterState, request: Watch) -> Watching:
    """Returns the flows that ``request`` names. Raises UsageError and InputError for what is not there."""
    known = read_announcement(0, announcement(state, _EPOCH, stays=True))
    specs = []
    for source, target in request.flows:
        name = resolve(source, known.names, known.members, state.name, request.namespace)
        specs.append(
            FlowSpec(
                name=f"{source} → {target}",
                from_=client_in(state, known.names[name]),
                to=read_destination(target, request.namespace),
                protocol=request.protocol,
                attempts=1,
            )
        )
    check = FlowCheck(metadata=ObjectMeta(name="watch"), flows=tuple(specs))
    scenario = send_once(state, (Loaded(check, {}, Origin("watch")),))
    expectations = Expectations(scenario.state)
    flows, _ = flows_from_checks(scenario.flowChecks, expectations)
    own = tuple(replace(flow, name=flow.title) for flow in flows if not flow.control)
    commands = find_servers(state, [(flow, expectations.expect(flow)) for flow in own])
    return Watching(own, frozenset(commands))


async def events(engine: Engine) -> AsyncGenerator[ClusterEvent, None]:
    """Yields what happens from now on, as it happens. Raises UsageError when the caller reads too slowly."""
    queue: asyncio.Queue[ClusterEvent] = asyncio.Queue()
    follower = Follower(engine, queue.put_nowait)
    engine.followers.append(follower.look)
    try:
        while queue.qsize() < _MOST_WAITING:
            yield await queue.get()
    finally:
        engine.followers.remove(follower.look)
    raise UsageError("the events of the cluster were read too slowly")


class Follower:
    """Reports the writes to the store, and the states that the kernel comes to."""

    def __init__(self, engine: Engine, note: Callable[[ClusterEvent], object]) -> None:
        self._engine, self._note = engine, note
        self._seen, self._state = engine.plane.store.resourceVersion, engine.state

    def look(self) -> None:
        now, store, state = time.time_ns(), self._engine.plane.store, self._engine.state
        with suppress(ExpiredError):
            for kind, name, what in tell(store.watch(self._seen)):
                self._note(ClusterEvent(now, kind, name, what))
        self._seen = store.resourceVersion
        if state is not self._state:
            for kind, name, what in tell_kernel(self._state, state):
                self._note(ClusterEvent(now, kind, name, what))
            self._state = state


def tell_kernel(old: ClusterState, new: ClusterState) -> list[tuple[str, str, str]]:
    """Returns what the kernel has that it had not: kind, name and words."""
    said = [("Pod", key, "network up") for key in new.pod if key not in old.pod]
    said += [("Pod", key, "network down") for key in old.pod if key not in new.pod]
    if old.services is not new.services or old.endpointSlices is not new.endpointSlices:
        on = f"on {len(new.nodes)} node{'' if len(new.nodes) == 1 else 's'}"
        done = "told" if new.proxy.program else "rules synced"  # a real one syncs in its own time
        said.append(("kube-proxy", "", f"{done} {on}"))
    return said


# --- the caller -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Holds the command line. ``duration`` 0: until Ctrl-C; ``most_lost`` None: any number may be lost."""

    flows: tuple[tuple[str, str], ...]
    namespace: str = ""
    protocol: FlowProtocol = "TCP"
    rate: float = 10.0
    timeout: float = 1.0
    duration: float = 0.0
    keep_alive: bool = False
    most_lost: int | None = None
    form: Form = "table"


@dataclass(frozen=True, slots=True)
class _Over:
    """Says that a thread has ended, and why, if that is no good end. ``sender``: it is the one that sends."""

    error: BaseException | None
    sender: bool


_Item = Attempt | ClusterEvent | _Over


def watch(running: Running, wanted: Wanted) -> int:
    """Sends what is ``wanted`` through the cluster ``running`` and prints the time line; returns the exit
    code.
    """
    answers = ask(running, Watch(flows=wanted.flows, namespace=wanted.namespace, protocol=wanted.protocol))
    found = cast("Watching | None", next(answers, None))
    if found is None:
        raise UsageError(f"cluster {running} has ended")
    try:
        entered = Entered(running.init, {flow.client.netns for flow in found.flows})
    except OSError as error:
        raise UsageError(
            f"cannot enter {running}: {error.strerror} (it may just have ended; podwire ps lists clusters)"
        ) from None
    items: SimpleQueue[_Item] = SimpleQueue()
    stop = Event()
    sender = SteadySender(
        found.flows,
        lambda netns, family, kind: entered.call_in(netns, partial(socket, family, kind)),
        items.put,
        rate=wanted.rate,
        timeout=wanted.timeout,
        keep=wanted.keep_alive,
        commands=found.commands,
    )

    dialled = {flow.to.service for flow in found.flows if flow.to.service}

    def hear() -> None:
        for answer in answers:
            event = cast(ClusterEvent, answer)
            if event.kind != "Service" or not dialled or event.name in dialled:
                items.put(event)

    end = time.monotonic() + wanted.duration if wanted.duration else float("inf")
    sending = partial(sender.run, lambda: stop.is_set() or time.monotonic() >= end)
    for function, is_sender in ((hear, False), (sending, True)):
        Thread(target=_guarded, args=(function, items, is_sender), daemon=True).start()
    line = TimeLine(found.flows, wanted.form)
    attempts = _show(line, items, stop)
    summaries = [summarize(flow.name, attempts) for flow in found.flows]
    lost = sum(one.lost for one in summaries)
    say(line.conclude(summaries, wanted.most_lost))
    return Exit.FLOW_FAILED if wanted.most_lost is not None and lost > wanted.most_lost else Exit.OK


def _guarded(function: Callable[[], None], items: SimpleQueue[_Item], sender: bool) -> None:
    error: BaseException | None = None
    try:
        function()
    except Exception as raised:
        error = raised
    items.put(_Over(error, sender))


def _show(line: TimeLine, items: SimpleQueue[_Item], stop: Event) -> Sequence[Attempt]:
    """Prints what comes until the sender has ended; returns its requests. Ctrl-C ends the sender, a second
    one this process. Raises what the sender could not go on for.
    """
    attempts: list[Attempt] = []
    while True:
        try:
            item: _Item | None
            try:
                item = items.get(timeout=_LOOK)
            except Empty:
                item = None
            if isinstance(item, Attempt):
                attempts.append(item)
                say(line.request(item))
            elif isinstance(item, ClusterEvent):
                say(line.event(item))
            elif isinstance(item, _Over):
                if item.sender:
                    if item.error:
                        raise item.error
                    return attempts
                complain(str(item.error) if isinstance(item.error, PodwireError) else "the cluster has ended")
                stop.set()
            else:
                say(line.rest())
        except KeyboardInterrupt:
            if stop.is_set():
                raise
            stop.set()
