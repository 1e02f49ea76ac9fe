"""Tests when the time of a probe begins."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from emulator.controllers.probing import ProbeSpec, TcpSocket
from emulator.run.engine import Engine
from emulator.run.probes import Probes
from tests.sandboxed import state_of

CLUSTER = """
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c, image: client}]}
"""
_SLOW = 0.3  # seconds that the thread of the kernel is busy


async def _nothing(_: Mapping[str, Any], __: str, ___: tuple[str, ...]) -> int:
    return 0


def test_a_probe_does_not_fail_because_the_kernels_thread_was_busy() -> None:
    async def probe() -> bool:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            spec = ProbeSpec(
                kind="liveness", container="c", action=TcpSocket(port, "127.0.0.1"), timeout=_SLOW / 3
            )
            document = {"metadata": {"namespace": "default", "name": "client"}}
            return await Probes(_busy(), _nothing, print)._try(document, spec)

    assert asyncio.run(probe())


def _busy() -> Engine:
    """Returns an engine whose thread is busy for a while."""

    async def in_kernel(function: Callable[[], Any]) -> Any:
        await asyncio.sleep(_SLOW)
        return function()

    namespaces = SimpleNamespace(call_in=lambda _, function: function())
    return cast(
        Engine, SimpleNamespace(state=state_of(text=CLUSTER), namespaces=namespaces, in_kernel=in_kernel)
    )
