"""Tests what a Service may ask for: ClusterIPs and node ports that are free and in their range."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.api.givenout import GivenOut
from emulator.net import Prefix
from emulator.store.store import Store

NOW = "2026-01-01T00:00:00Z"
RANGES = GivenOut(Prefix.of("10.96.0.0", 16))


def service(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def node_port(name: str, number: int) -> dict[str, Any]:
    port = {"port": 80, "nodePort": number, "protocol": "TCP"}
    return service(name, type="NodePort", clusterIP="10.96.0.9", clusterIPs=["10.96.0.9"], ports=[port])


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (service("b", ports=[{"port": 80}]), []),
        (service("b", clusterIP="None"), []),
        (service("b", clusterIP="10.96.0.10"), []),
        (service("b", clusterIP="10.96.0.9"), ["provided IP is already allocated"]),
        (service("b", clusterIP="192.0.2.1"), ["the provided network does not match the current range"]),
        (service("b", clusterIP="10.96.0.0"), ["provided IP is not in the valid range"]),
        (node_port("a", 30080), []),  # its own
        (service("b", ports=[{"port": 1, "nodePort": 30080, "protocol": "UDP"}]), []),
        (
            service("b", ports=[{"port": 1, "nodePort": 30080, "protocol": "TCP"}]),
            ["provided port is already allocated"],
        ),
        (service("b", ports=[{"port": 1, "nodePort": 80, "protocol": "TCP"}]), ["30000-32767"]),
    ],
)
def test_what_a_new_service_asks_for(new: dict[str, Any], words: list[str]) -> None:
    store = Store()
    store.create(node_port("a", 30080), now=NOW)
    found = [*RANGES.violations(new, {}, store)]
    assert len(found) == len(words)
    assert all(word in one.message for word, one in zip(words, found, strict=True))


def test_a_service_keeps_what_it_has() -> None:
    store = Store()
    store.create(node_port("a", 30080), now=NOW)
    old = node_port("b", 80)  # given out before the range was checked
    assert not [*RANGES.violations(old, old, store)]
