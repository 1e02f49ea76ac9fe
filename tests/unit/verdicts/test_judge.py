"""Tests judge: one flow's journeys beside its expectation. Each case changes one thing of a flow that
passes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from emulator.model.expectations import (
    OUTCOMES,
    SOURCE_RULES,
    Expectation,
    Possibilities,
    Possibility,
)
from emulator.model.flows import (
    Attempt,
    Client,
    Destination,
    Flow,
)
from emulator.model.frames import Answer, Health
from emulator.model.journeys import Change, Connection, Ending, Hop, Journey
from emulator.model.reasons import Reason, Why
from emulator.model.results import FlowResult, Observation, Verdict
from emulator.net import Address, Endpoint
from emulator.report.prose_of_verdicts import say_verdict
from emulator.verdicts.judge import judge, summarise
from tests.unit.expectations import answering, expectation_of, relayed

POD, VIP, WEB, WEB_1 = map(
    Endpoint.parse, ("10.244.1.2:4000", "10.96.0.10:80", "10.244.2.4:8080", "10.244.2.5:8080")
)
NODE = "172.18.0.3"

FLOW = Flow(
    name="pod default/client → svc default/web:80",
    kind="pod-to-service",
    client=Client(
        kind="pod", label="pod default/client", netns="client", ip=Address("10.244.1.2"), node="worker-1"
    ),
    to=Destination(
        label="svc default/web:80", ip=Address("10.96.0.10"), port=80, service="default/web", how="clusterIP"
    ),
    protocol="TCP",
    attempts=2,
    controls=("the control",),
)
ADDRESSES: Any = {"preserved": frozenset({"10.244.1.2"}), "node": frozenset({NODE, "10.244.1.1"})}
BACKENDS: Any = {Endpoint.of("10.244.2.4", 8080): "preserved", Endpoint.of("10.244.2.5", 8080): "preserved"}


def promise(**changes: Any) -> Expectation:
    """Returns the expectation that both endpoints answer, but for ``changes``."""
    return expectation_of(**{"backends": BACKENDS, "addresses": ADDRESSES, "source": "preserved", **changes})


PROMISE = promise()


def wavering(expected: Expectation) -> Expectation:
    """Returns ``expected`` where several nodes answer ARP for the address dialled."""
    return replace(
        expected, possibilities=Possibilities(replace(p, wavers=True) for p in expected.possibilities)
    )


def nothing_but(outcome: Any, **changes: Any) -> Expectation:
    return expectation_of(outcome, **changes)


def delivered(to: Endpoint = WEB, **fields: Any) -> Journey:
    there = (Hop(1, "client", "eth0", "out", POD, VIP, 64, 0), Hop(2, "web-0", "eth0", "in", POD, to, 62, 1))
    back = (Hop(3, "web-0", "eth0", "out", to, POD, 64, 2), Hop(4, "client", "eth0", "in", VIP, POD, 62, 3))
    journey = Journey(
        token=1,
        crafted=False,
        sent=Connection(POD, VIP),
        there=there,
        back=back,
        changes=(Change("DNAT", "worker-1", VIP, to, 1),),
        outcome="delivered",
        backend=to,
        source_seen="10.244.1.2",
        reply_from=VIP,
    )
    return replace(journey, **fields)


def ended(
    outcome: Any, ending: Ending, back: tuple[Hop, ...] = (), changes: tuple[Change, ...] = ()
) -> Journey:
    """Returns one whose translation, but for ``changes``, no tap has seen."""
    return delivered(
        outcome=outcome,
        ending=ending,
        back=back,
        changes=changes,
        backend=None,
        source_seen=None,
        reply_from=None,
    )


IN_W1 = Hop(2, "worker-1", "eth0", "in", POD, VIP, 63, 1)
DROPPED = ended("dropped", Ending(kind="silence", last=IN_W1))
REFUSED = ended(
    "rejected",
    Ending(kind="icmp", code="3/3", by=Endpoint.parse("172.18.0.3")),
    (Hop(3, "worker-1", "cbr0", "out", Endpoint.of(NODE, 0), POD, 64, 2),),
)
NO_ROUTE = ended("unreachable", Ending(kind="no route", code="ENETUNREACH"))
NO_NEIGHBOUR = ended(
    "unreachable", Ending(kind="icmp", code="3/1", by=Endpoint.parse("172.18.0.3")), REFUSED.back
)


def attempt(**fields: Any) -> Attempt:
    plain = Attempt(
        flow=FLOW.name,
        protocol="TCP",
        netns="client",
        src=POD,
        dst=VIP,
        token=0,
        crafted=False,
        started=0,
        finished=9,
    )
    return replace(plain, **fields)


def told(client: Endpoint = POD, local: Endpoint | None = WEB, pod: str = "default/web-0") -> Attempt:
    return attempt(
        answer=Answer(pod=pod, container="web", node="worker-2", client=client, dialled=VIP, local=local)
    )


def verdict_of(
    *pairs: tuple[Journey | None, Attempt],
    expected: Expectation = PROMISE,
    flow: Flow = FLOW,
    lost: int = 0,
    controls: Any = None,
) -> FlowResult:
    journeys, attempts = [journey for journey, _ in pairs], [one for _, one in pairs]
    return judge(flow, expected, journeys, attempts, lost, controls or {})


def plain(*journeys: Journey | None) -> list[tuple[Journey | None, Attempt]]:
    return [(journey, attempt()) for journey in journeys]


BOTH = plain(delivered(), delivered(WEB_1))
HIDDEN = delivered(VIP, changes=())
NODE_PORT = Endpoint.parse("172.18.0.4:30080")
BALANCED = delivered(
    NODE_PORT,
    there=(
        Hop(1, "client", "eth0", "out", POD, VIP, 64, 0),
        Hop(2, "balancer", "eth0", "in", POD, VIP, 63, 1),
        Hop(3, "balancer", "eth0", "out", Endpoint.parse("172.18.255.254:4000"), NODE_PORT, 62, 2),
        Hop(4, "worker-2", "eth0", "in", Endpoint.parse("172.18.255.254:4000"), NODE_PORT, 62, 3),
    ),
)
ONE_BACKEND: Any = {Endpoint.of("10.244.2.4", 8080): "preserved"}
ONE = promise(backends=ONE_BACKEND)
RELAYED = [
    (
        delivered(),
        attempt(
            answer=Answer(
                pod="default/web-0", container="web", node="worker-2", client=POD, dialled=WEB, local=WEB
            ),
            relayed=True,
        ),
    )
]

STALE = Endpoint.of("10.244.2.6", 8080)
MIXED = promise(backends=ONE_BACKEND, others={WEB_1: "dropped"})
HEALTHY = promise(backends={}, health=Health(200, 1))
# a node that masquerades, or one past which the reply goes
ONE_OF_TWO_WAYS = replace(
    ONE,
    possibilities=Possibilities(
        [
            Possibility(outcome="delivered", backend=Endpoint.of("10.244.2.4", 8080), source="node"),
            Possibility(
                outcome="delivered",
                backend=Endpoint.of("10.244.2.4", 8080),
                source="preserved",
                reply="endpoint",
            ),
        ]
    ),
)


def answered(health: Health | None, **fields: Any) -> tuple[Journey | None, Attempt]:
    return delivered(), attempt(health=health, **fields)


CASES: dict[str, tuple[list[tuple[Journey | None, Attempt]], dict[str, Any], Verdict, str]] = {
    # id: (journeys with their attempts, what else is special, verdict, words of the reason; with "$" at its
    # end)
    "all-as-promised": (BOTH, {}, "pass", ""),
    "each-aspect-possible-but-not-together": (
        plain(delivered(source_seen=NODE, reply_from=WEB)),
        {"expected": ONE_OF_TWO_WAYS},
        "fail",
        "saw 172.18.0.3 and the client heard from 10.244.2.4:8080, which no possibility has together",
    ),
    "one-of-two-ways": (
        plain(delivered(source_seen=NODE), delivered(reply_from=WEB)),
        {"expected": ONE_OF_TWO_WAYS},
        "pass",
        "",
    ),
    "its-control-passed": (BOTH, {"controls": {"the control": "pass", "another": "fail"}}, "pass", ""),
    "rejected-as-promised": (plain(REFUSED), {"expected": nothing_but("rejected")}, "pass", ""),
    "dropped-as-promised": (plain(DROPPED), {"expected": nothing_but("dropped")}, "pass", ""),
    "unreachable-as-promised": (plain(NO_ROUTE), {"expected": nothing_but("unreachable")}, "pass", ""),
    "nobody-answers-arp-and-the-kernel-says-so-in-the-end": (
        plain(NO_NEIGHBOUR, ended("unreachable", Ending(kind="no route", code="EHOSTUNREACH")), DROPPED),
        {"expected": nothing_but("dropped", late=True)},
        "pass",
        "",
    ),
    "any-endpoint-will-do": (
        plain(delivered("10.9.9.9:1")),
        {"expected": nothing_but("delivered")},
        "pass",
        "",
    ),
    "relayed": (RELAYED, {"expected": relayed(ONE)}, "pass", ""),
    "translated-where-it-was-to-be-relayed": (
        [(delivered(), told())],
        {"expected": relayed(ONE)},
        "fail",
        f"{VIP} was translated to {WEB} for default/web-0, and not relayed: at web-0/eth0 in",
    ),
    # health checks
    "healthy": ([answered(Health(200, 1))], {"expected": HEALTHY}, "pass", ""),
    "healthy-with-a-knock": (
        [answered(Health(200, 1)), answered(None, crafted=True)],
        {"expected": HEALTHY},
        "pass",
        "",
    ),
    "any-count-will-do": (
        [answered(Health(200, 7))],
        {"expected": answering(HEALTHY, Health(200))},
        "pass",
        "",
    ),
    "ill": (
        [answered(Health(503, 0))],
        {"expected": HEALTHY},
        "fail",
        (
            f"{WEB} answered 503, 0 local endpoints, not 200, 1 local endpoint: at client/eth0 in {VIP} "
            f"→ {POD} ttl 62"
        ),
    ),
    "another-count": (
        [answered(Health(200, 1)), answered(Health(200, 2))],
        {"expected": HEALTHY},
        "fail",
        "answered 200, 2 local endpoints",
    ),
    "no-http": (
        [answered(None)],
        {"expected": HEALTHY},
        "fail",
        f"{WEB} gave no HTTP answer, not 200, 1 local endpoint",
    ),
    "closed-without-an-answer": (
        [answered(None, error="EOF")],
        {"expected": HEALTHY},
        "fail",
        "the client's socket met EOF",
    ),
    "a-check-that-is-refused": (
        [(REFUSED, attempt(error="ECONNREFUSED"))],
        {"expected": HEALTHY},
        "fail",
        "it was rejected, not delivered",
    ),
    # unknown
    "nothing-observed": (
        [(None, attempt(error="timeout"))],
        {},
        "unknown",
        "no attempt was observed: the client met timeout",
    ),
    "nothing-sent": ([], {}, "unknown", "no attempt was observed$"),
    "its-control-failed": (
        plain(DROPPED),
        {"controls": {"the control": "fail"}},
        "unknown",
        "its control “the control” failed, so this says nothing of the Service",
    ),
    # outcome
    "dropped": (
        plain(DROPPED),
        {},
        "fail",
        "it was dropped, not delivered: silence: last seen at worker-1/eth0 in",
    ),
    "some-dropped": (
        [*BOTH, *plain(DROPPED)],
        {},
        "fail",
        "1 of 3 attempts was dropped, not delivered: silence: last seen at worker-1/eth0 in",
    ),
    "half-dropped": (
        [*BOTH, *plain(DROPPED, DROPPED)],
        {},
        "fail",
        "2 of 4 attempts were dropped, not delivered",
    ),
    "reply-lost": (
        plain(ended("dropped", Ending(kind="reply lost", last=IN_W1), REFUSED.back)),
        {},
        "fail",
        "it was dropped, not delivered: silence: the reply was last seen at worker-1/eth0 in$",
    ),
    "delivered-by-somebody": (
        plain(delivered(backend=None, source_seen=None, there=())),
        {"expected": nothing_but("dropped")},
        "fail",
        f"it was delivered, not dropped: an endpoint answered, at client/eth0 in {VIP} → {POD} ttl 62$",
    ),
    "rejected": (
        plain(REFUSED, REFUSED),
        {},
        "fail",
        (
            "it was rejected, not delivered: ICMP port unreachable from 172.18.0.3, first seen at "
            "worker-1/cbr0 out"
        ),
    ),
    "dropped-by-no-rule": (
        plain(NO_NEIGHBOUR),
        {"expected": nothing_but("dropped")},
        "fail",
        "it was unreachable, not dropped",
    ),
    "each-endpoint-has-its-end": (
        plain(DROPPED, NO_ROUTE),
        {"expected": nothing_but("dropped", others={None: "unreachable"})},
        "pass",
        "",
    ),
    "an-end-that-no-endpoint-has": (
        plain(DROPPED, REFUSED),
        {"expected": nothing_but("dropped", others={None: "unreachable"})},
        "fail",
        "1 of 2 attempts was rejected, not dropped",
    ),
    "each-of-two-endpoints-ends-in-its-way": (plain(delivered(), DROPPED), {"expected": MIXED}, "pass", ""),
    "the-endpoint-that-answers-is-never-met": (
        plain(DROPPED, DROPPED),
        {"expected": MIXED},
        "fail",
        f"{WEB} never answered in 2 attempts",
    ),
    "dropped-on-the-way-to-the-endpoint-that-answers": (
        plain(
            delivered(),
            ended(
                "dropped",
                Ending(kind="silence", last=IN_W1),
                changes=(Change("DNAT", "worker-1", VIP, WEB, 1),),
            ),
        ),
        {"expected": MIXED},
        "fail",
        "1 of 2 attempts was dropped, not delivered: silence: last seen at worker-1/eth0 in",
    ),
    "the-endpoint-that-nobody-serves-answers": (
        plain(delivered(), delivered(WEB_1)),
        {"expected": MIXED},
        "fail",
        f"1 of 2 attempts was delivered, not dropped: {WEB_1} answered",
    ),
    "none-of-several-is-met": (
        plain(DROPPED),
        {"expected": replace(promise(others={STALE: "dropped"}), must_meet=(frozenset(BACKENDS),))},
        "fail",
        f"{WEB} and {WEB_1} never answered in 1 attempt",
    ),
    "one-of-several-is-met": (
        plain(DROPPED, delivered()),
        {"expected": replace(promise(others={STALE: "dropped"}), must_meet=(frozenset(BACKENDS),))},
        "pass",
        "",
    ),
    "affinity-leads-to-the-endpoint-that-nobody-serves": (
        plain(DROPPED, DROPPED),
        {"expected": replace(MIXED, must_meet=())},
        "pass",
        "",
    ),
    "nothing-is-promised": (
        plain(delivered()),
        {"expected": replace(PROMISE, unpromised=Reason(why=Why.CONTESTED, then=(PROMISE.because,)))},
        "unknown",
        "several Services claim this address",
    ),
    "no-route-where-arp-is-in-vain": (
        plain(NO_ROUTE),
        {"expected": nothing_but("dropped", late=True)},
        "fail",
        "it was unreachable, not dropped: no route: ENETUNREACH at the client",
    ),
    "no-route": (
        plain(NO_ROUTE),
        {},
        "fail",
        "it was unreachable, not delivered: no route: ENETUNREACH at the client",
    ),
    "delivered-against-the-promise": (
        plain(delivered()),
        {"expected": nothing_but("dropped")},
        "fail",
        f"it was delivered, not dropped: {WEB} answered, at web-0/eth0 in {POD} → {WEB} ttl 62",
    ),
    # backend
    "a-foreign-endpoint": (
        [*BOTH, *plain(delivered("10.9.9.9:1"))],
        {},
        "fail",
        f"none of its endpoints: DNAT at worker-1: {VIP} → 10.9.9.9:1",
    ),
    "one-never-met": (plain(delivered(), delivered()), {}, "fail", f"{WEB_1} never answered in 2 attempts"),
    "one-need-not-be-met": (plain(delivered()), {"expected": promise(partial=True)}, "pass", ""),
    "one-perhaps-met": (
        [*plain(delivered()), (None, attempt())],
        {},
        "unknown",
        f"{WEB_1} never answered in 1 attempt that could be followed",
    ),
    "behind-the-last-tap": (
        plain(HIDDEN),
        {"expected": ONE},
        "unknown",
        "one attempt ended behind the last tap, at web-0/eth0 in",
    ),
    "behind-the-last-tap-but-told": (
        [(delivered(there=HIDDEN.there), told()), (HIDDEN, attempt(crafted=True))],
        {"expected": ONE},
        "pass",
        "",
    ),
    "a-crafted-packet-behind-the-last-tap-is-not-needed": (
        [(delivered(), told()), (delivered(), told()), (HIDDEN, attempt(crafted=True))],
        {},
        "fail",
        f"{WEB_1} never answered in 3 attempts$",
    ),
    "several-behind-the-last-tap": (
        [*plain(delivered(), HIDDEN, HIDDEN), (HIDDEN, attempt(crafted=True))],
        {},
        "unknown",
        f"{WEB_1} never answered in 4 attempts as far as frames show: 2 attempts ended behind the last tap",
    ),
    "each-server-behind-the-last-tap-told": (
        [
            (delivered(there=HIDDEN.there), told()),
            (delivered(WEB_1, there=HIDDEN.there), told(local=WEB_1, pod="default/web-1")),
        ],
        {},
        "pass",
        "",
    ),
    "the-dialled-address-itself-answers": (
        [(HIDDEN, told(local=VIP))],
        {"expected": ONE},
        "fail",
        f"{VIP} answered, which is none of its endpoints",
    ),
    "the-dialled-address-of-no-service": (
        plain(HIDDEN),
        {"expected": ONE, "flow": replace(FLOW, to=replace(FLOW.to, service=""))},
        "fail",
        f"{VIP} answered, which is none of its endpoints: at web-0/eth0 in",
    ),
    "an-endpoint-at-the-dialled-address": (
        plain(HIDDEN),
        {"expected": promise(backends={VIP: "preserved"})},
        "pass",
        "",
    ),
    "behind-the-last-tap-and-not-told": (
        [(HIDDEN, told(local=None))],
        {"expected": ONE},
        "unknown",
        "one attempt ended behind the last tap",
    ),
    "behind-a-balancer-too": (
        plain(BALANCED),
        {"expected": ONE},
        "unknown",
        "one attempt ended behind the last tap, at worker-2/eth0 in",
    ),
    "another-node-port-than-a-balancer-dialled": (
        plain(replace(BALANCED, there=BALANCED.there[:2], backend=Endpoint.parse("172.18.0.4:30081"))),
        {"expected": ONE},
        "fail",
        "172.18.0.4:30081 answered, which is none of its endpoints",
    ),
    "backends-of-no-matter": (
        plain(DROPPED),
        {"expected": nothing_but("dropped", addresses=ADDRESSES)},
        "pass",
        "",
    ),
    "nobody-knows-where": ([(delivered(backend=None, source_seen=None), told()), *BOTH], {}, "pass", ""),
    # source
    "masqueraded": (
        [
            *plain(
                delivered(
                    source_seen=NODE, changes=(Change("SNAT", "worker-1", POD, Endpoint.of(NODE, 61000), 1),)
                )
            ),
            *BOTH,
        ],
        {},
        "fail",
        (
            f"{WEB} saw {NODE}, not preserved (10.244.1.2): SNAT at worker-1: {POD} → {NODE}:61000, at "
            "web-0/eth0 in"
        ),
    ),
    "relayed-against-the-promise": (
        [
            *plain(
                delivered(
                    source_seen=NODE,
                    changes=(
                        Change(
                            "relayed",
                            "worker-1",
                            Connection(POD, VIP),
                            Connection(Endpoint.of(NODE, 33000), WEB),
                            1,
                        ),
                    ),
                )
            ),
            *BOTH,
        ],
        {},
        "fail",
        f"relayed at worker-1: {POD} → {VIP} becomes {NODE}:33000 → {WEB}, at web-0/eth0 in",
    ),
    "not-masqueraded": (
        BOTH,
        {"expected": promise(backends=dict.fromkeys(BACKENDS, "node"))},
        "fail",
        f"{WEB} saw 10.244.1.2, not node (10.244.1.1, {NODE}): at web-0/eth0 in",
    ),
    "masqueraded-for-one-endpoint-only": (
        plain(delivered(source_seen=NODE), delivered(WEB_1, source_seen=NODE)),
        {"expected": promise(backends={**BACKENDS, Endpoint.of("10.244.2.4", 8080): "node"})},
        "fail",
        f"{WEB_1} saw {NODE}, not preserved",
    ),
    "source-of-any-endpoint": (
        plain(delivered(source_seen="10.9.9.9")),
        {"expected": promise(backends={})},
        "fail",
        f"{WEB} saw 10.9.9.9, not node or preserved",
    ),
    "source-at-an-unknown-endpoint": (
        [*plain(delivered(backend=None, source_seen=NODE, there=())), *BOTH],
        {},
        "fail",
        f"the endpoint saw {NODE}, not preserved (10.244.1.2): at no hop that was seen",
    ),
    # the way back
    "heard-from-another-address": (
        plain(delivered(reply_from=WEB), delivered(WEB_1)),
        {},
        "fail",
        f"the client dialled {VIP} and heard from {WEB}: at client/eth0 in",
    ),
    "heard-from-the-endpoint-or-from-the-address": (
        [(delivered(reply_from=WEB), attempt(error="timeout")), (delivered(WEB_1), attempt())],
        {"expected": promise(asymmetric=BACKENDS, symmetric=BACKENDS)},
        "pass",
        "",
    ),
    "heard-from-neither": (
        plain(delivered(reply_from=WEB_1), delivered(WEB_1)),
        {"expected": promise(asymmetric=BACKENDS, symmetric=BACKENDS)},
        "fail",
        f"the client dialled {VIP} and heard from {WEB_1}",
    ),
    "heard-and-not-taken": (
        [(delivered(), attempt(error="timeout")), *BOTH],
        {"expected": promise(asymmetric=BACKENDS, symmetric=BACKENDS)},
        "fail",
        "the answer came in, and yet the client's socket met timeout",
    ),
    "server-saw-another-client": (
        [(delivered(), told(Endpoint.of(NODE, 4000))), *BOTH],
        {},
        "fail",
        f"default/web-0 says that it saw {NODE}, the frames say 10.244.1.2",
    ),
    "server-has-another-address": (
        [(delivered(), told(local=WEB_1)), *BOTH],
        {},
        "fail",
        f"was reached at {WEB_1}, the frames say {WEB}",
    ),
    "server-has-two-names": (
        [(delivered(), told()), (delivered(), told(pod="default/web-1")), *BOTH],
        {},
        "fail",
        f"{WEB} says that it is default/web-0, and then that it is default/web-1",
    ),
    "server-agrees": (
        [(delivered(), told()), (delivered(WEB_1), told(local=WEB_1, pod="default/web-1"))],
        {},
        "pass",
        "",
    ),
    "server-does-not-tell-its-address": ([(delivered(), told(local=None)), *BOTH], {}, "pass", ""),
    "socket-did-not-get-it": (
        [(delivered(), attempt(error="EOF")), *BOTH],
        {},
        "fail",
        "the answer came in, and yet the client's socket met EOF",
    ),
    "socket-was-reset": (
        [(delivered(), attempt(error="ECONNRESET")), *BOTH],
        {},
        "fail",
        "the answer came in, and yet the client's socket met ECONNRESET",
    ),
    "reset-by-a-node-that-is-heard-later": (
        [(delivered(), attempt(error="ECONNRESET")), *BOTH],
        {"expected": wavering(PROMISE)},
        "pass",
        "",
    ),
    # attempts without a journey
    "untraced-but-alike": ([*BOTH, (None, attempt())], {}, "pass", ""),
    "untraced-and-different": (
        [*BOTH, (None, attempt(error="ECONNREFUSED"))],
        {},
        "unknown",
        (
            f"a client met ECONNREFUSED, and the frames of that attempt ({POD} → {VIP}) cannot be told "
            "from others"
        ),
    ),
    "untraced-and-answered": (
        [*plain(DROPPED), (None, attempt())],
        {"expected": nothing_but("dropped")},
        "unknown",
        "a client was answered",
    ),
    "untraced-crafted": (
        [*plain(DROPPED), (None, attempt(crafted=True))],
        {"expected": nothing_but("dropped")},
        "pass",
        "",
    ),
    "untraced-and-not-sent": (
        [*BOTH, (None, attempt(crafted=True, error="ENOBUFS"))],
        {},
        "unknown",
        "a client met ENOBUFS",
    ),
    # lost frames
    "lost-but-all-is-there": (BOTH, {"lost": 3}, "pass", ""),
    "lost-and-something-differs": (
        plain(DROPPED),
        {"lost": 3},
        "unknown",
        "the capture lost 3 frames, and for want of them perhaps it was dropped, not delivered",
    ),
    "lost-and-never-met": (
        plain(delivered()),
        {"lost": 1},
        "unknown",
        f"the capture lost 1 frame, and for want of them perhaps {WEB_1} never answered",
    ),
    "lost-and-silent": (
        plain(DROPPED),
        {"lost": 3, "expected": nothing_but("dropped")},
        "unknown",
        "so silence proves nothing",
    ),
    "lost-and-one-of-two-silent": (
        plain(delivered(), DROPPED),
        {"lost": 3, "expected": MIXED},
        "unknown",
        "so silence proves nothing",
    ),
    "lost-and-untraced": (
        [*BOTH, (None, attempt())],
        {"lost": 3},
        "unknown",
        "1 attempt could not be followed",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_verdict(case: str) -> None:
    pairs, special, verdict, words = CASES[case]
    result = verdict_of(*pairs, **special)
    text = say_verdict(result)
    assert result.verdict == verdict, text
    assert words in f"{text}$"
    assert bool(text) == bool(result.finding) == (verdict != "pass")


def test_an_observation_counts_attempts() -> None:
    observation = summarise([delivered(), delivered(WEB_1), delivered(source_seen=NODE), REFUSED], 2)
    assert observation == Observation(
        outcomes={"delivered": 3, "rejected": 1},
        backends={Endpoint.of("10.244.2.4", 8080): 2, Endpoint.of("10.244.2.5", 8080): 1},
        sources=("10.244.1.2", NODE),
        reply_from=(VIP,),
        lost_frames=2,
    )


def test_a_refusal_is_no_backend_and_no_source() -> None:
    observation = summarise([delivered(outcome="rejected")], 0)
    assert (observation.backends, observation.sources, observation.reply_from) == ({}, (), ())


def test_a_result_keeps_the_first_journey_of_each_kind() -> None:
    journeys = [
        delivered(token=1),
        delivered(token=2),
        delivered(WEB_1, token=3),
        delivered(token=4, crafted=True),
        delivered(WEB_1, token=5),
    ]
    result = judge(FLOW, PROMISE, journeys, [attempt()] * 5, 0, {}, frames=(1, 2))
    assert [journey.token for journey in result.journeys] == [1, 3, 4]
    assert (result.flow, result.expected, result.frames) == (FLOW, PROMISE, (1, 2))


def test_a_hidden_endpoint_is_not_reported_as_the_service_s_address() -> None:
    result = verdict_of((HIDDEN, attempt()), expected=ONE)
    assert (result.journeys[0].backend, result.observed.backends) == (None, {})


def sctp_verdict(expected: Expectation, **sole_sctp: Endpoint) -> FlowResult:
    """Returns the verdict on an INIT that was answered where only the Service's address was seen."""
    flow = replace(FLOW, protocol="SCTP")
    crafted = attempt(protocol="SCTP", crafted=True)
    return judge(
        flow,
        expected,
        [HIDDEN],
        [crafted],
        0,
        {},
        sole_sctp={name.replace("_", "-"): b for name, b in sole_sctp.items()},
    )


