"""Tests the blocks of flows that are not as promised: by cause, each told once."""

from __future__ import annotations

from dataclasses import replace

from emulator.model.findings import Finding, FlowFault
from emulator.model.journeys import ANSWERED
from emulator.model.results import FlowResult
from emulator.objects.references import service_ref
from emulator.objects.warnings import Code, ManifestWarning
from emulator.report.failures_text import MOST_FAILURES, failure_blocks
from emulator.report.layout import Screen
from tests.unit.report.samples import (
    DELIVERED,
    FAILED,
    PODS,
    REPORT,
    TYPO,
    expectation,
    flow,
    refused_of,
)


def blocks(*results: FlowResult, width: int = 80, directory: str = "captures/typo/") -> str:
    return failure_blocks(replace(TYPO, flows=results), Screen(width), PODS, directory)


def test_flows_that_fail_alike_are_one_block() -> None:
    assert blocks(refused_of(1), refused_of(2)).splitlines() == [
        "FAIL x: a                                                       checks/fc.yaml:6",
        "  expected delivered, was rejected ×2              2 of 2 Pods of deployment/web",
        "  because  svc default/typo-selector has no usable endpoint: rejected at once",
        "           (podwire doc semantics 7)",
        "  object   Service typo-selector, deploy/typo.yaml:13",
        "  dialled  10.96.0.20:80 (svc typo-selector:80) by pod web-1 and 1 more",
        "  ended    worker-1: ICMP port unreachable from 10.244.1.1",
        "  look     wireshark captures/typo/01-x-a.pcapng",
        "           captures/typo/failed/01-x-a/worker-1.*",
    ]


def test_what_is_odd_about_the_objects_is_told_first() -> None:
    warning = ManifestWarning(
        code=Code.SELECTS_NO_POD,
        object=service_ref("default/typo-selector", "spec.selector"),
        parts=(("labels", ("app=wbe",)), ("nearest", "app=web")),
    )
    shown = failure_blocks(replace(TYPO, warnings=(warning,)), Screen(200), PODS, "")
    first, second = (line for line in shown.splitlines() if "typo-selector has no" in line)
    assert first.startswith("  because  Service typo-selector has no endpoints: ")
    assert first.endswith("the labels app=wbe (did you mean app=web?) (PW001)")
    assert second.startswith("           svc default/typo-selector has no usable endpoint")


def test_a_file_without_room_on_a_line_is_a_pattern() -> None:
    long = "01-web-from-default-web-74b6d989b7-xv6rr-to-everything-that-there-is"
    result = replace(refused_of(1), captures=(f"{long}.pcapng",), bundle=f"failed/{long}")
    assert blocks(result, directory="my/10-captures/typo/").splitlines()[-2:] == [
        "  look     wireshark my/10-captures/typo/01-*.pcapng",
        "           my/10-captures/typo/failed/01-*/worker-1.*",
    ]
    assert f"wireshark captures/typo/{long}.pcapng\n" in blocks(result, width=120)


def test_without_evidence_there_is_nothing_to_look_at() -> None:
    assert "  look " not in blocks(refused_of(1), directory="")


def test_flows_that_fail_otherwise_have_blocks_of_their_own() -> None:
    other = replace(FAILED, flow=flow("pod default/a → svc default/gone:80", ip="10.96.0.20"))
    shown = blocks(refused_of(1), other, FAILED)
    assert [line for line in shown.splitlines() if line.startswith("FAIL")] == [
        "FAIL x: a (from web-1)                                          checks/fc.yaml:6",
        "FAIL 2 flows to svc web:80",
    ]
    assert "pod client" in shown


def test_a_flow_that_breaks_its_promise_is_told_the_promise() -> None:
    shown = blocks(FAILED)
    assert (
        "  promised ClusterIP from a Pod: the client's own address\n           (podwire doc semantics 5)\n"
        in shown
    )
    assert "because" not in shown
    assert "  ended    silence: last seen at default_client/eth0 out\n" in shown + "\n"


def test_an_attempt_that_was_answered_ends_at_its_last_hop() -> None:
    answered = replace(DELIVERED, outcome="dropped", ending=ANSWERED)
    result = replace(FAILED, journeys=(answered,))
    assert f"  ended    at {answered.back[-1]}" in " ".join(blocks(result, width=300).split("\n"))
    shown = blocks(replace(result, journeys=(replace(answered, there=(), back=()),)))
    assert "  ended    no packet left default_client\n" in shown + "\n"


def test_a_source_that_was_not_promised() -> None:
    seen = replace(DELIVERED, source_seen="192.0.2.9")
    result = replace(
        FAILED,
        observed=replace(FAILED.observed, outcomes={"delivered": 2}, sources=("192.0.2.9",)),
        journeys=(seen,),
        expected=expectation(partial=True),
        finding=Finding(
            fault=FlowFault.SOURCE,
            journey=seen,
            rules=("preserved",),
            allowed=("10.244.1.2",),
            count=2,
            total=2,
        ),
    )
    shown = blocks(result)
    assert "  expected source preserved (10.244.1.2), was 192.0.2.9\n" in shown
    assert "expected delivered" not in shown


def test_all_that_hang_on_one_control_are_one_block() -> None:
    doubtful = [
        replace(
            FAILED,
            flow=flow(f"flow {number}"),
            verdict="unknown",
            finding=Finding(fault=FlowFault.CONTROL, control="pod default/client → pod default/web-1"),
        )
        for number in range(3)
    ]
    shown = blocks(*doubtful)
    assert shown.startswith("UNKNOWN 3 flows, whose control “pod client → pod web-1” failed\n")
    assert shown.count("UNKNOWN") == 1


def test_only_the_first_causes_are_told() -> None:
    many = [
        replace(FAILED, flow=replace(FAILED.flow, to=replace(FAILED.flow.to, label=f"svc a/b:{n}")))
        for n in range(MOST_FAILURES + 5)
    ]
    shown = failure_blocks(replace(REPORT, flows=tuple(many)), Screen(80), PODS, "")
    assert shown.count("FAIL ") == MOST_FAILURES
    assert shown.endswith("5 more flows did not pass; -o json explains every flow")
