"""Tests correlate: each attempt's frames and no other's, in order, with the rewrites and their places, and
the outcome.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from emulator.journeys.correlate import correlate
from emulator.model.flows import Attempt
from emulator.model.frames import make_token
from emulator.model.journeys import Journey
from emulator.net import Endpoint
from emulator.report.prose_of_verdicts import say_ending
from tests.unit.journeys.tape import (
    BACK,
    N1,
    N1_MASQUERADED,
    N2,
    POD,
    THERE,
    TOKEN,
    VIP,
    WEB,
    Tape,
    answer,
    attempt,
    by_socket,
    only,
    parse,
    pod_to_service,
)

CBR0_MASQUERADED = Endpoint.parse("10.244.1.1:61000")
OUTSIDE, BALANCER = Endpoint.parse("203.0.113.10:4000"), Endpoint.parse("172.18.255.254:61000")


def changes(journey: Journey) -> list[str]:
    return [str(change) for change in journey.changes]


def test_a_pod_dials_a_service_on_another_node() -> None:
    journey = only(pod_to_service(), attempt())
    assert [str(hop) for hop in journey.there] == [
        f"{place} {src} → {dst} ttl 64" for place, src, dst in THERE
    ]
    assert [str(hop) for hop in journey.back] == [f"{place} {src} → {dst} ttl 64" for place, src, dst in BACK]
    assert changes(journey) == [f"DNAT at worker-1: {VIP} → {WEB}", f"un-DNAT at worker-1: {WEB} → {VIP}"]
    assert [change.frame for change in journey.changes] == [2, 13]
    assert (journey.outcome, journey.backend, journey.source_seen) == (
        "delivered",
        Endpoint.of("10.244.2.4", 8080),
        "10.244.1.2",
    )
    assert (journey.reply_from, say_ending(journey.ending), journey.sent, journey.crafted) == (
        VIP,
        "",
        (POD, VIP),
        True,
    )


def test_masquerading_is_named_both_ways() -> None:
    tape = Tape()
    tape.there(
        ("client/eth0 out", POD, N2),
        ("worker-2/eth0 in", POD, N2),
        ("worker-2/eth0 out", N1_MASQUERADED, WEB),
        ("web-0/eth0 in", N1_MASQUERADED, WEB),
    )
    tape.back(
        ("web-0/eth0 out", WEB, N1_MASQUERADED),
        ("worker-2/eth0 in", WEB, N1_MASQUERADED),
        ("worker-2/eth0 out", N2, POD),
        ("client/eth0 in", N2, POD),
    )
    journey = only(tape, attempt(dst=N2, netns="client"))
    assert changes(journey) == [
        f"DNAT at worker-2: {N2} → {WEB}",
        f"SNAT at worker-2: {POD} → {N1_MASQUERADED}",
        f"un-DNAT at worker-2: {WEB} → {N2}",
        f"un-SNAT at worker-2: {N1_MASQUERADED} → {POD}",
    ]
    assert (journey.source_seen, journey.reply_from) == ("172.18.0.3", N2)


# --- a process accepts and dials --------------------------------------------------------------------------

SAID = make_token("TCP", 0x0123456789ABCDEF)
ACCEPTED, DIALLED_FROM = Endpoint.parse("10.244.1.1:10042"), Endpoint.parse("172.18.0.3:33000")
FIRST_LEG = (("pod/eth0 out", POD, VIP), ("worker-1/veth1 in", POD, VIP), ("worker-1/cbr0 in", POD, ACCEPTED))
SECOND_LEG = (("worker-1/eth0 out", DIALLED_FROM, WEB), ("web-0/eth0 in", DIALLED_FROM, WEB))
SECOND_LEG_BACK = (("web-0/eth0 out", WEB, DIALLED_FROM), ("worker-1/eth0 in", WEB, DIALLED_FROM))
FIRST_LEG_BACK = (
    ("worker-1/cbr0 out", VIP, POD),
    ("worker-1/veth1 out", VIP, POD),
    ("pod/eth0 in", VIP, POD),
)


def relayed_tcp(*, answered: bool = True) -> Tape:
    """Uses two connections with a request on each; the second is made only if the first is answered."""
    tape = Tape()
    tape.there(*FIRST_LEG, token=1)
    tape.back(*FIRST_LEG_BACK, token=1)
    tape.there(*FIRST_LEG, token=SAID, flags="PA")
    if answered:
        tape.there(*SECOND_LEG, token=2)
        tape.back(*SECOND_LEG_BACK, token=2)
        tape.there(*SECOND_LEG, token=SAID, flags="PA")
        tape.back(*SECOND_LEG_BACK, token=SAID, flags="PA")
        tape.back(*FIRST_LEG_BACK, token=SAID, flags="FPA")
    return tape


def relayed(**fields: Any) -> Attempt:
    return replace(by_socket(**fields), token=SAID, relayed=True)


def test_a_request_is_followed_across_a_proxy() -> None:
    tape = relayed_tcp()
    correlation = correlate([relayed()], tape.frames)
    journey = correlation.journeys[0]
    assert [(f"{hop.netns}/{hop.interface} {hop.direction}", hop.src, hop.dst) for hop in journey.there] == [
        *FIRST_LEG,
        *SECOND_LEG,
    ]
    assert [(f"{hop.netns}/{hop.interface} {hop.direction}", hop.src, hop.dst) for hop in journey.back] == [
        *SECOND_LEG_BACK,
        *FIRST_LEG_BACK,
    ]
    assert changes(journey) == [
        f"DNAT at worker-1: {VIP} → {ACCEPTED}",
        f"relayed at worker-1: {POD} → {ACCEPTED} becomes {DIALLED_FROM} → {WEB}",
        f"un-DNAT at worker-1: {ACCEPTED} → {VIP}",
    ]
    assert (journey.outcome, journey.backend, journey.source_seen) == (
        "delivered",
        Endpoint.of("10.244.2.4", 8080),
        "172.18.0.3",
    )
    assert journey.reply_from == VIP
    assert correlation.frames[0] == tuple(range(len(tape.frames))), "both connections, with both handshakes"


def test_the_connection_that_a_proxy_dialled_is_nobody_elses() -> None:
    """Keeps the proxy's second connection from a node's own attempt whose frames are missing, although it
    began at that node too.
    """
    other = by_socket(Endpoint.parse("172.18.0.3:5555"), Endpoint.parse("10.96.0.99:80"), netns="worker-1")
    correlation = correlate([relayed(), other], relayed_tcp().frames)
    assert sorted(correlation.journeys) == [0]
    assert 1 not in correlation.frames


@pytest.mark.parametrize("flags", ["FA", "RA", "R"])
@pytest.mark.parametrize("error", ["EOF", "ECONNRESET", "EPIPE"])
def test_closed_on_without_an_answer_is_rejected(flags: str, error: str) -> None:
    tape = relayed_tcp(answered=False)
    tape.there(*FIRST_LEG_BACK, token=0, flags=flags)
    journey = only(tape, relayed(error=error))
    what = "FIN" if "F" in flags else "RST"
    assert (journey.outcome, say_ending(journey.ending)) == (
        "rejected",
        f"accepted, then closed without an answer: {what} from {VIP}",
    )
    assert [hop.netns for hop in journey.back] == ["worker-1", "worker-1", "pod"]


def test_a_proxy_that_says_nothing_is_silent() -> None:
    journey = only(relayed_tcp(answered=False), relayed(error="timeout"))
    assert (journey.outcome, say_ending(journey.ending)) == (
        "dropped",
        "silence: last seen at worker-1/cbr0 in",
    )


def relayed_udp(back: tuple[tuple[str, str, str], ...]) -> Tape:
    token = make_token("UDP", 5)
    tape = Tape()
    tape.there(*FIRST_LEG, *SECOND_LEG, token=token, protocol="UDP", flags="")
    tape.back(*SECOND_LEG_BACK, *back, token=token, protocol="UDP", flags="")
    return tape


def test_a_datagram_is_followed_across_a_proxy() -> None:
    what = replace(by_socket(protocol="UDP"), token=make_token("UDP", 5), relayed=True)
    journey = only(relayed_udp(FIRST_LEG_BACK), what)
    assert changes(journey)[1] == f"relayed at worker-1: {POD} → {ACCEPTED} becomes {DIALLED_FROM} → {WEB}"
    assert (journey.outcome, journey.source_seen, journey.reply_from) == ("delivered", "172.18.0.3", VIP)


def test_what_a_proxy_sends_from_another_port_is_not_heard() -> None:
    what = replace(by_socket(protocol="UDP", error="timeout"), token=make_token("UDP", 5), relayed=True)
    journey = only(relayed_udp((("pod/eth0 in", Endpoint.parse("10.96.0.10:9999"), POD),)), what)
    assert (journey.outcome, say_ending(journey.ending)) == (
        "dropped",
        "silence: the reply was last seen at pod/eth0 in",
    )


def test_both_connections_may_pass_the_same_place() -> None:
    """Has a node dial its own Service, whose endpoint is a process of that node: every frame is on ``lo``."""
    node, proxy, dials, server = (
        Endpoint.parse("172.18.0.3:5000"),
        Endpoint.parse("172.18.0.3:10042"),
        Endpoint.parse("172.18.0.3:33000"),
        Endpoint.parse("172.18.0.3:6443"),
    )
    token = make_token("UDP", 5)
    tape = Tape()
    for src, dst in ((node, proxy), (dials, server)):
        tape.there(
            ("worker-1/lo out", src, dst), ("worker-1/lo in", src, dst), token=token, protocol="UDP", flags=""
        )
    for src, dst in ((server, dials), (proxy, node)):
        tape.back(
            ("worker-1/lo out", src, dst), ("worker-1/lo in", src, dst), token=token, protocol="UDP", flags=""
        )
    journey = only(
        tape, replace(by_socket(node, VIP, netns="worker-1", protocol="UDP"), token=token, relayed=True)
    )
    assert changes(journey) == [
        f"DNAT at worker-1: {VIP} → {proxy}",
        f"relayed at worker-1: {node} → {proxy} becomes {dials} → {server}",
    ]
    assert (journey.outcome, journey.backend, journey.reply_from) == ("delivered", server, VIP)


def test_the_same_addresses_at_another_port_are_a_change() -> None:
    tape = Tape()
    tape.there(
        ("pod/eth0 out", POD, VIP),
        ("n/veth in", POD, VIP),
        ("n/eth0 out", Endpoint.parse("10.244.1.2:5000"), VIP),
    )
    assert changes(only(tape, attempt())) == [f"SNAT at n: {POD} → 10.244.1.2:5000"]


def test_a_change_that_a_missing_tap_hides_is_between_two() -> None:
    tape = Tape()
    tape.there(("pod/eth0 out", POD, VIP), ("web-0/eth0 in", POD, WEB))
    assert changes(only(tape, attempt())) == [f"DNAT at pod…web-0: {VIP} → {WEB}"]


def test_loopback() -> None:
    client, server = Endpoint.parse("127.0.0.1:4000"), Endpoint.parse("127.0.0.1:8080")
    tape = Tape()
    tape.there(("pod/lo out", client, server), ("pod/lo in", client, server))
    tape.back(("pod/lo out", server, client), ("pod/lo in", server, client))
    journey = only(tape, attempt(client, server))
    assert (journey.outcome, journey.backend, journey.source_seen, journey.changes) == (
        "delivered",
        Endpoint.of("127.0.0.1", 8080),
        "127.0.0.1",
        (),
    )


def test_icmp_has_no_ports() -> None:
    token = make_token("ICMP", 5)
    tape = Tape()
    tape.there(
        ("pod/eth0 out", "10.244.1.2", "10.244.2.4"),
        ("web-0/eth0 in", "10.244.1.2", "10.244.2.4"),
        token=token,
        protocol="ICMP",
        flags="",
    )
    tape.back(
        ("web-0/eth0 out", "10.244.2.4", "10.244.1.2"),
        ("pod/eth0 in", "10.244.2.4", "10.244.1.2"),
        token=token,
        protocol="ICMP",
        flags="",
    )
    journey = only(tape, attempt("10.244.1.2", "10.244.2.4", token=token, protocol="ICMP"))
    assert (journey.outcome, journey.backend, journey.reply_from) == (
        "delivered",
        Endpoint.of("10.244.2.4", 0),
        Endpoint.of("10.244.2.4", 0),
    )


def test_a_retransmission_is_no_second_hop() -> None:
    tape = Tape()
    tape.there(*THERE[:3])
    tape.there(*THERE)
    tape.back(*BACK)
    tape.back(*BACK[:4])
    journey = only(tape, attempt())
    assert [hop.frame for hop in journey.there] == [0, 1, 2, 6, 7, 8, 9, 10]
    assert journey.outcome == "delivered"


def test_a_packet_that_grows_older_runs_in_a_circle() -> None:
    tape = Tape()
    for ttl in (63, 62, 61):
        tape.see("router/eth0 in", POD, VIP, ttl=ttl)
    assert [hop.ttl for hop in only(tape, attempt()).there] == [63, 62, 61]


def test_hops_on_one_stamp_keep_the_tap_s_order() -> None:
    tape = pod_to_service()
    tape.frames = [frame._replace(time=frame.number // 2) for frame in tape.frames]
    assert [hop.frame for hop in only(tape, attempt()).there] == list(range(8))


# --- what the taps cannot see ------------------------------------------------------------------------------


def test_a_node_s_own_packet_is_first_seen_translated() -> None:
    tape = Tape()
    tape.there(("worker-1/eth0 out", N1_MASQUERADED, WEB), ("web-0/eth0 in", N1_MASQUERADED, WEB))
    tape.back(("web-0/eth0 out", WEB, N1_MASQUERADED), ("worker-1/eth0 in", WEB, N1_MASQUERADED))
    journey = only(tape, attempt(N1, netns="worker-1"))
    assert changes(journey) == [
        f"DNAT at worker-1: {VIP} → {WEB}",
        f"SNAT at worker-1: {N1} → {N1_MASQUERADED}",
    ]
    assert (journey.outcome, journey.reply_from, journey.source_seen) == ("delivered", VIP, "172.18.0.3")


def test_a_bridge_shows_the_reply_to_its_node_half_turned_back() -> None:
    """Reverses as br_netfilter does: the bridge's port undoes the masquerading before the bridge's own tap;
    DNAT is undone behind it.
    """
    tape = Tape()
    tape.there(("worker-1/cbr0 out", CBR0_MASQUERADED, WEB), ("web-0/eth0 in", CBR0_MASQUERADED, WEB))
    tape.back(
        ("web-0/eth0 out", WEB, CBR0_MASQUERADED),
        ("worker-1/veth9 in", WEB, CBR0_MASQUERADED),
        ("worker-1/cbr0 in", WEB, N1),
    )
    journey = only(tape, attempt(N1, netns="worker-1"))
    assert (journey.outcome, journey.reply_from, journey.source_seen) == ("delivered", VIP, "10.244.1.1")
    assert changes(journey)[2:] == [f"un-SNAT at worker-1: {CBR0_MASQUERADED} → {N1}"]


def test_an_endpoint_behind_the_last_tap_is_known_by_its_own_account() -> None:
    tape = Tape()
    tape.there(("client/eth0 out", POD, N2), ("worker-2/eth0 in", POD, N2))
    tape.back(("worker-2/eth0 out", N2, POD), ("client/eth0 in", N2, POD))
    told = by_socket(dst=N2, netns="client", answer=answer(POD, Endpoint.parse("172.18.0.4:6443")))
    assert only(tape, told).backend == Endpoint.of("172.18.0.4", 6443)
    assert only(tape, attempt(dst=N2, netns="client")).backend == Endpoint.of(*parse(N2))


def balanced(*, relayed: bool = False) -> Tape:
    """Passes a balancer in the path, which dials a node port."""
    tape, token = Tape(), SAID if relayed else TOKEN
    in_, out = (OUTSIDE, VIP), (BALANCER, N2)
    tape.there(
        ("client/eth0 out", *in_),
        ("balancer/eth0 in", *in_),
        ("balancer/eth0 out", *out),
        ("worker-2/eth0 in", *out),
        token=token,
    )
    if relayed:
        tape.there(
            ("worker-2/cbr0 out", DIALLED_FROM, WEB), ("web-0/eth0 in", DIALLED_FROM, WEB), token=token
        )
        tape.back(("web-0/eth0 out", WEB, DIALLED_FROM), ("worker-2/cbr0 in", WEB, DIALLED_FROM), token=token)
    tape.back(("worker-2/eth0 out", N2, BALANCER), ("balancer/eth0 in", N2, BALANCER), token=token)
    tape.back(("balancer/eth0 out", VIP, OUTSIDE), ("client/eth0 in", VIP, OUTSIDE), token=token)
    return tape


def test_behind_a_balancer_in_the_path_the_last_tap_shows_the_node_port() -> None:
    told = attempt(OUTSIDE, netns="client", answer=answer(BALANCER, Endpoint.parse("172.18.0.4:6443")))
    journey = only(balanced(), told)
    assert journey.backend == Endpoint.of("172.18.0.4", 6443)
    assert (journey.source_seen, journey.reply_from) == (BALANCER.address, VIP)


def test_a_balancer_in_the_path_relays_nothing_it_translates() -> None:
    what = replace(by_socket(OUTSIDE, netns="client"), token=SAID, relayed=True)
    assert changes(only(balanced(relayed=True), what)) == [
        f"DNAT at balancer: {VIP} → {N2}",
        f"SNAT at balancer: {OUTSIDE} → {BALANCER}",
        f"relayed at worker-2: {BALANCER} → {N2} becomes {DIALLED_FROM} → {WEB}",
        f"un-DNAT at balancer: {N2} → {VIP}",
        f"un-SNAT at balancer: {BALANCER} → {OUTSIDE}",
    ]


def test_a_server_s_node_turns_the_reply_back_before_its_first_hop() -> None:
    api, kubernetes = Endpoint.parse("172.18.0.2:6443"), Endpoint.parse("10.96.0.1:443")
    tape = Tape()
    tape.there(("pod/eth0 out", POD, kubernetes), ("cp/veth1 in", POD, kubernetes), ("cp/cbr0 in", POD, api))
    tape.back(
        ("cp/cbr0 out", kubernetes, POD), ("cp/veth1 out", kubernetes, POD), ("pod/eth0 in", kubernetes, POD)
    )
    journey = only(tape, attempt(dst=kubernetes))
    assert changes(journey) == [f"DNAT at cp: {kubernetes} → {api}", f"un-DNAT at cp: {api} → {kubernetes}"]
    assert (journey.backend, journey.reply_from) == (api, kubernetes)


def test_a_reply_that_nobody_turned_back_comes_from_the_endpoint() -> None:
    tape = Tape()
    tape.there(*THERE)
    tape.back(*BACK[:5], ("pod/eth0 in", WEB, POD))
    journey = only(tape, attempt())
    assert (journey.outcome, journey.reply_from) == ("delivered", WEB)


def test_a_reply_that_passes_the_client_s_node_has_not_arrived() -> None:
    """Runs the client on the endpoint's node; the reply has still to go to worker-2, which masqueraded."""
    masqueraded = Endpoint.parse("172.18.0.4:61000")
    tape = Tape()
    tape.there(
        ("worker-1/eth0 out", N1, N2),
        ("worker-2/eth0 in", N1, N2),
        ("worker-2/eth0 out", masqueraded, Endpoint.parse("10.244.1.7:8080")),
        ("worker-1/eth0 in", masqueraded, Endpoint.parse("10.244.1.7:8080")),
        ("web-1/eth0 in", masqueraded, Endpoint.parse("10.244.1.7:8080")),
    )
    tape.back(
        ("web-1/eth0 out", Endpoint.parse("10.244.1.7:8080"), masqueraded),
        ("worker-1/cbr0 in", Endpoint.parse("10.244.1.7:8080"), masqueraded),
    )
    journey = only(tape, attempt(N1, N2, netns="worker-1"))
    assert (journey.outcome, say_ending(journey.ending)) == (
        "dropped",
        "silence: the reply was last seen at worker-1/cbr0 in",
    )
    assert journey.backend == Endpoint.of("10.244.1.7", 8080)


