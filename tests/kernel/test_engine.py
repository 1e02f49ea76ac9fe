"""Tests that the kernel follows the store of a cluster that lives: real Pods come, serve, change and go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, TypeVar

import pytest

from emulator.kernel import sandbox
from emulator.proxy.planner import ProxyPlanner
from emulator.run.clock import Clock
from emulator.run.engine import Engine
from emulator.run.live import Live
from emulator.run.run import bring_up
from emulator.run.up import Settings, is_api, prepared, settled
from emulator.store.manifests import render
from emulator.store.objects import Key
from tests.live import CLUSTER
from tests.sandboxed import flavour, inventory_of_text

pytestmark = pytest.mark.kernel

T = TypeVar("T")

WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 8080}]}]},
        },
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
}


class World:
    """Holds a cluster that lives, as a test uses it."""

    def __init__(self, engine: Engine, live: Live) -> None:
        self.engine, self.live, self.store = engine, live, engine.plane.store

    def create(self, document: dict[str, Any]) -> None:
        self.store.create(document, now=self.engine.plane.now)
        self.engine.poke()

    def change(self, kind: str, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        stored = self.store.get(Key(kind, "default", name))
        assert stored is not None
        document = render(stored)
        change(document)
        self.store.write(document)
        self.engine.poke()

    def pods(self) -> list[dict[str, Any]]:
        return [render(one) for one in self.store.list("Pod", "default") if one.key.name != "client"]

    async def until(self, what: Callable[[], bool], seconds: float = 15) -> None:
        """Waits until ``what`` holds, and all of it is in the kernel."""
        for _ in range(int(seconds / 0.02)):
            await self.engine.settled()
            if what():
                return
            await asyncio.sleep(0.02)
        raise AssertionError([row.get("status") for row in self.pods()])

    async def ask(self, address: str, port: int) -> str:
        """Returns what an HTTP server says to the Pod client ("": it refused, or said nothing)."""
        enter = self.engine.namespaces.call_in
        return await self.engine.in_kernel(partial(enter, "default_client", partial(_ask, address, port)))

    def cluster_ip(self) -> str:
        stored = self.store.get(Key("Service", "default", "web"))
        assert stored is not None
        return str(stored.object.spec.clusterIP)


def _ask(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), 2) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            said = b""
            while data := connection.recv(4096):
                said += data
            return said.decode()
    except OSError:
        return ""


def living(test: Callable[[World], Awaitable[T]], mode: Any = "nftables") -> T:
    """Returns what ``test`` returns in a cluster that lives."""
    settings = Settings(iptables=flavour(), proxy_mode=mode)
    plane, facts, whole = settled(inventory_of_text(CLUSTER), settings)
    state = replace(whole, listeners=tuple(one for one in whole.listeners if not is_api(one)))
    proxy = ProxyPlanner()
    run = prepared(state, proxy, settings, Clock())

    def inside(channel: sandbox.Channel) -> T:
        with bring_up(channel, run, datetime.now(timezone.utc), lives=True) as live:
            return asyncio.run(attend(live))

    async def attend(live: Live) -> T:
        said: list[str] = []
        engine = Engine(plane, facts, live, proxy, state, is_api, lambda _: None, said.append)
        working = asyncio.ensure_future(engine.run())
        try:
            await engine.settled()
            result = await test(World(engine, live))
            assert not said
            return result
        finally:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working

    return sandbox.run(inside)


def test_a_deployment_behind_a_service_comes_serves_scales_and_goes() -> None:
    async def test(world: World) -> None:
        world.create(WEB)
        world.create(SERVICE)
        await world.until(lambda: [p["status"]["phase"] for p in world.pods()] == ["Running"] * 2)
        await world.until(lambda: all(_ready(pod) for pod in world.pods()))
        address = world.cluster_ip()
        assert '"image": "web:1"' in await world.ask(address, 80)
        world.change("Deployment", "web", lambda d: d["spec"].update(replicas=3))
        await world.until(lambda: [_ready(pod) for pod in world.pods()] == [True] * 3)
        world.change("Deployment", "web", _new_image)
        await world.until(lambda: {_image(pod) for pod in world.pods()} == {"web:2"})
        await world.until(lambda: [_ready(pod) for pod in world.pods()] == [True] * 3)
        assert '"image": "web:2"' in await world.ask(address, 80)
        world.change("Deployment", "web", lambda d: d["spec"].update(replicas=0))
        await world.until(lambda: not world.pods())
        assert await world.ask(address, 80) == ""

    living(test)


def _ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])


def _image(pod: dict[str, Any]) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def _new_image(document: dict[str, Any]) -> None:
    document["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
