"""Tests the attribution of frames: a socket's token, the rest of its connection, and ambiguous frames."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.journeys.correlate import Correlation, correlate
from emulator.journeys.tokens import find_answering
from emulator.model.flows import Attempt
from emulator.model.frames import Frame, make_token
from emulator.net import Endpoint
from emulator.report.prose_of_verdicts import say_ending
from tests.unit.journeys.tape import (
    BACK,
    N1,
    N1_MASQUERADED,
    POD,
    THERE,
    TOKEN,
    VIP,
    WEB,
    Tape,
    answer,
    attempt,
    by_socket,
    masqueraded,
    only,
    parse,
    pod_to_service,
    reply,
)


def opened(*ways: tuple[str, str, str, int], start: int = 0) -> Tape:
    """Makes SYNs: (place, src, dst, token's value)."""
    tape = Tape()
    tape.now = start
    for place, src, dst, value in ways:
        tape.see(place, src, dst, token=make_token("TCP", value))
    return tape


def tokens(tape: Tape, *attempts: Attempt) -> list[int]:
    """Returns the token's value that each attempt was given; 0 for none, -1 where there is no journey."""
    journeys = correlate(attempts, tape.frames).journeys
    return [journeys[index].token & 0xFFFFFFFF if index in journeys else -1 for index in range(len(attempts))]


WAITED = "timeout"


def test_a_socket_s_syn_has_its_addresses() -> None:
    tape = opened(
        ("pod/eth0 out", POD, WEB, 1),
        ("pod/eth0 out", POD, VIP, 2),
        ("pod/eth0 out", "10.244.1.2:4001", VIP, 3),
    )
    assert tokens(tape, by_socket(error=WAITED)) == [2]


def test_a_port_used_again_is_told_by_the_time() -> None:
    tape = opened(("pod/eth0 out", POD, VIP, 1), ("pod/eth0 out", POD, VIP, 2))
    first, second = (
        by_socket(error=WAITED, started=0, finished=1),
        by_socket(error=WAITED, started=2, finished=3),
    )
    assert tokens(tape, second, first) == [2, 1]


def test_a_syn_that_passes_is_not_the_node_s_own() -> None:
    """Sends a Pod's SYN that leaves its node with the node's address and port by chance."""
    tape = opened(("pod/eth0 out", POD, VIP, 1), ("worker-1/eth0 out", N1, WEB, 1))
    assert tokens(tape, by_socket(N1, netns="worker-1", error=WAITED)) == [0]


def test_a_node_s_syn_goes_elsewhere_from_the_same_port() -> None:
    tape = opened(("worker-1/eth0 out", N1, WEB, 1), ("worker-1/eth0 out", "172.18.0.3:4001", WEB, 2))
    assert tokens(tape, by_socket(N1, netns="worker-1", error=WAITED)) == [1]


def test_one_address_and_port_towards_two_services() -> None:
    """Shares a port between two sockets, as Linux allows if they dial different addresses."""
    tape = opened(
        ("worker-1/eth0 out", N1, WEB, 1),
        ("worker-1/eth0 out", N1, VIP, 2),
        ("worker-1/eth0 out", "172.18.0.3:9", WEB, 3),
    )
    plain, translated = (
        by_socket(N1, netns="worker-1", error=WAITED),
        by_socket(N1, "10.96.0.99:80", netns="worker-1", error=WAITED),
    )
    assert tokens(tape, translated, plain) == [1, 2]


def test_a_reject_in_the_node_s_own_output_shows_the_error_alone() -> None:
    tape = Tape()
    tape.error(("worker-1/lo out", "172.18.0.3", N1), ("worker-1/lo in", "172.18.0.3", N1))
    journey = only(tape, by_socket(N1, netns="worker-1", error="ECONNREFUSED"))
    assert (journey.outcome, say_ending(journey.ending)) == (
        "rejected",
        "ICMP port unreachable from 172.18.0.3",
    )
    assert (journey.there, len(journey.back)) == ((), 2)


def test_a_masqueraded_socket_is_known_by_what_the_server_saw() -> None:
    tape = opened(
        *masqueraded(1, "172.18.0.3:61001"),
        *masqueraded(2, "172.18.0.3:61002"),
        *masqueraded(3, "172.18.0.3:61003"),
    )
    for value in (1, 2, 3):
        reply(tape, value, f"172.18.0.3:6100{value}")
    clients = [
        by_socket(f"172.18.0.3:400{n}", netns="worker-1", answer=answer(f"172.18.0.3:6100{n}"))
        for n in (3, 1, 2)
    ]
    assert tokens(tape, *clients) == [3, 1, 2]


def test_a_masqueraded_port_may_be_another_socket_s_own() -> None:
    """Draws any port, as --random-fully does: one that another socket of the node is bound to as well."""
    tape = opened(*masqueraded(1, "172.18.0.3:40002"), *masqueraded(2, "172.18.0.3:61000"))
    reply(tape, 1, "172.18.0.3:40002")
    reply(tape, 2, "172.18.0.3:61000")
    seen = {"172.18.0.3:40001": "172.18.0.3:40002", "172.18.0.3:40002": "172.18.0.3:61000"}
    clients = [
        by_socket(own, netns="worker-1", answer=answer(masquerade)) for own, masquerade in seen.items()
    ]
    assert tokens(tape, *clients) == [1, 2]


def test_one_masqueraded_port_towards_two_servers_is_told_by_the_server_s_address() -> None:
    other = "10.244.2.5:8080"
    tape = opened(*masqueraded(1, N1_MASQUERADED), *masqueraded(2, N1_MASQUERADED, other))
    reply(tape, 1, N1_MASQUERADED)
    assert tokens(tape, by_socket(N1, netns="worker-1", answer=answer(N1_MASQUERADED, WEB))) == [1]


def test_the_only_syn_left_is_the_only_socket_s_left() -> None:
    tape = opened(
        *masqueraded(1, N1_MASQUERADED), ("pod/eth0 out", POD, VIP, 2), ("worker-1/eth0 out", POD, WEB, 2)
    )
    assert tokens(tape, by_socket(N1, netns="worker-1", error=WAITED)) == [1]


def test_elimination_goes_on_while_it_settles_something() -> None:
    tape = opened(*masqueraded(1, "172.18.0.3:61001"), *masqueraded(2, "172.18.0.3:61002"))  # at 1 and 3
    early, late = (by_socket(N1, netns="worker-1", error=WAITED, finished=end) for end in (2, 9))
    assert tokens(tape, late, early) == [2, 1]


def test_two_sockets_that_could_both_be_it_are_left_open() -> None:
    tape = opened(*masqueraded(1, N1_MASQUERADED))
    pair = [
        by_socket(N1, netns="worker-1", error=WAITED),
        by_socket("172.18.0.3:4001", netns="worker-1", error=WAITED),
    ]
    assert tokens(tape, *pair) == [-1, -1]


def test_two_syns_that_could_both_be_its_are_left_open() -> None:
    tape = opened(*masqueraded(1, "172.18.0.3:61001"), *masqueraded(2, "172.18.0.3:61002"))
    assert tokens(tape, by_socket(N1, netns="worker-1", error=WAITED)) == [-1]


def test_two_pods_use_the_same_loopback_addresses() -> None:
    client, server = "127.0.0.1:4000", "127.0.0.1:8080"
    tape = opened(("pod/lo out", client, server, 1), ("pod-2/lo out", client, server, 2))
    assert tokens(
        tape, *(by_socket(client, server, netns=netns, error=WAITED) for netns in ("pod-2", "pod"))
    ) == [2, 1]


def test_a_port_used_again_towards_another_address_is_told_by_the_time() -> None:
    tape = opened(
        ("worker-1/eth0 out", N1, WEB, 1),
        ("worker-1/eth0 out", N1, WEB, 2),
        ("worker-1/eth0 out", "172.18.0.3:9", WEB, 3),
    )
    assert tokens(tape, by_socket(N1, netns="worker-1", error=WAITED, started=2)) == [2]


def test_a_masqueraded_port_used_again_is_told_by_the_time() -> None:
    tape = opened(
        *masqueraded(1, N1_MASQUERADED),
        *masqueraded(2, N1_MASQUERADED),
        ("worker-1/eth0 out", "172.18.0.3:9", WEB, 3),
    )
    reply(tape, 2, N1_MASQUERADED)
    assert tokens(tape, by_socket(N1, netns="worker-1", started=3, answer=answer(N1_MASQUERADED))) == [2]


def test_what_the_server_saw_may_be_another_client_s() -> None:
    """Masquerades a Pod to the very address and port: its SYN began there, and is another attempt's."""
    ours, theirs = "172.18.0.3:4001", "10.244.2.5:8080"
    tape = opened(
        ("pod/eth0 out", POD, WEB, 1),
        *masqueraded(1, N1_MASQUERADED),
        *masqueraded(2, N1_MASQUERADED),
        *masqueraded(3, ours, theirs),
    )
    reply(tape, 2, N1_MASQUERADED)
    told = by_socket(N1, netns="worker-1", answer=answer(N1_MASQUERADED))
    other = by_socket(ours, theirs, netns="worker-1", error=WAITED)
    assert tokens(tape, told, other) == [2, 3]
    assert tokens(tape, told, attempt(N1, netns="worker-1", token=make_token("TCP", 2)), other)[0] == -1


LEFT_OVERS = {
    "udp": ("worker-1/eth0 out", "S", "UDP", False),
    "a-reply": ("worker-1/eth0 out", "SA", "TCP", True),
    "what-comes-in": ("worker-1/eth0 in", "S", "TCP", False),
    "elsewhere": ("worker-2/eth0 out", "S", "TCP", False),
}


@pytest.mark.parametrize("case", LEFT_OVERS)
def test_what_is_left_over_must_be_a_syn_that_leaves_here(case: str) -> None:
    place, flags, protocol, reply = LEFT_OVERS[case]
    tape = Tape()
    tape.see(place, "172.18.0.3:9", WEB, flags, make_token("TCP", 1), protocol=protocol, reply=reply)
    assert tokens(tape, by_socket(N1, netns="worker-1", error=WAITED)) == [0]


def test_what_is_left_over_is_nobody_else_s() -> None:
    tape = opened(("worker-1/eth0 out", "172.18.0.3:9", WEB, 1))
    crafted = attempt("172.18.0.3:9", WEB, netns="worker-1", token=make_token("TCP", 1))
    assert tokens(tape, by_socket(N1, netns="worker-1", error=WAITED), crafted) == [0, 1]


def test_a_datagram_that_was_never_sent_takes_no_connection_s_frames() -> None:
    tape = opened(("worker-1/eth0 out", "172.18.0.3:9", WEB, 1))
    assert tokens(tape, by_socket(N1, netns="worker-1", error="ENETUNREACH", protocol="UDP")) == [0]


# --- the rest of a connection -----------------------------------------------------------------------------


def test_data_and_fin_belong_to_their_connection_under_every_address() -> None:
    tape = pod_to_service()
    tape.see("pod/eth0 out", POD, VIP, "PA", 0)
    tape.see("worker-1/eth0 out", POD, WEB, "PA", 0)
    tape.see("web-0/eth0 out", WEB, POD, "FA", 0)
    tape.see("pod/eth0 in", "10.96.0.10:81", POD, "FA", 0)
    tape.see("web-0/eth0 out", VIP, POD, "FA", 0)  # addresses that this namespace has never seen together
    correlation = correlate([by_socket()], tape.frames)
    assert correlation.frames[0] == tuple(range(19))
    assert len(correlation.journeys[0].there) == 8


def test_the_rst_to_a_reply_from_a_wrong_address_belongs_to_it() -> None:
    tape = Tape()
    tape.there(THERE[0])
    tape.back(("pod/eth0 in", WEB, POD))
    tape.see("pod/eth0 out", POD, WEB, "R", 0)
    assert correlate([attempt()], tape.frames).frames[0] == (0, 1, 2)


def test_a_segment_belongs_to_the_latest_syn_before_it() -> None:
    tape = Tape()
    for value in (1, 2):
        tape.see("pod/eth0 out", POD, VIP, token=make_token("TCP", value))
        tape.see("pod/eth0 out", POD, VIP, "PA", 0)
    assert correlate([attempt(token=make_token("TCP", value)) for value in (1, 2)], tape.frames).frames == {
        0: (0, 1),
        1: (2, 3),
    }


def test_a_segment_without_a_syn_belongs_to_nobody() -> None:
    tape = Tape()
    tape.see("pod/eth0 out", POD, VIP, "PA", 0)
    assert correlate([attempt()], tape.frames).frames == {0: ()}


# --- one sequence number twice ----------------------------------------------------------------------------


def test_one_token_one_after_the_other_is_divided_by_time() -> None:
    tape = pod_to_service()
    middle = tape.now
    tape.there(*THERE)
    first, second = by_socket(finished=middle), by_socket(started=middle + 1, error="timeout")
    correlation = correlate([second, first], tape.frames)
    assert [correlation.journeys[index].outcome for index in (0, 1)] == ["dropped", "delivered"]
    assert correlation.frames == {1: tuple(range(16)), 0: tuple(range(16, 24))}
    assert correlation.collisions == ()


@pytest.mark.parametrize("crafted", [False, True])
def test_one_token_at_once_says_nothing(crafted: bool) -> None:
    tape = pod_to_service()
    tape.see("pod-2/eth0 out", "10.244.1.3:4000", VIP)
    one, other = (
        attempt(finished=1) if crafted else by_socket(),
        by_socket("10.244.1.3:4000", netns="pod-2", started=2),
    )
    correlation = correlate([one, other], tape.frames)
    assert correlation == Correlation({}, {}, (0, 1))


# --- properties -------------------------------------------------------------------------------------------


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_taps_does_not_matter(random: Random) -> None:
    tape = pod_to_service()
    tape.see("pod/eth0 out", POD, VIP, "PA", 0)
    shuffled = list(tape.frames)
    random.shuffle(shuffled)
    assert correlate([by_socket(), attempt()], shuffled) == correlate([by_socket(), attempt()], tape.frames)


ENDPOINTS = st.sampled_from([POD, VIP, WEB, N1])
FRAMES = st.builds(
    lambda time, netns, interface, outgoing, protocol, src, dst, ttl, flags, token, reply: Frame(
        0, time, netns, interface, outgoing, protocol, *parse(src), *parse(dst), ttl, flags, token, reply, 74
    ),
    st.integers(0, 9),
    st.sampled_from(["pod", "worker-1"]),
    st.sampled_from(["eth0", "lo"]),
    st.booleans(),
    st.sampled_from(["TCP", "UDP", "ICMP error", "other"]),
    ENDPOINTS,
    ENDPOINTS,
    st.integers(62, 64),
    st.sampled_from(["S", "SA", "RA", "3/3", "9/9", ""]),
    st.sampled_from([0, TOKEN, make_token("TCP", 10)]),
    st.booleans(),
)
ATTEMPTS = st.builds(
    lambda src, dst, token, crafted, started, error: attempt(
        src, dst, token=token, crafted=crafted, started=started, finished=9, error=error
    ),
    ENDPOINTS,
    ENDPOINTS,
    st.sampled_from([0, TOKEN]),
    st.booleans(),
    st.integers(0, 9),
    st.sampled_from(["", "timeout", "ECONNREFUSED"]),
)


def test_a_connection_that_two_attempts_claim_is_neithers() -> None:
    """Finds one by its opening, one by a request that was made on it."""
    tape = Tape()
    tape.see("pod/eth0 out", POD, VIP, "S", make_token("TCP", 10))
    tape.see("pod/eth0 out", POD, VIP, "PA", request := make_token("TCP", 9))
    correlation = correlate([by_socket(), attempt(token=request, crafted=False)], tape.frames)
    assert correlation == Correlation({}, {}, (0, 1))


@given(st.lists(ATTEMPTS, max_size=4), st.lists(FRAMES, max_size=30))
def test_no_frame_is_two_attempts(attempts: list[Attempt], frames: list[Frame]) -> None:
    numbered = [frame._replace(number=number) for number, frame in enumerate(frames)]
    correlation = correlate(attempts, numbered)
    used = [number for numbers in correlation.frames.values() for number in numbers]
    assert len(used) == len(set(used))
    for index, journey in correlation.journeys.items():
        assert {hop.frame for hop in journey.there + journey.back} <= set(correlation.frames.get(index, ()))


# --- who answered ----------------------------------------------------------------------------------------


def test_an_endpoint_that_replies_to_an_attempt_answers_its_flow() -> None:
    tape = pod_to_service()
    for one in (by_socket(), attempt()):
        assert find_answering([one], tape.frames) == {one.flow: {VIP, WEB}}


def test_a_reply_to_another_attempt_answers_nothing() -> None:
    tape = pod_to_service()
    other = by_socket(Endpoint(POD.address, POD.port + 1))
    for one in (
        other,
        by_socket(started=tape.now + 1),
        by_socket(netns="elsewhere"),
        attempt(token=TOKEN + 1),
    ):
        assert find_answering([one], tape.frames) == {one.flow: set()}


def test_a_request_is_answered_by_the_sender_of_its_reply() -> None:
    tape = opened_connection()
    tape.there(*THERE, token=ASKED, flags="PA")
    tape.back(*BACK, token=ASKED, flags="PA")
    assert WEB in find_answering([continued()], tape.frames)[attempt().flow]


def test_a_server_that_named_its_own_socket_answers_whatever_the_taps_saw() -> None:
    one = by_socket(answer=answer(N1_MASQUERADED, local=WEB))
    assert find_answering([one], []) == {one.flow: {WEB}}


# --- requests on a connection that is open
# ------------------------------------------------------------------------

ASKED = make_token("TCP", 0x0123456789ABCDEF)


def continued(**fields: Any) -> Attempt:
    return replace(attempt(token=ASKED, crafted=False, **fields), continued=True)


def opened_connection() -> Tape:
    """Returns the connection is opened, and one request on it answered."""
    tape = pod_to_service()
    tape.there(*THERE, token=ASKED + 1, flags="PA")
    tape.back(*BACK, token=ASKED + 1, flags="PA")
    return tape


def test_a_later_request_has_frames_of_its_own() -> None:
    tape = opened_connection()
    tape.there(*THERE, token=ASKED, flags="PA")
    tape.back(*BACK, token=ASKED, flags="PA")
    journey = only(tape, continued())
    assert (journey.outcome, journey.backend, journey.source_seen) == (
        "delivered",
        Endpoint.of("10.244.2.4", 8080),
        "10.244.1.2",
    )
    assert [hop.frame for hop in journey.there + journey.back] == list(range(32, 48))


def test_a_reset_instead_of_an_answer_refuses_the_request() -> None:
    tape = opened_connection()
    tape.there(*THERE, token=ASKED, flags="PA")
    tape.there(*BACK, token=0, flags="R")
    journey = only(tape, continued(error="ECONNRESET"))
    assert (journey.outcome, say_ending(journey.ending)) == (
        "rejected",
        "accepted, then closed without an answer: RST from 10.244.2.4:8080",
    )


def test_a_reset_that_the_client_sends_answers_nothing() -> None:
    tape = opened_connection()
    tape.there(*THERE, token=ASKED, flags="PA")
    tape.there(*THERE, token=0, flags="R")
    assert only(tape, continued(error="timeout")).outcome == "dropped"


def test_the_connection_s_own_attempt_has_its_requests_among_its_frames() -> None:
    tape = opened_connection()
    assert correlate([attempt()], tape.frames).frames[0] == tuple(range(32))