def test_the_client_kernel_s_error_about_a_reply_is_no_hop() -> None:
    """Resets the reply to a crafted packet, for which nobody listens: the client's kernel tells the server
    so.
    """
    token = make_token("UDP", 5)
    tape = Tape()
    tape.there(("pod/eth0 out", POD, WEB), ("web-0/eth0 in", POD, WEB), token=token, protocol="UDP", flags="")
    tape.back(("web-0/eth0 out", WEB, POD), ("pod/eth0 in", WEB, POD), token=token, protocol="UDP", flags="")
    tape.see("pod/eth0 out", Endpoint.parse("10.244.1.2:8080"), WEB, "3/3", token, protocol="ICMP error")
    correlation = correlate([attempt(dst=WEB, token=token, protocol="UDP")], tape.frames)
    assert (len(correlation.journeys[0].there), correlation.journeys[0].outcome) == (2, "delivered")
    assert correlation.frames[0] == (0, 1, 2, 3, 4)


def test_a_reply_that_is_no_undone_dnat_is_not_called_so() -> None:
    """Puts the server's first hop elsewhere than the DNAT, or gives it the server's own address."""
    elsewhere = Tape()
    elsewhere.there(*THERE)
    elsewhere.back(("web-0/eth0 out", VIP, POD))
    assert changes(only(elsewhere, attempt())) == [f"DNAT at worker-1: {VIP} → {WEB}"]
    plain = Tape()
    plain.there(("pod/eth0 out", POD, VIP), ("cp/veth1 in", POD, VIP), ("cp/cbr0 in", POD, WEB))
    plain.back(("cp/cbr0 out", WEB, POD))
    assert changes(only(plain, attempt())) == [f"DNAT at cp: {VIP} → {WEB}"]


