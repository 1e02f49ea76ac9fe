"""Keeps the kernel in step with the store of a cluster that lives.

One event loop holds the store: API requests and controllers write to it there, one after the other. A cycle
lets the controllers run to a fixed point, takes the snapshot, plans the difference to what the kernel has,
and gives that to a second thread, which alone enters network namespaces. Writes that come meanwhile are in
the next cycle together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from ..cluster.state import ClusterState, Listener
from ..controllers.kubelet import NAME as KUBELET
from ..controllers.kubelet import Facts, rfc3339
from ..controllers.plane import ControlPlane
from ..errors import PodwireError, UsageError
from ..kernel.netns import Namespaces
from ..objects.kinds import Pod
from ..plan.operations import Plan
from ..proxy.planner import ProxyPlanner
from ..schedule.planner import plan_change
from ..store.objects import Key
from ..workload.differences import TOLD
from .live import Live

_ANNOUNCED_AFTER = 0.2  # seconds

T = TypeVar("T")


class Engine:
    """Runs a cluster that lives. ``state`` is what the kernel has. ``own`` says which ports podwire's API
    server listens on, where a built-in server would.
    """

    def __init__(
        self,
        plane: ControlPlane,
        facts: Facts,
        live: Live,
        proxy: ProxyPlanner,
        state: ClusterState,
        own: Callable[[Listener], bool],
        tell: Callable[[ClusterState], None],
        say: Callable[[str], None],
    ) -> None:
        """Starts with a kernel that holds ``state``, planned by ``proxy``. ``tell`` gets the state that the
        kernel has; ``say`` gets a sentence about each change that is refused, once.
        """
        self.plane, self.facts, self.state = plane, facts, state
        self._live, self._proxy, self._own, self._tell, self._say = live, proxy, own, tell, say
        self._said: set[str] = set()
        self.followers: list[Callable[[], None]] = []  # called when something was written, or is in force
        self._kernel = ThreadPoolExecutor(1, "kernel")
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._timers: dict[str, tuple[float, asyncio.TimerHandle]] = {}
        self._listeners: tuple[tuple[Listener, ...], tuple[Listener, ...]] = ((), ())

    def poke(self) -> None:
        """Asks for a cycle, after a write or news of a Pod."""
        self._idle.clear()
        self._wanted.set()

    async def settled(self) -> None:
        """Waits until the kernel has everything that was written before this call."""
        await self._idle.wait()

    @property
    def namespaces(self) -> Namespaces:
        """Returns the network namespaces, for what is called by :meth:`in_kernel`."""
        return self._live.applied.namespaces

    async def in_kernel(self, function: Callable[[], T]) -> T:
        """Returns ``function()``, called by the thread that may enter network namespaces."""
        return await asyncio.get_running_loop().run_in_executor(self._kernel, function)

    async def run(self) -> None:
        """Runs a cycle whenever one is asked for, without end. Raises the error that ends the cluster."""
        self._pods_are_up(self.state)
        self._follow()  # containers with probes are not ready until these say so
        self.poke()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._cycle()
            await asyncio.sleep(0)  # requests are answered between any two cycles
            if not self._wanted.is_set():
                self._idle.set()

    async def _cycle(self) -> None:
        plane = self.plane
        plane.now = rfc3339(time.time())
        if self.facts.changed or any(at <= plane.now for at in self.facts.ending.values()):
            plane.elapse(KUBELET)
        try:
            plane.reconcile()
            new = self._without_own(plane.snapshot())
        except PodwireError as error:
            self._complain(str(error))
            return
        finally:
            self._set_timers()
            self._follow()
        for problem in plane.findings.problems:
            self._complain(str(problem))
        if new is not self.state:
            old = self.state
            try:
                plan = plan_change(old, new, proxy=self._proxy)
            except UsageError as error:  # kube-proxy would have to be restarted for it
                self._complain(str(error))
                return
            await self.in_kernel(lambda: self._change(plan, new))
            self.state = new
            self._announce_soon()
            self._pods_are_up(new)
            self._follow()
        if self.facts.changed:
            self.poke()

    def _follow(self) -> None:
        for follower in self.followers:
            follower()

    def _change(self, plan: Plan, state: ClusterState) -> None:
        """Brings the kernel and the processes beside the rules to ``state``."""
        self._live.move(plan, state)

    def _without_own(self, state: ClusterState) -> ClusterState:
        """Returns ``state`` without the built-in servers at the ports of podwire's own API server."""
        if self._listeners[0] is not state.listeners:
            kept = tuple(one for one in state.listeners if not self._own(one))
            last = self._listeners[1]
            self._listeners = state.listeners, last if kept == last else kept
        return replace_listeners(state, self._listeners[1], self.state)

    def _pods_are_up(self, state: ClusterState) -> None:
        """Notes the Pods that have their network now, and forgets those that are gone."""
        facts, now = self.facts, rfc3339(time.time())
        present = set()
        for pod in state.pods:
            uid = self._uid(pod)
            present.add(uid)
            if uid and uid not in facts.up:
                facts.up[uid] = now
                facts.changed.add(uid)
        for uid in facts.up.keys() - present:
            for known in (facts.up, facts.runs, facts.probes, facts.ending):
                known.pop(uid, None)

    def _uid(self, pod: Pod) -> str:
        stored = self.plane.store.get(Key("Pod", pod.namespace, pod.name))
        return stored.uid if stored else ""

    def _set_timers(self) -> None:
        """Lets each controller that asked for it run again in time."""
        loop = asyncio.get_running_loop()
        for name, seconds in self.plane.due.items():
            at = loop.time() + max(seconds, 0.001)
            known = self._timers.get(name)
            if known is None or at < known[0]:
                if known:
                    known[1].cancel()
                self._timers[name] = at, loop.call_at(at, self._ring, name)
        self.plane.due.clear()

    def _ring(self, name: str) -> None:
        self._timers.pop(name, None)
        self.plane.elapse(name)
        self.poke()

    def _announce_soon(self) -> None:
        """Announces the state a moment later: what is announced is long, and packets do not wait for it."""
        if "announce" not in self._timers:
            loop = asyncio.get_running_loop()
            when = loop.time() + _ANNOUNCED_AFTER
            self._timers["announce"] = when, loop.call_at(when, self._announce)

    def _announce(self) -> None:
        self._timers.pop("announce", None)
        self._tell(self.state)

    def _complain(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._say(what)


def replace_listeners(new: ClusterState, listeners: tuple[Listener, ...], old: ClusterState) -> ClusterState:
    """Returns ``new`` with ``listeners``; ``old`` itself where nothing else differs."""
    made = replace(new, listeners=listeners)
    return old if _same(made, old) else made


def _same(one: ClusterState, other: ClusterState) -> bool:
    return all(getattr(one, name) is getattr(other, name) for name in TOLD)
