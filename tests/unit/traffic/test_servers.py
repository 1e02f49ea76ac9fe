"""Tests real commands: the flows that may meet one, the clients' turns, and the results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from emulator.model.flows import Attempt, CommandServer
from emulator.model.frames import make_token
from emulator.model.journeys import Ending, Hop, Journey
from emulator.model.results import FlowResult
from emulator.net import Endpoint
from emulator.oracle.expectations import Expectations
from emulator.oracle.parties import service_destination
from emulator.report.prose_of_verdicts import say_ending, say_verdict
from emulator.traffic.send import socket_jobs
from emulator.traffic.servers import (
    ANSWER,
    BUDGET,
    HURRY,
    Turns,
    find_hidden,
    find_servers,
    find_sole_sctp,
)
from emulator.verdicts.judge import judge
from tests.unit.journeys.tape import (
    POD,
    VIP,
    WEB,
    Tape,
    attempt,
    only,
)
from tests.unit.states import (
    PODS,
    WEB_1,
    WEB_IP,
    make_endpoint,
    make_flow,
    make_pod,
    make_service,
    make_slice,
    make_state,
)
from tests.unit.verdicts import test_judge as case

COMMANDS = {"default/web-0": ("main",)}


# --- which ------------------------------------------------------------------------------------------------


def found(ip: str, port: int) -> list[CommandServer]:
    state = make_state(make_service(), commands=COMMANDS)
    flow = make_flow(state, "client", ip, port)
    servers = find_servers(state, [(flow, Expectations(state).expect(flow))])
    return sorted(servers.get(flow.name, ()))


def test_the_commands_behind_a_service_and_behind_a_pod_s_address() -> None:
    first = CommandServer("default/web-0", "default_web-0", Endpoint.of("10.244.1.3", 8080), own=True)
    assert found(WEB_IP, 80) == [first]
    assert found("10.244.1.3", 8080) == [first]
    assert found(WEB_1, 8080) == []


HOST_PODS = (*PODS, make_pod("exporter", "worker-1", ports=[9100, (9100, "SCTP")]))


def hidden(endpoint: str, **changes: Any) -> bool:
    """Returns whether no tap may see who answers client-1 behind the Service, whose endpoint is on
    worker-1.
    """
    state = make_state(
        make_service(), slices=[make_slice(make_endpoint(endpoint, "worker-1"))], pods=HOST_PODS, **changes
    )
    service = state.services[0]
    to = service_destination(service, service.spec.ports[0], "clusterIP", WEB_IP)
    flow = replace(make_flow(state, "client-1", WEB_IP, 80, via="worker-1"), to=to)
    return flow.name in find_hidden(state, [(flow, Expectations(state).expect(flow))])


def test_an_endpoint_at_a_node_s_own_address_may_be_hidden() -> None:
    assert hidden("172.18.0.3")
    assert hidden("172.18.0.3", proxy={"mode": "ipvs"})
    assert not hidden("10.244.1.3")


def test_a_node_s_address_that_is_dialled_as_such_is_seen() -> None:
    state = make_state(make_service(), pods=HOST_PODS)
    flow = make_flow(state, "client", "172.18.0.3", 9100)
    assert find_hidden(state, [(flow, Expectations(state).expect(flow))]) == frozenset()


def test_of_a_flow_whose_endpoint_may_be_hidden_every_attempt_asks() -> None:
    flow = make_flow(make_state(), "client", "10.244.1.3", 8080, attempts=3)
    assert [job.talk for job in socket_jobs([flow], talk=True)] == [True, False, False]
    for talk in (True, False):
        assert [job.talk for job in socket_jobs([flow], talk=talk, hidden={flow.name})] == [True] * 3


def test_the_only_sctp_server_of_a_node_and_of_two_none() -> None:
    assert find_sole_sctp(make_state(pods=HOST_PODS)) == {"worker-1": Endpoint.of("172.18.0.3", 9100)}
    assert (
        find_sole_sctp(make_state(pods=(*HOST_PODS, make_pod("more", "worker-1", ports=[(9200, "SCTP")]))))
        == {}
    )
    assert (
        find_sole_sctp(make_state(pods=(make_pod("own", "worker-1", "10.244.1.9", [(9100, "SCTP")]),))) == {}
    )


# --- when -------------------------------------------------------------------------------------------------

A, B = (
    CommandServer(f"default/{name}", f"default_{name}", Endpoint.of(f"10.244.1.{n}", 80), own=True)
    for n, name in enumerate("ab", 3)
)


def turns(*jobs: tuple[str, set[CommandServer]], client: str = "") -> Turns[str]:
    queue: Turns[str] = Turns()
    for name, servers in jobs:
        queue.add(name, frozenset(servers), client)
    return queue


def test_a_server_is_asked_by_one_at_a_time_and_two_servers_at_once() -> None:
    queue = turns(("first", {A}), ("second", {A}), ("other", {B}), ("either", {A, B}))
    assert [queue.next(), queue.next(), queue.next()] == ["first", "other", None]
    queue.leave([A], "", 0.1, connected=True, heard=True)
    assert [queue.next(), queue.next()] == ["second", None]
    queue.leave([A], "", 0.1, connected=True, heard=True)
    queue.leave([B], "", 0.1, connected=True, heard=True)
    assert queue.next() == "either"
    assert not queue.waiting()


def test_a_server_that_does_not_answer_is_still_asked_one_at_a_time_but_not_waited_for() -> None:
    queue = turns(("first", {A}), ("second", {A}), ("third", {A}))
    assert queue.next() == "first"
    assert queue.patience([A]) == ANSWER
    queue.leave([A], "", 1, connected=True, heard=False)
    assert queue.patience([A, B]) == 0
    assert [queue.next(), queue.next()] == ["second", None]


def test_a_server_that_does_not_accept_is_asked_by_all_at_once() -> None:
    queue = turns(("first", {A}), ("second", {A}), ("third", {A}))
    queue.next()
    queue.leave([A], "", 1, connected=False, heard=False)
    assert [queue.next(), queue.next()] == ["second", "third"]


def test_a_server_that_takes_its_time_is_waited_for_less_when_the_budget_is_spent() -> None:
    """Waits for it: a server that answers is not asked faster than it does."""
    queue = turns(("first", {A, B}))
    queue.next()
    queue.leave([A, B], "", BUDGET + 0.1, connected=True, heard=True)
    assert queue.patience([A]) == ANSWER
    queue.leave([A, B], "", BUDGET + 0.1, connected=True, heard=True)
    assert queue.patience([A]) == HURRY


def test_a_client_whose_connections_only_time_tells_apart_asks_one_thing_at_a_time() -> None:
    queue = turns(("first", {A}), ("second", {B}), client="worker-1")
    assert [queue.next(), queue.next()] == ["first", None]
    queue.leave([A], "worker-1", 1, connected=True, heard=True)
    assert queue.next() == "second"


def test_of_servers_that_do_not_accept_a_client_may_ask_several_at_once() -> None:
    """Asks all at once; otherwise each costs the patience for a handshake, one after the other."""
    queue = turns(("first", {A}), ("second", {A}), ("third", {A}), client="worker-1")
    queue.next()
    queue.leave([A], "worker-1", 1, connected=False, heard=False)
    assert [queue.next(), queue.next()] == ["second", "third"]


# --- what the frames say ----------------------------------------------------------------------------------

SERVER = CommandServer("default/web-0", "web-0", Endpoint.of("10.244.2.4", 8080), own=True)
COOKIE = {"TCP": make_token("TCP", 1 << 40 | 9), "UDP": make_token("UDP", 9)}
THERE = (
    ("pod/eth0 out", POD, VIP),
    ("worker-1/cbr0 in", POD, VIP),
    ("worker-1/eth0 out", POD, WEB),
    ("web-0/eth0 in", POD, WEB),
)
ECHO = (
    ("web-0/eth0 out", WEB, POD),
    ("worker-1/eth0 in", WEB, POD),
    ("worker-1/cbr0 out", VIP, POD),
    ("pod/eth0 in", VIP, POD),
)


def asked(protocol: Any = "UDP", error: str = "timeout", **fields: Any) -> Attempt:
    fields = {"servers": frozenset({SERVER}), "crafted": False} | fields
    return replace(attempt(token=COOKIE[protocol], protocol=protocol, error=error), **fields)


def test_a_datagram_that_comes_in_at_a_command_is_delivered_whatever_it_says() -> None:
    tape = Tape()
    tape.there(*THERE, token=COOKIE["UDP"], protocol="UDP", flags="")
    journey = only(tape, asked())
    assert (journey.outcome, journey.backend, journey.source_seen) == (
        "delivered",
        SERVER.backend,
        "10.244.1.2",
    )
    assert (journey.reply_from, say_ending(journey.ending)) == (None, "came in at web-0/eth0 in")


def test_a_datagram_that_does_not_come_in_is_dropped() -> None:
    tape = Tape()
    tape.there(*THERE[:3], token=COOKIE["UDP"], protocol="UDP", flags="")
    assert only(tape, asked()).outcome == "dropped"


def test_on_a_node_its_rules_come_between_so_somebody_must_have_answered() -> None:
    tape = Tape()
    tape.there(*THERE, token=COOKIE["UDP"], protocol="UDP", flags="")
    shared = frozenset({SERVER._replace(own=False)})
    assert only(tape, asked(servers=shared)).outcome == "dropped"
    assert only(tape, asked(servers=shared, heard=True, error="")).outcome == "delivered"


@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
def test_an_echo_of_the_request_is_an_answer(protocol: Any) -> None:
    """Takes the same cookie for the answer, not for the request on its way."""
    tape = Tape()
    if protocol == "TCP":
        tape.there(*THERE, token=make_token("TCP", 5))
        tape.back(*ECHO, token=make_token("TCP", 5))
    tape.there(*THERE, *ECHO, token=COOKIE[protocol], protocol=protocol, flags="")
    journey = only(tape, asked(protocol, "", continued=protocol == "TCP"))
    assert [str(hop).split()[0] for hop in journey.there] == [place.split()[0] for place, *_ in THERE]
    assert (journey.outcome, journey.backend, journey.reply_from) == ("delivered", SERVER.backend, VIP)


# --- the verdict ------------------------------------------------------------------------------------------

WEB_0 = CommandServer("default/web-0", "web-0", Endpoint.of("10.244.2.4", 8080), own=True)
ARRIVED = case.ended("dropped", Ending(kind="silence", last=case.delivered().there[-1]))
SENT_BACK = (
    Hop(3, "web-0", "eth0", "out", case.WEB, case.POD, 64, 2),
    Hop(4, "client", "eth0", "in", case.VIP, case.POD, 62, 3),
)
RESET = case.ended("rejected", Ending(kind="rst", by=Endpoint.parse("10.244.2.4:8080")), SENT_BACK)


def verdict(
    *journeys: Journey, server: CommandServer = WEB_0, full: Any = (), controls: Any = None, **fields: Any
) -> FlowResult:
    attempts = [case.attempt(servers=frozenset({server}), **fields)] * len(journeys)
    return judge(case.FLOW, case.ONE, journeys, attempts, 0, controls or {}, full=full)


def test_a_server_that_did_not_accept_is_called_that_and_proves_nothing() -> None:
    result = verdict(ARRIVED)
    assert result.verdict == "unknown"
    assert (
        say_verdict(result)
        == "the server in Pod default/web-0 did not accept (no answer to what came in at web-0/eth0 in)"
    )
    assert say_verdict(verdict(ARRIVED, full={"web-0"})).endswith(": its accept queue was full)")
    assert result.journeys[0].unserved == ("default/web-0",)


def test_a_server_that_accepted_too_late_was_reached() -> None:
    """Answers the second retransmission of its SYN when the client has left."""
    assert verdict(case.delivered(), error="timeout").verdict == "pass"
    assert (
        judge(case.FLOW, case.ONE, [case.delivered()], [case.attempt(error="timeout")], 0, {}).verdict
        == "fail"
    )


def test_a_server_that_accepted_once_has_shown_that_it_is_reached() -> None:
    result = verdict(case.delivered(), ARRIVED)
    assert (result.verdict, result.observed.outcomes) == ("pass", {"delivered": 1})


def test_a_server_that_refuses_is_called_that_whatever_became_of_the_control() -> None:
    result = verdict(case.delivered(), RESET, controls={"the control": "fail"})
    assert result.verdict == "fail"
    assert say_verdict(result) == (
        "the server in Pod default/web-0 refused it (RST from 10.244.2.4:8080: nothing listens at "
        "10.244.2.4:8080) (1 of 2 attempts)"
    )


def test_what_never_came_in_is_the_network_s_affair() -> None:
    assert verdict(_not_arrived()).verdict == "fail"
    lost_reply = replace(ARRIVED, back=SENT_BACK[:1], ending=Ending(kind="reply lost", last=SENT_BACK[0]))
    assert verdict(lost_reply).verdict == "fail"
    by_a_node = replace(
        RESET, back=(Hop(3, "worker-1", "cbr0", "out", Endpoint.of(case.NODE, 0), case.POD, 64, 2),)
    )
    assert verdict(by_a_node).verdict == "fail"
    assert "the server" not in say_verdict(verdict(by_a_node))


def _not_arrived() -> Journey:
    return replace(case.DROPPED, there=case.DROPPED.there[:1])


def test_on_a_node_only_an_accept_queue_that_overflowed_accuses_the_server() -> None:
    shared = WEB_0._replace(own=False)
    assert verdict(ARRIVED, server=shared).verdict == "fail"
    assert verdict(ARRIVED, server=shared, full={"web-0"}).verdict == "unknown"


def test_of_a_proxy_the_frames_do_not_tell_what_its_server_did() -> None:
    result = verdict(_not_arrived(), relayed=True)
    assert result.verdict == "unknown"
    assert "a proxy accepted it" in say_verdict(result)


def test_the_endpoint_on_the_host_network_is_the_only_one_in_its_namespace() -> None:
    hidden = case.delivered(case.VIP, changes=())
    server = WEB_0._replace(own=False)
    assert verdict(hidden, server=server).journeys[0].backend == WEB_0.backend
