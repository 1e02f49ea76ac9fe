"""Tests the results that a moment leaves for later ones."""

from __future__ import annotations

from dataclasses import replace

from emulator.journeys.correlate import Correlation
from emulator.model.expectations import Expectation, Possibilities
from emulator.model.flows import Attempt, Client, Destination, Flow
from emulator.model.frames import Frame
from emulator.model.reasons import Reason, Why
from emulator.net import Address, Endpoint
from emulator.run.examine import _keep, _part, find_missed

CLIENT = Client(
    kind="pod", label="pod default/c", netns="default_c", ip=Address("10.244.1.2"), node="worker-1"
)
TO = Destination(label="svc default/web:80", ip=Address("10.96.1.0"), port=80)


def flow(step: str) -> Flow:
    return Flow(
        name=f"talk {step}",
        kind="pod-to-service",
        client=CLIENT,
        to=TO,
        protocol="TCP",
        attempts=1,
        check="talk",
        connection="c",
        step=step,
    )


def attempt(of: Flow, error: str = "") -> Attempt:
    return Attempt(
        flow=of.name,
        protocol="TCP",
        netns=CLIENT.netns,
        src=(CLIENT.ip, 40000),
        dst=(TO.ip, TO.port),
        token=0,
        crafted=False,
        started=0,
        finished=9,
        error=error,
    )


def frame(number: int, flags: str) -> Frame:
    return Frame(
        number,
        number,
        CLIENT.netns,
        "eth0",
        True,
        "TCP",
        CLIENT.ip,
        40000,
        TO.ip,
        80,
        64,
        flags,
        1,
        False,
        66,
    )


def test_of_an_open_connection_only_its_opening_is_kept_however_long_it_is_open() -> None:
    kept: dict[tuple[str, str], list[Frame]] = {}
    opening = [frame(0, "S"), frame(1, "SA")]
    frames = [*opening, frame(2, "A"), frame(3, "PA")]
    for step in range(5):
        said = flow(str(step))
        _keep(
            [said], [attempt(said)], Correlation({}, {0: tuple(f.number for f in frames)}, ()), frames, kept
        )  # type: ignore[arg-type]
        assert kept == {("talk", "c"): opening}
        frames = [*kept["talk", "c"], frame(10 * step + 4, "PA"), frame(10 * step + 5, "A")]
    _keep([said], [attempt(said, "ECONNRESET")], Correlation({}, {0: (0,)}, ()), frames, kept)  # type: ignore[arg-type]
    assert kept == {}


WEB, OTHER = Endpoint.of("10.244.1.9", 8080), Endpoint.of("10.244.2.9", 8080)
TO_WEB = replace(flow(""), connection="", attempts=21, enough=18)


def promise(*must_meet: frozenset[Endpoint]) -> Expectation:
    return Expectation(
        possibilities=Possibilities(()), because=Reason(why=Why.CLUSTER_IP_FROM_POD), must_meet=must_meet
    )


EACH = promise(frozenset({WEB}), frozenset({OTHER}))


def test_enough_attempts_are_sent_before_it_is_asked_who_answered() -> None:
    assert _part(TO_WEB, EACH, ()).attempts == 18
    assert _part(TO_WEB, EACH, {TO_WEB.name}).attempts == 21
    assert _part(TO_WEB, promise(), ()).attempts == 21
    assert _part(replace(TO_WEB, enough=0), EACH, ()).attempts == 21
    assert _part(replace(TO_WEB, attempts=9), EACH, ()).attempts == 9
    assert _part(replace(TO_WEB, protocol="UDP"), EACH, ()).attempts == 18
    assert _part(replace(TO_WEB, protocol="SCTP"), EACH, ()).attempts == 21  # crafted packets alone


def test_the_others_are_sent_if_an_endpoint_has_not_answered() -> None:
    sent = [attempt(TO_WEB)]
    opening = frame(0, "S")._replace(token=7)
    answers = [
        opening._replace(src=end.address, sport=end.port, flags="SA", reply=True, token=7)
        for end in (WEB, OTHER)
    ]
    either = promise(frozenset({WEB, OTHER}))
    assert find_missed([TO_WEB], {TO_WEB.name: EACH}, sent, [opening, answers[0]]) == [TO_WEB]
    assert find_missed([TO_WEB], {TO_WEB.name: EACH}, sent, [opening, *answers]) == []
    assert find_missed([TO_WEB], {TO_WEB.name: either}, sent, [opening, answers[0]]) == []
