"""Results of several modes beside each other: what is a difference, what explains it, and what chance may not look like one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.evidence.modes import Comparison, compare_modes
from emulator.evidence.modes_text import MOST_FLOWS, SCHEMA, comparison_to_dict, render_comparison
from emulator.evidence.report_json import dump_json
from emulator.probe.model import Backend, Expectation, FlowResult, Observation
from tests.unit.evidence.samples import CLIENT, DELIVERED, DROPPED, PASSED, PODS, REPORT, SERVICE, WEB_0, WEB_1, WORKER_1, expectation

B0, B1 = Backend(WEB_0, 8080), Backend(WEB_1, 8080)
BOTH = {B0: "preserved", B1: "preserved"}
REFUSED = Expectation(outcome="rejected", because="nftables mode serves no node ports here (docs/semantics 9)")


def delivered(seen: Mapping[Backend, str], expected: Expectation | None = None, **fields: Any) -> FlowResult:
    """A result that met each backend of ``seen``, which saw the address that ``seen`` says."""
    journeys = tuple(replace(DELIVERED, backend=backend, source_seen=ip) for backend, ip in seen.items())
    observed = Observation(
        outcomes={"delivered": len(seen)},
        backends=dict.fromkeys(seen, 1),
        sources=tuple(dict.fromkeys(seen.values())),
        reply_from=fields.pop("reply_from", (f"{SERVICE}:80",)),
    )
    return replace(PASSED, expected=expected or expectation(), observed=observed, journeys=journeys, **fields)


def refused(outcome: str = "rejected", expected: Expectation = REFUSED, **fields: Any) -> FlowResult:
    journey: Any = replace(DROPPED, outcome=outcome, evidence="RST from 10.244.1.1:30080")
    return replace(PASSED, **{"expected": expected, "observed": Observation(outcomes={outcome: 2}), "journeys": (journey,), **fields})


def compare(*results: FlowResult) -> Comparison:
    modes = ("iptables", "nftables", "ipvs")
    pairs = zip(modes, results, strict=False)
    return compare_modes("shop", {mode: replace(REPORT, proxy_mode=mode, flows=(result,)) for mode, result in pairs})


TO_BOTH = delivered({B0: CLIENT, B1: CLIENT})
SAMPLED = expectation(partial=True)
AS_NODE = expectation(backends={B0: "node", B1: "node"}, because="masqueraded (docs/semantics 5)")
ONE_ONLY = expectation(backends={B0: "preserved"}, because="hints (docs/semantics 3)")


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
            refused(), refused(expected=replace(REFUSED, because="a closed port (docs/semantics 8)")), id="the same for another reason"
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
        pytest.param(delivered({B0: CLIENT}, ONE_ONLY), ("backends",), (3,), "other backends", id="backends"),
        pytest.param(delivered({B0: WORKER_1, B1: WORKER_1}, AS_NODE), ("source",), (5,), "source preserved → node", id="source"),
        pytest.param(
            delivered({B0: CLIENT}, replace(ONE_ONLY, partial=True)),
            (),
            (),
            "",
            id="fewer endpoints promised, which a sample does not show",
        ),
    ],
)
def test_a_promised_difference_is_known(other: FlowResult, aspects: tuple[str, ...], sections: tuple[int, ...], change: str) -> None:
    one = TO_BOTH if aspects else delivered({B0: CLIENT}, SAMPLED)
    [flow] = compare(one, other).flows
    assert flow.status == ("known" if aspects else "same")
    assert (flow.aspects, flow.sections, flow.change) == (aspects, sections, change)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(refused("dropped", expectation(), verdict="fail", reason="it was dropped"), id="not what it promised"),
        pytest.param(refused("dropped", REFUSED, verdict="fail", reason="it was dropped"), id="promised to differ, but otherwise"),
        pytest.param(refused("rejected", expectation()), id="both promise the same, whatever the verdict"),
        pytest.param(delivered({B0: WORKER_1, B1: WORKER_1}), id="another source than both promise"),
        pytest.param(delivered({B0: CLIENT}), id="fewer backends than both promise"),
        pytest.param(delivered({B0: "192.0.2.1", B1: CLIENT}, AS_NODE, verdict="fail", reason="saw"), id="an address that is nobody's"),
        pytest.param(
            delivered({B0: WORKER_1, B1: WORKER_1}, AS_NODE, reply_from=("10.244.1.3:8080",)),
            id="a known source, and a reply from elsewhere",
        ),
    ],
)
def test_everything_else_is_a_bug(other: FlowResult) -> None:
    comparison = compare(TO_BOTH, other)
    assert comparison.flows[0].status == "unexplained"
    assert not comparison.ok
    text = render_comparison(comparison, width=200, pods=PODS)
    assert "BUG: unexplained" in text
    assert "1 of 1 flow changes" in text
    assert "1 of them unexplained" in text


def test_what_a_user_wants_otherwise_is_no_bug_of_ours() -> None:
    wanted = replace(PASSED.flow, check="gate")
    broken = refused("rejected", expectation(), verdict="fail", reason="it was rejected", flow=wanted)
    text = render_comparison(compare(replace(TO_BOTH, flow=wanted), broken), width=200, pods=PODS)
    assert "FAIL: not as FlowCheck gate says" in text
    assert "BUG" not in text


def test_a_difference_that_cannot_be_judged_is_no_bug_but_no_success() -> None:
    comparison = compare(TO_BOTH, refused("dropped", verdict="unknown", reason="the capture lost 3 frames"))
    assert (comparison.flows[0].status, comparison.ok) == ("unknown", False)
    assert "UNKNOWN in mode nftables: pod default/client" in render_comparison(comparison, width=200, pods=PODS)


def test_any_two_of_three_modes() -> None:
    [flow] = compare(TO_BOTH, TO_BOTH, refused()).flows
    assert (flow.status, flow.change) == ("known", "delivered → delivered → rejected")
    [flow] = compare(refused(), TO_BOTH, refused("dropped", expectation(), verdict="fail", reason="silence")).flows
    assert flow.status == "unexplained"


def test_a_flow_that_fails_alike_in_all_modes_is_no_success() -> None:
    failed = refused("dropped", expectation(), verdict="fail", reason="it was dropped, not delivered")
    comparison = compare(failed, failed)
    assert (comparison.flows[0].status, comparison.ok) == ("same", False)
    text = render_comparison(comparison, width=200, pods=PODS)
    assert "FAIL in mode iptables" in text
    assert "FAIL in mode nftables" in text


def test_services_come_first() -> None:
    headless = ("default/peers", "ClusterIP", "None", "", "80/TCP", "2")
    elsewhere = replace(TO_BOTH, flow=replace(PASSED.flow, name="elsewhere", to=replace(PASSED.flow.to, service="")))
    control = replace(refused(), flow=replace(PASSED.flow, name="a control", control=True))
    runs = {"iptables": (TO_BOTH, elsewhere, TO_BOTH), "nftables": (refused(), elsewhere, TO_BOTH)}
    flows = {
        mode: tuple(replace(r, flow=f.flow) for r, f in zip(results, (TO_BOTH, elsewhere, control), strict=True))
        for mode, results in runs.items()
    }
    reports = {mode: replace(REPORT, services=(*REPORT.services, headless), flows=results) for mode, results in flows.items()}
    comparison = compare_modes("shop", reports)
    lines = render_comparison(comparison, width=200, pods=PODS).splitlines()
    assert lines[2:6] == [
        "default/kubernetes: no flow dials it",
        "default/web: 1 of 1 flow changes (delivered → rejected ×1)",
        "default/peers: nothing changes (kube-proxy has no part in it)",
        "no Service's port: nothing changes (1 flow)",
    ]
    assert lines[-1] == (
        "3 flows in 2 modes: 2 the same, 1 known to differ, 0 unexplained; iptables: 3 as promised; nftables: 3 as promised"
    )
    assert comparison.ok


def test_reports_of_other_flows_are_not_compared() -> None:
    other = replace(TO_BOTH, flow=replace(PASSED.flow, name="another"))
    with pytest.raises(ValueError, match="different flows"):
        compare(TO_BOTH, other)


def test_the_table_has_a_row_for_each_mode() -> None:
    text = render_comparison(compare(TO_BOTH, refused()), width=200, pods=PODS)
    first, second, third = text[text.index("FLOW") :].split("\n\n")[0].splitlines()[1:4]
    assert re.search(r"iptables  delivered +web-0:8080 +preserved +the address dialled$", first)
    assert "web-1:8080" in second
    assert re.search(r"^known: docs/semantics 9 +nftables  rejected +none +none +RST from 10.244.1.1:30080 +nftables mode serves no", third)


def test_why_is_said_where_it_explains() -> None:
    both_deliver = render_comparison(compare(TO_BOTH, delivered({B0: WORKER_1, B1: WORKER_1}, AS_NODE)), width=200, pods=PODS)
    assert "ClusterIP from a Pod" in both_deliver
    assert "masqueraded (docs/semantics 5)" in both_deliver
    bug = render_comparison(compare(TO_BOTH, refused("rejected", expectation())), width=200, pods=PODS)
    assert bug.count("ClusterIP from a Pod") == 2


def test_bugs_are_listed_before_what_is_known_and_much_is_cut() -> None:
    def named(result: FlowResult, number: int) -> FlowResult:
        return replace(result, flow=replace(PASSED.flow, name=f"flow {number:02}"))

    known = [(named(TO_BOTH, n), named(refused(), n)) for n in range(MOST_FLOWS + 5)]
    bug = (named(TO_BOTH, 99), named(refused("rejected", expectation()), 99))
    reports = {m: replace(REPORT, flows=tuple(pair[i] for pair in [*known, bug])) for i, m in enumerate(("iptables", "nftables"))}
    lines = render_comparison(compare_modes("shop", reports), width=200, pods=PODS).splitlines()
    assert [line.split("  ")[0] for line in lines if line.startswith("flow ")] == [
        "flow 99",
        *(f"flow {n:02}" for n in range(MOST_FLOWS - 1)),
    ]
    assert "6 more flows differ; -o json has every flow" in lines


def test_no_control_character_reaches_a_terminal() -> None:
    evil = replace(TO_BOTH, flow=replace(PASSED.flow, name="\x1b[2Jevil"))
    text = render_comparison(compare(evil, replace(refused(), flow=evil.flow)), width=200, pods={WEB_0: "a\x1bb/c"})
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
        "evidence": "RST from 10.244.1.1:30080",
        "expected": {"outcome": "rejected", "source": "", "backends": [], "because": REFUSED.because},
        "verdict": "pass",
        "reason": "",
        "captures": [],
    }
    assert exported["services"][1] == {
        "name": "default/web",
        "proxied": True,
        "flows": 1,
        "changed": 1,
        "unexplained": 0,
        "how": {"delivered → rejected": 1},
    }
    assert exported["summary"] == {"ok": True, "flows": 1, "same": 0, "known": 1, "unexplained": 0, "unknown": 0, "notAsPromised": 0}