def test_what_a_bridge_floods_elsewhere_hides_no_endpoint() -> None:
    tape = Tape()
    tape.there(*THERE, ("worker-2/veth8 out", POD, WEB))
    tape.back(*BACK)
    journey = only(tape, attempt())
    assert (journey.backend, journey.source_seen) == (Endpoint.of("10.244.2.4", 8080), "10.244.1.2")


def test_an_endpoint_that_the_packet_was_not_seen_to_reach_is_not_known() -> None:
    tape = Tape()
    tape.there(*THERE[:7])
    tape.back(*BACK)
    assert (only(tape, attempt()).backend, only(tape, attempt()).source_seen) == (None, None)


def test_frames_outrank_the_server_s_account_of_its_address() -> None:
    journey = only(pod_to_service(), by_socket(answer=answer(POD, Endpoint.parse("10.244.2.9:8080"))))
    assert journey.backend == Endpoint.of("10.244.2.4", 8080)


def test_an_answer_to_a_packet_that_no_tap_saw() -> None:
    tape = Tape()
    tape.back(*BACK)
    journey = only(tape, attempt())
    assert (journey.outcome, journey.there, journey.backend, journey.reply_from) == (
        "delivered",
        (),
        None,
        VIP,
    )


# --- outcomes ---------------------------------------------------------------------------------------------