def test_the_only_sctp_server_of_a_node_is_who_answered_there() -> None:
    result = sctp_verdict(ONE, web_0=WEB)
    assert (result.verdict, result.observed.backends) == ("pass", {WEB: 1})


def test_an_sctp_server_of_another_node_or_of_no_endpoint_is_not_who_answered() -> None:
    assert sctp_verdict(ONE).verdict == "unknown"
    assert sctp_verdict(ONE, web_1=WEB).verdict == "unknown"
    assert sctp_verdict(ONE, web_0=WEB_1).verdict == "unknown"


def test_journeys_and_attempts_go_in_pairs() -> None:
    with pytest.raises(ValueError, match="zip"):
        judge(FLOW, PROMISE, [delivered()], [], 0, {})


@pytest.mark.parametrize(
    ("traced", "more", "verdict", "silent"),
    [
        (plain(DROPPED), {}, "fail", True),
        ([*BOTH, *plain(DROPPED)], {}, "fail", True),
        (plain(NO_NEIGHBOUR), {}, "fail", True),
        ([*BOTH, (delivered(), attempt(error="timeout"))], {}, "fail", True),
        ([*plain(DROPPED), (delivered(source_seen="192.0.2.9"), attempt())], {}, "fail", False),
        ([*plain(DROPPED), (delivered("10.244.9.9:8080"), attempt(error="timeout"))], {}, "fail", False),
        (plain(REFUSED), {}, "fail", False),
        (plain(delivered()), {}, "fail", False),
        (plain(delivered()), {"expected": nothing_but("dropped")}, "fail", False),
        (plain(DROPPED), {"expected": nothing_but("dropped")}, "pass", True),
        (BOTH, {}, "pass", False),
    ],
    ids=[
        "nobody answered",
        "one was not answered",
        "nobody answered an ARP request",
        "an open connection fell silent",
        "silence beside a wrong source",
        "silence beside a wrong endpoint",
        "refused",
        "an endpoint was never met",
        "answered, though nobody should",
        "silence as promised",
        "answers as promised",
    ],
)
def test_a_verdict_rests_on_silence_where_lost_packets_would_explain_it(
    traced: Any, more: dict[str, Any], verdict: str, silent: bool
) -> None:
    result = verdict_of(*traced, **more)
    assert (result.verdict, result.silent) == (verdict, silent)


