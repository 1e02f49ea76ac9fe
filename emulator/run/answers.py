"""Answers what other terminals ask the process of a cluster that lives (:mod:`emulator.run.control`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from ..cluster.state import ClusterState, Listener
from ..errors import UsageError
from ..objects.config import FlowCheck
from ..objects.kinds import Loaded
from ..store.manifests import render
from .checking import Check, Checking, checks_in
from .engine import Engine
from .live import Live
from .watching import Watch, events, find_flows


class Answers:
    """Answers for one cluster. ``served``: where podwire's API server listens; ``checks``: the FlowChecks of
    the cluster's input.
    """

    def __init__(
        self,
        engine: Engine,
        live: Live,
        served: Sequence[Listener],
        checks: Sequence[Loaded[FlowCheck]],
    ) -> None:
        self._engine, self._served, self._checks = engine, served, checks
        self._checking = Checking(live, self._now, self._known, engine.in_kernel)

    async def answer(self, request: object) -> AsyncGenerator[object, None]:
        """Yields the answers to ``request``."""
        if isinstance(request, Check):
            yield await self._checking.check(request)
        elif isinstance(request, Watch):
            yield find_flows(await self._now(), request)
            async with aclosing(events(self._engine)) as happening:
                async for event in happening:
                    yield event
        else:
            raise UsageError("this cluster does not know the request: it may be of another release")

    async def _now(self) -> ClusterState:
        """Returns the state that the kernel has, once it has all that was written before. The API server
        speaks TLS, so that it counts as a real command: a handshake is all that is expected of it.
        """
        await self._engine.settled()
        state, plane = self._engine.state, self._engine.plane
        commands = dict(state.commands)
        for one in self._served:
            if one.pod in state.pod:
                commands[one.pod] = tuple(dict.fromkeys((*commands.get(one.pod, ()), one.container)))
        return replace(state, commands=commands, warnings=plane.warnings(state))

    def _known(self) -> Iterator[Loaded[FlowCheck]]:
        yield from checks_in(map(render, self._engine.plane.store.list("FlowCheck")))
        yield from self._checks