OUTCOMES = {
    # id: (flags or type/code of what the client hears, protocol, outcome, evidence)
    "syn-ack": ("SA", "TCP", "delivered", ""),
    "syn-ack-with-ecn": ("SAE", "TCP", "delivered", ""),
    "rst": ("RA", "TCP", "rejected", f"RST from {WEB}"),
    "sctp-init-ack": ("INIT-ACK", "SCTP", "delivered", ""),
    "sctp-abort": ("ABORT", "SCTP", "rejected", f"ABORT from {WEB}"),
    "udp-reply": ("", "UDP", "delivered", ""),
    "network": ("3/0", "ICMP error", "unreachable", "ICMP network unreachable from 10.244.2.4"),
    "host": ("3/1", "ICMP error", "unreachable", "ICMP host unreachable from 10.244.2.4"),
    "protocol": ("3/2", "ICMP error", "rejected", "ICMP protocol unreachable from 10.244.2.4"),
    "port": ("3/3", "ICMP error", "rejected", "ICMP port unreachable from 10.244.2.4"),
    "source-route": ("3/5", "ICMP error", "unreachable", "ICMP source route failed from 10.244.2.4"),
    "network-prohibited": ("3/9", "ICMP error", "rejected", "ICMP network prohibited from 10.244.2.4"),
    "host-prohibited": ("3/10", "ICMP error", "rejected", "ICMP host prohibited from 10.244.2.4"),
    "host-and-service": (
        "3/12",
        "ICMP error",
        "unreachable",
        "ICMP host unreachable for this type of service from 10.244.2.4",
    ),
    "prohibited": ("3/13", "ICMP error", "rejected", "ICMP communication prohibited from 10.244.2.4"),
    "time": ("11/0", "ICMP error", "unreachable", "ICMP time exceeded from 10.244.2.4"),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_what_the_client_hears_is_the_outcome(case: str) -> None:
    flags, protocol, outcome, evidence = OUTCOMES[case]
    tape = Tape()
    tape.there(("pod/eth0 out", POD, WEB), ("web-0/eth0 in", POD, WEB))
    tape.back(("web-0/eth0 out", WEB, POD), ("pod/eth0 in", WEB, POD), protocol=protocol, flags=flags)
    journey = only(tape, attempt(dst=WEB))
    assert (journey.outcome, say_ending(journey.ending)) == (outcome, evidence)
    assert journey.reply_from == (WEB if outcome == "delivered" else None)
    assert journey.backend == (None if protocol == "ICMP error" else Endpoint.of("10.244.2.4", 8080))


@pytest.mark.parametrize("code", ["5/1", "3/4", "4/0"])
def test_a_redirect_ends_nothing(code: str) -> None:
    tape = Tape()
    tape.there(THERE[0])
    tape.error(("pod/eth0 in", "10.244.1.1", POD), code=code)
    tape.there(*THERE[1:])
    tape.back(*BACK)
    assert only(tape, attempt()).outcome == "delivered"


def test_the_answer_that_arrives_counts() -> None:
    tape = Tape()
    tape.there(*THERE[:3])
    tape.error(("worker-1/cbr0 out", "10.244.1.1", POD))
    tape.there(*THERE[3:])
    tape.back(*BACK)
    journey = only(tape, attempt())
    assert (journey.outcome, journey.back[0].netns, say_ending(journey.ending)) == ("delivered", "web-0", "")


def test_a_refusal_is_named_by_who_sent_it() -> None:
    tape = Tape()
    tape.there(*THERE)
    tape.back(*BACK, flags="RA")
    journey = only(tape, attempt())
    assert (journey.outcome, say_ending(journey.ending), journey.back[-1].src) == (
        "rejected",
        f"RST from {WEB}",
        VIP,
    )


def test_what_leaves_on_loopback_has_not_arrived() -> None:
    client, server = Endpoint.parse("127.0.0.1:4000"), Endpoint.parse("127.0.0.1:8080")
    tape = Tape()
    tape.there(("pod/lo out", client, server), ("pod/lo in", client, server))
    tape.back(("pod/lo out", server, client))
    assert only(tape, attempt(client, server)).outcome == "dropped"


SILENCES = {
    # id: (hops there, hops back, error, crafted, outcome, evidence); outcome "": nothing certain can be said
    "crafted-lost-on-the-way": (4, 0, "", True, "dropped", "silence: last seen at worker-1/eth0 out"),
    "crafted-never-seen": (0, 0, "", True, "dropped", "silence: no packet left pod"),
    "crafted-not-permitted": (
        0,
        0,
        "EPERM",
        True,
        "dropped",
        "EPERM: the client's own rules let nothing out",
    ),
    "crafted-no-route": (0, 0, "ENETUNREACH", True, "unreachable", "no route: ENETUNREACH at the client"),
    "crafted-not-sent": (0, 0, "ENOBUFS", True, "", ""),
    "crafted-reply-lost": (8, 3, "", True, "dropped", "silence: the reply was last seen at worker-2/cbr0 in"),
    "timeout-on-the-way": (8, 0, "timeout", False, "dropped", "silence: last seen at web-0/eth0 in"),
    "timeout-never-seen": (0, 0, "timeout", False, "dropped", "silence: no packet left pod"),
    "timeout-reply-lost": (
        8,
        7,
        "timeout",
        False,
        "dropped",
        "silence: the reply was last seen at worker-1/veth1 out",
    ),
    "no-route": (0, 0, "ENETUNREACH", False, "unreachable", "no route: ENETUNREACH at the client"),
    "no-neighbour": (0, 0, "EHOSTUNREACH", False, "unreachable", "no route: EHOSTUNREACH at the client"),
    "connected-but-no-tap-saw-the-reply": (8, 3, "", False, "", ""),
    "refused-but-no-tap-saw-it": (8, 0, "ECONNREFUSED", False, "", ""),
}


@pytest.mark.parametrize("case", SILENCES)
def test_silence_at_the_client(case: str) -> None:
    there, back, error, crafted, outcome, evidence = SILENCES[case]
    tape = Tape()
    tape.there(*THERE[:there])
    tape.back(*BACK[:back])
    journeys = correlate([attempt(error=error) if crafted else by_socket(error=error)], tape.frames).journeys
    assert [(j.outcome, say_ending(j.ending)) for j in journeys.values()] == (
        [(outcome, evidence)] if outcome else []
    )


def test_a_refusal_that_is_lost_is_named() -> None:
    tape = Tape()
    tape.there(*THERE[:3])
    tape.error(("worker-1/cbr0 out", "10.244.1.1", POD))
    journey = only(tape, attempt())
    assert (journey.outcome, say_ending(journey.ending)) == (
        "dropped",
        "silence: the ICMP port unreachable from 10.244.1.1 was last seen at worker-1/cbr0 out",
    )
