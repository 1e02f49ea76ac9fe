"""Runs a real kube-proxy on every node, in a worker beside the rules (``--kube-proxy``).

In a run that ends, the worker serves the API to them itself, at a port of each node's localhost: nothing of
that is on a wire that is captured, and no control plane is needed. The objects are those of the cluster's
state, and a Service more, by which is known that a kube-proxy's rules are of this state and no earlier one
(:class:`~emulator.workload.kubeproxy.Mark`). A state is in force when the rules of every node are.

In a cluster that lives they ask the API that everybody asks, by packets to a control plane's port; nothing
waits for them but the beginning. Either way, a kube-proxy that ends ends the run, and so does one that cannot
bring its rules to the kernel.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..api.registry import Registry
from ..cluster.state import ClusterState, Program
from ..controllers.apps.servicecidrs import KIND as SERVICE_CIDR
from ..controllers.apps.servicecidrs import service_cidr
from ..controllers.kubelet import rfc3339
from ..errors import Exit, KernelError, PodwireError, UsageError
from ..kernel import sandbox
from ..kernel.apply import Applied
from ..objects.kinds import (
    Endpoint,
    EndpointPort,
    EndpointSlice,
    ObjectMeta,
    Origin,
    Service,
    ServicePort,
    ServiceSpec,
)
from ..proxy.backends import backend_of
from ..serving.certificates import kubeconfig
from ..serving.identity import PROXY, Identity
from ..serving.server import Server
from ..store.objects import Key, key_of
from ..store.store import Store
from ..workload.kubeproxy import (
    MARK,
    MARKED,
    MARKING,
    KubeProxy,
    Mark,
    ask_release,
    has_synced,
    is_stuck,
    rules_in,
    start_kube_proxy,
)
from ..workload.worker import Inbox, Worker

_PACE = "10ms"  # between two syncs of a kube-proxy that is waited for
_PATIENCE = 60.0  # seconds in which rules must be in the kernel; and more for many Services
_EACH = 0.02  # seconds more for each Service
_LOOK = 0.03  # seconds between two looks, at least
_WATCH = 5.0  # seconds between two questions whether one is stuck, in a cluster that lives
_GRACE = 5.0  # seconds in which a node goes whose kube-proxy has ended because its Node was deleted
_ORIGIN = Origin("podwire")


def find_program(path: Path) -> Program:
    """Returns the kube-proxy at ``path``, which is asked for its release inside a sandbox, confined. Raises
    UsageError if it is none.
    """
    place = os.path.abspath(path)
    if not os.path.isfile(place):
        raise UsageError(f"--kube-proxy {path}: there is no such file")
    if not os.access(place, os.X_OK):
        raise UsageError(f"--kube-proxy {path}: not a program that this user may run")
    name, _, release = sandbox.run(lambda _: _asked(place)).partition(" ")
    if name != "Kubernetes" or not release.startswith("v"):
        raise UsageError(
            f"--kube-proxy {path}: it answers --version with {f'{name} {release}'.strip()[:80]!r}, not with "
            "'Kubernetes v…' as kube-proxy does"
        )
    return Program(place, release)


def _asked(path: str) -> str:
    try:
        return ask_release(path)
    except OSError as error:
        raise UsageError(f"--kube-proxy {path}: {error}") from None


class KubeProxyError(PodwireError):
    """Reports a kube-proxy that has ended, or that cannot bring its rules to the kernel: no flow says
    anything then.
    """

    exit_code = Exit.MACHINE_LACKS


def kube_proxies(applied: Applied, logs: Path, access: str = "") -> Worker:
    """Returns the worker that runs a kube-proxy on every node, whose words go to ``logs``. ``access``: the
    kubeconfig by which they reach the API of a cluster that lives; "": the worker serves it to them, and a
    state is in force when the rules of every node are.
    """

    def work(inbox: Inbox) -> None:
        proxies = _Lived(applied, logs, access) if access else _Waited(applied, logs)
        asyncio.run(proxies.run(inbox))

    return Worker("the kube-proxies", work)


class _KubeProxies(ABC):
    """Holds the kube-proxy of each node, and takes the states of the cluster."""

    pace = ""

    def __init__(self, applied: Applied, logs: Path) -> None:
        self.namespaces, self.iptables, self._logs = applied.namespaces, applied.iptables, logs
        self.running: dict[str, KubeProxy] = {}
        self._failed: asyncio.Future[None]

    async def run(self, inbox: Inbox) -> None:
        """Follows the states that come, without end. Raises KubeProxyError when a kube-proxy fails, EOFError
        when nobody sends any more.
        """
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        tasks = await self.begin()
        while True:
            await self._take(inbox)  # the first is there
            came = loop.create_future()
            loop.add_reader(inbox.fileno(), _settle, came)
            waiting: set[asyncio.Future[None]] = {came, self._failed, *tasks}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            loop.remove_reader(inbox.fileno())
            for ended in (self._failed, *tasks):
                if ended.done():
                    ended.result()

    async def _take(self, inbox: Inbox) -> None:
        state = inbox.receive()
        if state is None:
            inbox.say_busy(self.busy())
            return
        try:
            await self.follow(state)
        except OSError as error:
            inbox.answer(error=str(error))
        except (KubeProxyError, KernelError) as error:
            inbox.answer(error=error.text)
        else:
            inbox.answer()

    async def begin(self) -> list[asyncio.Task[None]]:
        """Returns tasks that go on, and end by an error only."""
        return []

    def busy(self) -> bool:
        """Returns whether a kube-proxy has not brought its first rules to the kernel."""
        return False

    @abstractmethod
    async def follow(self, state: ClusterState) -> None:
        """Brings the kube-proxies to ``state``."""

    @abstractmethod
    def kubeconfig(self, node: str) -> str:
        """Returns the text of the kubeconfig of the kube-proxy of ``node``."""

    def end(self, state: ClusterState) -> None:
        """Ends the kube-proxies of nodes that are gone. It comes before all that is done in a state."""
        gone = self.namespaces.refresh()
        for name in [name for name in self.running if name in gone or name not in state.node]:
            self.running.pop(name).end()

    def start(self, state: ClusterState) -> None:
        """Starts the kube-proxies of nodes that are new."""
        for node in state.nodes:
            if node.name not in self.running:
                proxy = start_kube_proxy(
                    self.namespaces,
                    state,
                    node.name,
                    self.kubeconfig(node.name),
                    self._logs / f"kube-proxy-{node.name}.log",
                    iptables=self.iptables,
                    pace=self.pace,
                )
                self.running[node.name] = proxy
                ended = os.pidfd_open(proxy.process.pid)
                asyncio.get_running_loop().add_reader(ended, self._note_end, ended, proxy)

    def _note_end(self, fd: int, proxy: KubeProxy) -> None:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        if self.running.get(proxy.node) is proxy:
            self.ended(proxy)

    def ended(self, proxy: KubeProxy) -> None:
        """Notes that ``proxy`` has ended, which nobody asked for."""
        self.fail(proxy.how_it_ended())

    def fail(self, why: str) -> None:
        """Lets all end, because ``why``."""
        if not self._failed.done():
            self._failed.set_exception(KubeProxyError(why))


class _Waited(_KubeProxies):
    """Serves the API to kube-proxies, and waits for their rules."""

    pace = _PACE

    def __init__(self, applied: Applied, logs: Path) -> None:
        super().__init__(applied, logs)
        self._identity = Identity.make()
        self._client = self._identity.authority.client(PROXY)
        self._store = Store()
        registry = Registry(self._store, _now, random.SystemRandom().randrange)
        registry.provide_namespaces()
        self._server = Server(registry, self._identity)
        self._ports: dict[str, int] = {}  # by node: of the API at its localhost
        self._mark = Mark(0)

    async def begin(self) -> list[asyncio.Task[None]]:
        await self._server.start([])
        return []

    async def follow(self, state: ClusterState) -> None:
        """Returns when the syncs that brought ``state`` to the kernels are over. A sync deletes stale
        connections after it has loaded its rules; those of a second mark are of a later sync.
        """
        self.end(state)
        self._write(state)
        for node in state.nodes:
            if node.name not in self.running:
                listener = self.namespaces.call_in(node.name, _listener)
                self._ports[node.name] = listener.getsockname()[1]
                await self._server.listen([listener])
        self.start(state)
        await self._until_synced(state)
        self._write(state)
        await self._until_synced(state)

    def _write(self, state: ClusterState) -> None:
        self._mark = Mark(self._mark.number + 1)
        write_objects(self._store, state, self._mark)
        self._server.publish()

    def kubeconfig(self, node: str) -> str:
        address = f"https://127.0.0.1:{self._ports[node]}"
        return kubeconfig(address, self._identity.authority.certificate, self._client)

    async def _until_synced(self, state: ClusterState) -> None:
        """Returns when the rules of every node are those of ``state``. Raises KubeProxyError if a kube-proxy
        ends meanwhile, or does not get there.
        """
        patience = _PATIENCE + _EACH * len(state.services)
        waiting, end, said = [node.name for node in state.nodes], time.monotonic() + patience, ""
        while waiting:
            begun = time.monotonic()
            try:
                if self._has_rules(state, waiting[0]):
                    waiting.pop(0)
                    end, said = time.monotonic() + patience, ""
                    continue
            except KernelError as error:  # kube-proxy has made no table yet
                said = f"\n  {error.error.strip()}"
            if self._failed.done():
                self._failed.result()
            if time.monotonic() > end:
                raise KubeProxyError(self._why_late(state, waiting[0], patience) + said)
            await asyncio.sleep(max(_LOOK, time.monotonic() - begun))

    def _has_rules(self, state: ClusterState, node: str) -> bool:
        return self._mark.is_in(rules_in(self.namespaces, node, backend_of(state).prints, self.iptables))

    def _why_late(self, state: ClusterState, node: str, seconds: float) -> str:
        proxy = self.running[node]
        release = state.proxy.program.release if state.proxy.program else ""
        return (
            f"kube-proxy {release} on {node} has not brought its rules to the kernel in {seconds:.0f} s: its "
            f"sync does not end ({proxy.command}){proxy.last_lines()}"
        )


class _Lived(_KubeProxies):
    """Runs the kube-proxies of a cluster that lives, which nobody waits for after the beginning."""

    def __init__(self, applied: Applied, logs: Path, access: str) -> None:
        super().__init__(applied, logs)
        self._access = access
        self._synced: set[int] = set()  # processes that have synced once

    async def begin(self) -> list[asyncio.Task[None]]:
        return [asyncio.ensure_future(self._watch())]

    async def follow(self, state: ClusterState) -> None:
        self.end(state)
        self.start(state)

    def kubeconfig(self, _node: str) -> str:
        return self._access

    def busy(self) -> bool:
        for proxy in self.running.values():
            if proxy.process.pid not in self._synced:
                if not has_synced(self.namespaces, proxy.node):
                    return True
                self._synced.add(proxy.process.pid)
        return False

    def ended(self, proxy: KubeProxy) -> None:
        asyncio.get_running_loop().call_later(_GRACE, self._ended_for_good, proxy)

    def _ended_for_good(self, proxy: KubeProxy) -> None:
        if self.running.get(proxy.node) is proxy:
            super().ended(proxy)

    async def _watch(self) -> None:
        """Asks each kube-proxy now and then whether it is stuck. Raises KubeProxyError then."""
        while True:
            await asyncio.sleep(_WATCH)
            for proxy in list(self.running.values()):
                if proxy.process.poll() is None and is_stuck(self.namespaces, proxy.node):
                    raise KubeProxyError(
                        f"kube-proxy on {proxy.node} cannot bring its rules to the kernel: its healthz says "
                        f"503, its sync does not end ({proxy.command}){proxy.last_lines()}"
                    )


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


# --- the objects that they see -----------------------------------------------------------------------------


def write_objects(store: Store, state: ClusterState, mark: Mark) -> None:
    """Makes ``store`` hold what a kube-proxy reads of ``state``: its Nodes, Services and EndpointSlices, the
    prefix of its ClusterIPs, and the Service of ``mark``.
    """
    now = _now()
    if not store.list(SERVICE_CIDR):
        store.create(service_cidr(str(state.serviceSubnet), now), now=now)
    wanted = {
        key_of(one): one for one in (*state.nodes, *state.services, *state.endpointSlices, *_marked(mark))
    }
    for kind in ("Node", "Service", "EndpointSlice"):
        for stored in store.list(kind):
            if stored.key not in wanted:
                store.delete(stored.key, now=now)
    for key, one in wanted.items():
        _put(store, key, one, now)


def _put(store: Store, key: Key, one: Any, now: str) -> None:
    if store.get(key) is None:
        store.add(one, now=now, origin=_ORIGIN)
    else:
        store.update(one)


def _marked(mark: Mark) -> Iterator[Service | EndpointSlice]:
    namespace, name = MARK
    port = ServicePort(port=mark.port, targetPort=mark.port)
    yield Service(
        metadata=ObjectMeta(name=name, namespace=namespace),
        spec=ServiceSpec(clusterIP=MARKED, clusterIPs=(MARKED,), ipFamilies=("IPv4",), ports=(port,)),
    )
    yield EndpointSlice(
        metadata=ObjectMeta(name=name, namespace=namespace, labels={"kubernetes.io/service-name": name}),
        endpoints=(Endpoint(addresses=(MARKING,)),),
        ports=(EndpointPort(name="", port=mark.port),),
    )


def _now() -> str:
    return rfc3339(time.time())
