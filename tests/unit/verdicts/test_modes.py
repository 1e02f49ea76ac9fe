"""Tests results of several modes beside each other: the differences, their explanations, and chance, which is
no difference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.model.expectations import Expectation
from emulator.model.findings import Finding, FlowFault
from emulator.model.frames import Health
from emulator.model.journeys import Ending
from emulator.model.reasons import Reason, Why
from emulator.model.results import FlowResult, Observation
from emulator.net import Endpoint
from emulator.objects.config import FlowExpect
from emulator.report.modes_json import SCHEMA, comparison_to_dict
from emulator.report.modes_text import MOST_FLOWS, MOST_SERVICES, render_comparison
from emulator.report.prose import say
from emulator.report.report_json import dump_json
from emulator.verdicts.modes import Comparison, compare_modes
from tests.unit.expectations import answering, expectation_of, resting_on
from tests.unit.report.samples import (
    CLIENT,
    DELIVERED,
    DROPPED,
    PASSED,
    PODS,
    REPORT,
    SERVICE,
    WEB_0,
    WEB_1,
    WORKER_1,
    expectation,
    service_row,
)

B0, B1 = Endpoint.of(WEB_0, 8080), Endpoint.of(WEB_1, 8080)
BOTH = {B0: "preserved", B1: "preserved"}
DIFFERS = Finding(fault=FlowFault.OUTCOME, journey=DROPPED, expected="delivered")
NO_NODE_PORT = Reason(why=Why.NODE_PORT_ELSEWHERE, at=Endpoint.of(WORKER_1, 0), mode="nftables")
REFUSED = expectation_of("rejected", NO_NODE_PORT)


def delivered(seen: Mapping[Endpoint, str], expected: Expectation | None = None, **fields: Any) -> FlowResult:
    """Returns a result that met each backend of ``seen``, which saw the address that ``seen`` says."""
    journeys = tuple(replace(DELIVERED, backend=backend, source_seen=ip) for backend, ip in seen.items())
    observed = Observation(
        outcomes={"delivered": len(seen)},
        backends=dict.fromkeys(seen, 1),
        sources=tuple(dict.fromkeys(seen.values())),
        reply_from=fields.pop("reply_from", (Endpoint.parse(f"{SERVICE}:80"),)),
    )
    return replace(PASSED, expected=expected or expectation(), observed=observed, journeys=journeys, **fields)


def refused(outcome: str = "rejected", expected: Expectation = REFUSED, **fields: Any) -> FlowResult:
    journey: Any = replace(
        DROPPED, outcome=outcome, ending=Ending(kind="rst", by=Endpoint.parse("10.244.1.1:30080"))
    )
    return replace(
        PASSED,
        **{
            "expected": expected,
            "observed": Observation(outcomes={outcome: 2}),
            "journeys": (journey,),
            **fields,
        },
    )


def compare(*results: FlowResult, promised: Expectation | None = None) -> Comparison:
    """Compares one result for each mode. ``promised`` is the objects' promise in nftables mode, if its result
    expects another.
    """
    modes = ("iptables", "nftables", "ipvs")
    reports = {
        mode: replace(REPORT, proxy_mode=mode, flows=(result,))
        for mode, result in zip(modes, results, strict=False)
    }
    return compare_modes("shop", reports, {"nftables": lambda _: promised} if promised else {})


TO_BOTH = delivered({B0: CLIENT, B1: CLIENT})
SAMPLED = expectation(partial=True)
AS_NODE = expectation(backends={B0: "node", B1: "node"}, because=Reason(why=Why.HAIRPIN))
ONE_ONLY = expectation(backends={B0: "preserved"}, because=resting_on(8))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(TO_BOTH, TO_BOTH, id="the same"),
        pytest.param(TO_BOTH, delivered({B1: CLIENT, B0: CLIENT}), id="another order"),
        pytest.param(delivered({B0: CLIENT}, SAMPLED), delivered({B1: CLIENT}, SAMPLED), id="another sample"),
        pytest.param(delivered({B0: CLIENT}, SAMPLED), TO_BOTH, id="a sample and all"),
        pytest.param(
            delivered({B0: WORKER_1}, expectation(partial=True, backends={B0: "node", B1: "preserved"})),
            delivered({B1: CLIENT}, expectation(partial=True, backends={B0: "node", B1: "preserved"})),
            id="a hairpin in one sample only",
        ),
        pytest.param(
            delivered({B0: WORKER_1, B1: WORKER_1}, AS_NODE),
            delivered({B0: "10.244.1.1", B1: WORKER_1}, AS_NODE),
            id="another of its addresses",
        ),
        pytest.param(
            refused(),
            refused(expected=replace(REFUSED, because=resting_on(8))),
            id="the same for another reason",
        ),
    ],
)
def test_no_difference(one: FlowResult, other: FlowResult) -> None:
    comparison = compare(one, other)
    [flow] = comparison.flows
    assert (flow.status, flow.aspects, flow.sections, flow.change) == ("same", (), (), "")
    assert comparison.differing == ()


@pytest.mark.parametrize(
    ("other", "aspects", "sections", "change"),
    [
        pytest.param(refused(), ("outcome", "backends"), (9,), "delivered → rejected", id="outcome"),
        pytest.param(
            delivered({B0: CLIENT}, ONE_ONLY), ("backends",), (5, 8), "other backends", id="backends"
        ),
        pytest.param(
            delivered({B0: WORKER_1, B1: WORKER_1}, AS_NODE),
            ("source",),
            (5,),
            "source preserved → node",
            id="source",
        ),
        pytest.param(
            delivered({B0: CLIENT}, replace(ONE_ONLY, must_meet=())),
            (),
            (),
            "",
            id="fewer endpoints promised, which a sample does not show",
        ),
    ],
)
def test_a_promised_difference_is_known(
    other: FlowResult, aspects: tuple[str, ...], sections: tuple[int, ...], change: str
) -> None:
    one = TO_BOTH if aspects else delivered({B0: CLIENT}, SAMPLED)
    [flow] = compare(one, other).flows
    assert flow.status == ("known" if aspects else "same")
    assert (flow.aspects, flow.sections, flow.change) == (aspects, sections, change)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(
            refused("dropped", expectation(), verdict="fail", finding=DIFFERS),
            id="not what it promised",
        ),
        pytest.param(
            refused("dropped", REFUSED, verdict="fail", finding=DIFFERS),
            id="promised to differ, but otherwise",
        ),
        pytest.param(refused("rejected", expectation()), id="both promise the same, whatever the verdict"),
        pytest.param(delivered({B0: WORKER_1, B1: WORKER_1}), id="another source than both promise"),
        pytest.param(delivered({B0: CLIENT}), id="fewer backends than both promise"),
        pytest.param(
            delivered({B0: "192.0.2.1", B1: CLIENT}, AS_NODE, verdict="fail", finding=DIFFERS),
            id="an address that is nobody's",
        ),
        pytest.param(
            delivered({B0: WORKER_1, B1: WORKER_1}, AS_NODE, reply_from=(Endpoint.parse("10.244.1.3:8080"),)),
            id="a known source, and a reply from elsewhere",
        ),
    ],
)
def test_everything_else_is_a_bug(other: FlowResult) -> None:
    comparison = compare(TO_BOTH, other)
    assert comparison.flows[0].status == "unexplained"
    assert not comparison.ok
    text = render_comparison(comparison, width=200, pods=PODS, wide=True)
    assert "BUG: unexplained" in text
    assert "\n1  UNEXPLAINED, which is a bug: " in text
    assert (
        "\n1 of 2 Services changes for clients that dial what is there (web): 0 of 1 flow are the same, "
        "0 differ as documented, 1 unexplained, which is a bug.\n"
    ) in text


GATE = replace(PASSED.flow, check="gate", entry="keeps it")
WANTED = expectation(because=Reason(why=Why.FLOW_CHECK, then=(resting_on(0),)))
AGAINST = refused(expected=WANTED, verdict="fail", finding=DIFFERS, flow=GATE)


def test_what_a_flow_check_wants_is_no_promise_of_a_mode() -> None:
    """Takes a mode that does as documented: no bug, but no success either."""
    comparison = compare(replace(TO_BOTH, expected=WANTED, flow=GATE), AGAINST, promised=REFUSED)
    [flow] = comparison.flows
    assert (flow.status, flow.sections, comparison.ok) == ("unwanted", (9,), False)
    text = render_comparison(comparison, width=200, pods=PODS, wide=True)
    assert "0 differ as documented, 1 flow not as a FlowCheck says, 0 unexplained." in text
    assert "\n1  Not as FlowCheck gate says: delivered → rejected " in text
    assert "\n   why   FlowCheck gate wants it delivered\n" in text
    assert "FlowCheck gate wants it delivered; promised: podwire doc semantics 9" in text
    assert "known:" not in text
    advice = (
        "to accept it, “keeps it” of FlowCheck gate can say expect: {modes: {nftables: {outcome: rejected}}} "
    )
    assert f"{advice}beside what it expects in the others." in " ".join(text.split())
    assert "BUG" not in text
    assert "FAIL in mode" not in text


def test_what_one_endpoint_does_as_promised_is_unwanted_and_no_bug() -> None:
    """Shows a dropped attempt whose endpoint frames tell: of two endpoints it is the one that promises so."""
    mixed = expectation_of(
        because=resting_on(5),
        backends={B0: "preserved"},
        others={B1: "dropped"},
        addresses=WANTED.addresses,
    )
    lost: Any = replace(DELIVERED, outcome="dropped", backend=B1, reply_from=None)
    met = delivered({B0: CLIENT}, WANTED, verdict="fail", finding=DIFFERS, flow=GATE)
    result = replace(
        met,
        observed=replace(met.observed, outcomes={"delivered": 1, "dropped": 1}),
        journeys=(*met.journeys, lost),
    )
    comparison = compare(replace(TO_BOTH, expected=WANTED, flow=GATE), result, promised=mixed)
    assert comparison.flows[0].status == "unwanted"
    assert comparison.accepted(comparison.flows[0], "nftables") == FlowExpect()


@pytest.mark.parametrize(
    ("result", "promise"),
    [
        pytest.param(AGAINST, WANTED, id="the objects promise what the check wants"),
        pytest.param(
            AGAINST, expectation_of("dropped", NO_NODE_PORT), id="the objects promise a third thing"
        ),
        pytest.param(
            delivered({B0: WORKER_1, B1: CLIENT}, WANTED, verdict="fail", finding=DIFFERS, flow=GATE),
            expectation(backends={B0: "preserved", B1: "node"}),
            id="not as promised at one backend, though all addresses are promised at some",
        ),
    ],
)
def test_a_flow_check_excuses_no_bug(result: FlowResult, promise: Expectation) -> None:
    [flow] = compare(replace(TO_BOTH, expected=WANTED, flow=GATE), result, promised=promise).flows
    assert flow.status == "unexplained"


ASYMMETRIC_WAY = expectation(
    asymmetric=frozenset({B0, B1}), because=Reason(why=Why.EMPTY_LOCAL_LIST_ANY, mode="ipvs")
)


@pytest.mark.parametrize(
    ("other", "status", "change"),
    [
        pytest.param(ASYMMETRIC_WAY, "known", "delivered → asymmetric", id="promised"),
        pytest.param(expectation(), "unexplained", "delivered → asymmetric", id="not promised"),
    ],
)
def test_who_answers_is_promised_too(other: Expectation, status: str, change: str) -> None:
    [flow] = compare(TO_BOTH, delivered({B0: CLIENT, B1: CLIENT}, other, reply_from=(B0, B1))).flows
    assert (flow.status, flow.aspects, flow.change) == (status, ("reply",), change)


HEALTHY = expectation(health=Health(200, 1), because=resting_on(10))


def answered(health: Health, expected: Expectation = HEALTHY, **fields: Any) -> FlowResult:
    result = delivered({B0: CLIENT, B1: CLIENT}, expected, **fields)
    return replace(result, observed=replace(result.observed, health=(health,)))


@pytest.mark.parametrize(
    ("other", "status", "change"),
    [
        pytest.param(answered(Health(200, 1)), "same", "", id="alike"),
        pytest.param(
            answered(Health(503, 0), verdict="fail", finding=DIFFERS),
            "unexplained",
            "answer 200, 1 local endpoint → 503, 0 local endpoints",
            id="another answer, which nothing promises",
        ),
        pytest.param(refused(), "known", "delivered → rejected", id="no answer in this mode"),
    ],
)
def test_the_answers_of_health_checks_are_compared(other: FlowResult, status: str, change: str) -> None:
    comparison = compare(answered(Health(200, 1)), other)
    [flow] = comparison.flows
    assert (flow.status, flow.change) == (status, change)
    assert ("health" in flow.aspects) is change.startswith("answer")
    [exported] = comparison_to_dict(comparison, PODS)["flows"]
    assert exported["modes"]["iptables"]["health"] == [{"status": 200, "localEndpoints": 1}]
    if change:
        assert re.search(r" iptables +delivered: 200, 1 local endpoint +", packets(comparison)[0])


def test_the_answer_that_a_flow_check_wants_is_said() -> None:
    wanted = replace(
        answering(HEALTHY, Health(200)), because=Reason(why=Why.FLOW_CHECK, then=(resting_on(0),))
    )
    promise = answering(HEALTHY, Health(503, 0))
    against = answered(Health(503, 0), wanted, verdict="fail", finding=DIFFERS, flow=GATE)
    reports = {
        mode: replace(REPORT, flows=(result,))
        for mode, result in (("iptables", against), ("userspace", refused(flow=GATE)))
    }
    comparison = compare_modes("shop", reports, {"iptables": lambda _: promise})
    assert comparison.flows[0].status == "unwanted"
    assert "FlowCheck gate wants it delivered\n" in render_comparison(comparison, width=200, pods=PODS)


def test_endpoints_that_nobody_serves_may_end_differently_in_each_mode() -> None:
    either = expectation_of("dropped", "nobody serves", others={None: "unreachable"})
    silence = expectation_of("dropped", "nobody serves")
    [flow] = compare(refused("dropped", silence), refused("unreachable", either)).flows
    assert (flow.status, flow.change) == ("known", "dropped → unreachable")
    [flow] = compare(refused("dropped", either), refused("unreachable", either)).flows
    assert flow.status == "same"  # which of the endpoints was met is chance


@pytest.mark.parametrize("promise", [REFUSED, expectation()], ids=["promised to differ", "promised alike"])
def test_a_difference_that_cannot_be_judged_is_no_bug_but_no_success(promise: Expectation) -> None:
    comparison = compare(TO_BOTH, refused("dropped", promise, verdict="unknown", finding=DIFFERS))
    assert (comparison.flows[0].status, comparison.ok) == ("unknown", False)
    assert "UNKNOWN in mode nftables: pod default/client" in render_comparison(
        comparison, width=200, pods=PODS
    )


def test_any_two_of_three_modes() -> None:
    [flow] = compare(TO_BOTH, TO_BOTH, refused()).flows
    assert (flow.status, flow.change) == ("known", "delivered → delivered → rejected")
    [flow] = compare(
        refused(), TO_BOTH, refused("dropped", expectation(), verdict="fail", finding=DIFFERS)
    ).flows
    assert flow.status == "unexplained"


def test_a_flow_that_fails_alike_in_all_modes_is_no_success() -> None:
    failed = refused("dropped", expectation(), verdict="fail", finding=DIFFERS)
    comparison = compare(failed, failed)
    assert (comparison.flows[0].status, comparison.ok) == ("same", False)
    text = render_comparison(comparison, width=200, pods=PODS)
    assert "FAIL in mode iptables" in text
    assert "FAIL in mode nftables" in text


def test_services_come_first() -> None:
    headless = service_row("default/peers", "None")
    elsewhere = replace(
        TO_BOTH, flow=replace(PASSED.flow, name="elsewhere", to=replace(PASSED.flow.to, service=""))
    )
    control = replace(refused(), flow=replace(PASSED.flow, name="a control", control=True))
    runs = {"iptables": (TO_BOTH, elsewhere, TO_BOTH), "nftables": (refused(), elsewhere, TO_BOTH)}
    flows = {
        mode: tuple(
            replace(r, flow=f.flow) for r, f in zip(results, (TO_BOTH, elsewhere, control), strict=True)
        )
        for mode, results in runs.items()
    }
    reports = {
        mode: replace(REPORT, services=(*REPORT.services, headless), flows=results)
        for mode, results in flows.items()
    }
    comparison = compare_modes("shop", reports)
    lines = render_comparison(comparison, width=110, pods=PODS).splitlines()
    assert lines[:2] == ["podwire diff shop   iptables → nftables", ""]
    assert " ".join(lines[2:4]) == (
        "Nothing changes for clients inside or outside that dial what is there: 2 of 3 flows are the same, 1 "
        "differs as documented, 0 unexplained."
    )
    assert lines[5].startswith("1  Node ports at other addresses than the primary InternalIP: delivered → ")
    assert lines[5].endswith(" 1 Service")
    assert lines[6] == "   who   Pod client that dials svc web:80 (10.96.0.10:80)"
    assert lines[7].startswith("   do    Dial the primary InternalIP, or set nodePortAddresses ")
    assert lines[9:13] == [
        "   of    web",
        "   see   podwire doc semantics 9",
        "",
        "Dialled by no flow: kubernetes",
    ]
    assert lines[13] == "Not kube-proxy's: peers"
    assert lines[14].startswith("Not examined: node firewalls")
    assert lines[-1] == "Every packet: -o wide"
    assert comparison.ok


def test_reports_of_other_flows_are_not_compared() -> None:
    other = replace(TO_BOTH, flow=replace(PASSED.flow, name="another"))
    with pytest.raises(ValueError, match="different flows"):
        compare(TO_BOTH, other)


def packets(comparison: Comparison) -> list[str]:
    text = render_comparison(comparison, width=80, pods=PODS, wide=True)
    return text[text.index("THE PACKETS") :].split("\n\n")[0].splitlines()[1:]


def test_the_table_has_a_row_for_all_modes_that_do_the_same() -> None:
    first, second, third = packets(compare(TO_BOTH, refused(), refused()))
    assert re.search(r"  iptables +delivered +web-0:8080 +preserved +the address dialled$", first)
    assert "web-1:8080" in second
    assert re.search(
        r"^known: podwire doc semantics 9 +nftables, ipvs +rejected +none +none +RST from 10.244.1.1:30080$",
        third,
    )


def test_why_is_said_where_it_explains() -> None:
    both_deliver = render_comparison(
        compare(TO_BOTH, delivered({B0: WORKER_1, B1: WORKER_1}, AS_NODE)), width=200, pods=PODS
    )
    assert (
        "   why   iptables: ClusterIP from a Pod: the client's own address (podwire doc semantics 5)\n"
        f"   why   nftables: {say(AS_NODE.because)}\n" in both_deliver
    )
    habit = render_comparison(compare(TO_BOTH, refused()), width=200, pods=PODS)
    assert "   why " not in habit
    bug = render_comparison(compare(TO_BOTH, refused("rejected", expectation())), width=200, pods=PODS)
    assert (
        "   why   iptables, nftables: ClusterIP from a Pod: the client's own address "
        "(podwire doc semantics 5)\n" in bug
    )
    of_one_mode = render_comparison(
        compare(TO_BOTH, delivered({B0: CLIENT, B1: CLIENT}, ASYMMETRIC_WAY, reply_from=(str(B0),))),
        width=200,
        pods=PODS,
    )
    assert "ipvs mode takes any, which answers past it (podwire doc semantics 13)" in of_one_mode
    assert "ClusterIP from a Pod" not in of_one_mode


def test_clients_to_whom_the_same_happens_are_told_together() -> None:
    names = [f"pod default/client-{number}" for number in range(6)]
    flows = [
        replace(PASSED.flow, name=f"from {name}", client=replace(PASSED.flow.client, label=name))
        for name in names
    ]
    reports = {
        mode: replace(REPORT, flows=tuple(replace(result, flow=flow) for flow in flows))
        for mode, result in (("iptables", TO_BOTH), ("nftables", refused()))
    }
    text = render_comparison(compare_modes("shop", reports), width=200, pods=PODS)
    assert "who   Pods client-0, client-1, client-2, client-3 (+2 more) that dial svc web:80" in text


def many_services(reasons: list[Reason]) -> Comparison:
    """Returns as many Services as ``reasons``, each of which changes for its own."""
    names = [f"shop/web-{number:02}" for number in range(len(reasons))]
    flows = [replace(PASSED.flow, name=name, to=replace(PASSED.flow.to, service=name)) for name in names]
    refusals = [
        refused(expected=replace(REFUSED, because=reason), flow=flow)
        for reason, flow in zip(reasons, flows, strict=True)
    ]
    services = tuple(service_row(name, "10.96.0.10") for name in names)
    runs = {"iptables": tuple(replace(TO_BOTH, flow=flow) for flow in flows), "nftables": tuple(refusals)}
    return compare_modes(
        "shop", {mode: replace(REPORT, services=services, flows=results) for mode, results in runs.items()}
    )


def test_services_that_change_for_one_cause_are_told_together() -> None:
    reasons = [replace(NO_NODE_PORT, at=Endpoint.of(f"10.244.{n}.1", 0)) for n in range(MOST_SERVICES + 2)]
    text = render_comparison(many_services([*reasons, resting_on(8)]), width=100, pods=PODS)
    assert re.search(r"^1  Node ports at other addresses .* 10 Services$", text, re.MULTILINE)
    assert "   of    shop/web-00, shop/web-01," in text
    assert "(+2 more)" in text
    assert re.search(r"^2  Addresses and ports that no Service has: .* 1 Service$", text, re.MULTILINE)


def test_ordinary_clients_are_told_first() -> None:
    comparison = many_services([NO_NODE_PORT, Reason(why=Why.SOURCE_RANGES)])
    text = render_comparison(comparison, width=120, pods=PODS)
    assert "\n1 of 2 Services changes for clients that dial what is there (shop/web-01): " in text
    assert text.index("1  Other differences") < text.index("2  Node ports at other addresses")


@pytest.mark.parametrize("width", [80, 120])
def test_diff(golden: Callable[[str, str], None], width: int) -> None:
    comparison = many_services(
        [NO_NODE_PORT, NO_NODE_PORT, resting_on(8), Reason(why=Why.LOCAL_FOR_EVERYONE_HAIRPIN)]
    )
    golden(
        f"screens/diff-{width}.txt",
        render_comparison(comparison, width=width, pods=PODS),
    )


def test_a_guest_is_named_with_the_reason() -> None:
    reports = {
        mode: replace(REPORT, flows=(TO_BOTH,), machine={"kernel": kernel})
        for mode, kernel in (("ipvs", "6.1"), ("iptables", "6.18"))
    }
    comparison = compare_modes("shop", reports, guests={"ipvs": "ip_vs"})
    lines = render_comparison(comparison, width=200, pods=PODS).splitlines()
    assert "iptables: kernel 6.18" in lines
    assert "ipvs: kernel 6.1 in user-mode Linux, because this machine's has no ip_vs" in lines
    machine = comparison_to_dict(comparison, PODS)["machine"]
    assert machine == {
        "ipvs": {"kernel": "6.1", "guest": "ip_vs"},
        "iptables": {"kernel": "6.18", "guest": ""},
    }
    assert "user-mode" not in render_comparison(compare(TO_BOTH, TO_BOTH), width=200, pods=PODS)


def test_bugs_are_listed_before_what_is_known_and_much_is_cut() -> None:
    def named(result: FlowResult, number: int) -> FlowResult:
        return replace(result, flow=replace(PASSED.flow, name=f"flow {number:02}"))

    known = [(named(TO_BOTH, n), named(refused(), n)) for n in range(MOST_FLOWS + 5)]
    bug = (named(TO_BOTH, 99), named(refused("rejected", expectation()), 99))
    reports = {
        m: replace(REPORT, flows=tuple(pair[i] for pair in [*known, bug]))
        for i, m in enumerate(("iptables", "nftables"))
    }
    lines = render_comparison(compare_modes("shop", reports), width=200, pods=PODS, wide=True).splitlines()
    assert [line.split("  ")[0] for line in lines if line.startswith("flow ")] == [
        "flow 99",
        *(f"flow {n:02}" for n in range(MOST_FLOWS - 1)),
    ]
    assert "6 more flows differ; -o json has every flow" in lines


def test_no_control_character_reaches_a_terminal() -> None:
    evil = replace(TO_BOTH, flow=replace(PASSED.flow, name="\x1b[2Jevil"))
    text = render_comparison(
        compare(evil, replace(refused(), flow=evil.flow)), width=200, pods={WEB_0: "a\x1bb/c"}
    )
    assert "\x1b" not in text


def test_every_field_is_documented() -> None:
    exported = json.loads(dump_json(comparison_to_dict(compare(TO_BOTH, refused()), PODS)))
    assert exported["schema"] == SCHEMA
    [flow] = exported["flows"]
    fields = {*exported, *exported["services"][0], *flow, *flow["modes"]["nftables"], *exported["summary"]}
    page = (Path(__file__).parents[3] / "docs" / "report.md").read_text()
    text = page[page.index("# The comparison of modes") :]
    assert not {name for name in fields if f"`{name}`" not in text}


def test_what_programs_read() -> None:
    exported = comparison_to_dict(compare(TO_BOTH, refused()), PODS)
    [flow] = exported["flows"]
    assert (flow["status"], flow["differs"], flow["sections"]) == ("known", ["outcome", "backends"], [9])
    assert flow["modes"]["iptables"]["backends"] == ["default/web-0:8080", "default/web-1:8080"]
    assert flow["modes"]["iptables"]["replyFrom"] == ["dialled"]
    assert flow["modes"]["nftables"] == {
        "outcomes": ["rejected"],
        "backends": [],
        "sources": [],
        "replyFrom": [],
        "health": [],
        "evidence": "RST from 10.244.1.1:30080",
        "promised": say(REFUSED.because),
        "accept": {"outcome": "rejected"},
        "expected": {
            "outcome": "rejected",
            "source": "",
            "backends": [],
            "health": {},
            "because": say(REFUSED.because),
            "connection": "",
            "possibilities": [{"outcome": "rejected", "backend": "", "source": "", "replyFrom": ""}],
        },
        "verdict": "pass",
        "reason": "",
        "captures": [],
    }
    assert exported["services"][1] == {
        "name": "default/web",
        "proxied": True,
        "flows": 1,
        "changed": 1,
        "unwanted": 0,
        "unexplained": 0,
        "how": {"delivered → rejected": 1},
    }
    assert exported["summary"] == {
        "ok": True,
        "flows": 1,
        "same": 0,
        "known": 1,
        "unwanted": 0,
        "unexplained": 0,
        "unknown": 0,
        "warnings": 0,
        "strict": False,
        "notAsPromised": 0,
    }