ENDPOINTS = [Endpoint.of("10.244.2.4", 8080), Endpoint.of("10.244.2.5", 8080)]
possibilities = st.builds(
    Possibility,
    outcome=st.sampled_from(OUTCOMES),
    backend=st.sampled_from(ENDPOINTS),
    source=st.sampled_from(SOURCE_RULES[:2]),
    reply=st.sampled_from(["dialled", "endpoint"]),
)


@given(st.lists(possibilities, min_size=1, max_size=4), st.sampled_from(ENDPOINTS), st.data())
def test_an_attempt_passes_if_and_only_if_it_is_one_of_the_possibilities(
    ends: list[Possibility], met: Endpoint, data: st.DataObject
) -> None:
    """Leads every attempt to an endpoint that may be met; nothing has to be met."""
    expected = replace(PROMISE, possibilities=Possibilities(ends), must_meet=())
    assume(met in expected.endpoints)
    source = data.draw(st.sampled_from(SOURCE_RULES[:2]))
    reply = data.draw(st.sampled_from(["dialled", "endpoint"]))
    outcome = data.draw(st.sampled_from(OUTCOMES))
    journey = delivered(
        met,
        outcome=outcome,
        source_seen=next(iter(ADDRESSES[source])),
        reply_from=VIP if reply == "dialled" else met,
        ending=Ending(kind="silence", last=IN_W1),
    )
    as_promised = any(
        end.outcome == outcome
        and end.backend == met
        and (outcome != "delivered" or (end.source, end.reply) == (source, reply))
        for end in ends
    )
    assert (verdict_of((journey, attempt()), expected=expected).verdict == "pass") == as_promised
