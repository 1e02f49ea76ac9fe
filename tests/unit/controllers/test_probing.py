"""Tests which probes a Pod has, and how many results it takes to believe them."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.controllers.probing import (
    Exec,
    HttpGet,
    ProbeSpec,
    Streak,
    TcpSocket,
    find_probes,
    find_unknown,
)


def pod(**probes: Any) -> dict[str, Any]:
    ports = [{"containerPort": 8080, "name": "web"}]
    return {"spec": {"containers": [{"name": "c", "ports": ports, **probes}]}}


@pytest.mark.parametrize(
    ("probe", "action"),
    [
        ({"httpGet": {"port": 80}}, HttpGet(80)),
        (
            {"httpGet": {"port": "web", "path": "/ok", "httpHeaders": [{"name": "X", "value": "1"}]}},
            HttpGet(8080, "/ok", "", (("X", "1"),)),
        ),
        ({"tcpSocket": {"port": "none"}}, TcpSocket(0)),
        ({"exec": {"command": ["cat", "/ready"]}}, Exec(("cat", "/ready"))),
    ],
)
def test_a_probe_is_read(probe: dict[str, Any], action: object) -> None:
    (found,) = find_probes(pod(readinessProbe=probe))
    assert (found.kind, found.container, found.action) == ("readiness", "c", action)
    assert (found.delay, found.period, found.timeout, found.successes, found.failures) == (0, 10, 1, 1, 3)


def test_a_grpc_probe_is_named_and_not_sent() -> None:
    document = pod(livenessProbe={"grpc": {"port": 9000}})
    assert list(find_probes(document)) == []
    assert list(find_unknown(document)) == ["c"]


def test_it_takes_as_many_results_in_a_row_as_the_probe_says() -> None:
    spec = ProbeSpec(kind="readiness", container="c", action=TcpSocket(80), successes=2, failures=3)
    streak = Streak(spec, good=False)
    told = [streak.note(good) for good in (True, False, True, True)]
    assert (told, streak.good) == ([False, False, False, True], True)
    told = [streak.note(good) for good in (False, False, True, False, False, False)]
    assert (told, streak.good) == ([False, False, False, False, False, True], False)


def test_a_container_that_was_started_again_is_probed_anew() -> None:
    spec = ProbeSpec(kind="readiness", container="c", action=TcpSocket(80), failures=2)
    streak = Streak(spec, good=False)
    streak.note(True)
    streak.begin_anew()
    assert not streak.good
    assert [streak.note(False), streak.note(False)] == [False, True]
