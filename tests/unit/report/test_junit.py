"""Tests JUnit XML, read back by an XML parser."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.model.findings import Finding, FlowFault
from emulator.model.flows import SourcePlace
from emulator.model.results import FlowResult, Observation
from emulator.objects.references import ObjectRef
from emulator.objects.warnings import Code, ManifestWarning
from emulator.report.junit import comparison_to_junit, to_junit
from emulator.report.prose_of_verdicts import say_verdict
from emulator.report.prose_of_warnings import say_warning
from emulator.verdicts.modes import compare_modes
from tests.unit.expectations import expectation_of, resting_on
from tests.unit.report.samples import (
    FAILED,
    PASSED,
    PODS,
    REPORT,
    flow,
)

# Our own output, not a stranger's: no entity can lurk in it.
parse = ElementTree.fromstring

LOST = replace(
    PASSED,
    verdict="unknown",
    finding=Finding(fault=FlowFault.SILENCE, lost_frames=3),
    observed=Observation(outcomes={}),
    journeys=(),
)


def test_a_suite_per_kind_and_one_of_requirements() -> None:
    direct = replace(PASSED, flow=flow("direct", kind="pod-to-pod"))
    root = parse(to_junit(replace(REPORT, flows=(PASSED, FAILED, direct)), PODS))
    assert [
        (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in root
    ] == [
        ("three-networks: Pod to Pod", "1", "0", "0"),
        ("three-networks: Pod to Service", "2", "1", "0"),
        ("three-networks: Requirements", "2", "0", "0"),
    ]
    counts = [root.get(name) for name in ("tests", "failures", "errors", "skipped", "time")]
    assert counts == ["5", "1", "0", "1", "2.31"]


def test_a_failure_carries_the_reason_and_both_sides() -> None:
    case = parse(to_junit(REPORT, PODS)).find(".//testcase[@name='pod default/client → svc default/gone:80']")
    assert case is not None
    assert (case.get("classname"), case.get("time")) == ("podwire.pod-to-service", "0.000")
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == say_verdict(FAILED)
    assert "EXPECTED" in (failure.text or "")


def test_what_is_unknown_is_an_error_of_a_flow_and_skipped_of_a_requirement() -> None:
    """Counts as the exit code does: a requirement that no flow bears on is no failure."""
    lost = replace(LOST, flow=flow("lost"))
    report = replace(REPORT, flows=(PASSED, FAILED, lost))
    cases = {
        case.get("name"): [child.tag for child in case]
        for case in parse(to_junit(report, PODS)).iter("testcase")
    }
    assert cases == {
        PASSED.flow.name: [],
        FAILED.flow.name: ["failure"],
        "lost": ["error"],
        "pods-reach-pods": [],
        "cluster-ip-on-no-interface": ["skipped"],
    }


def test_properties_tell_how_to_repeat_the_run() -> None:
    suite = parse(to_junit(REPORT, PODS))[0]
    properties = {item.get("name"): item.get("value") for item in suite.iter("property")}
    assert properties["seed"] == "7"
    assert properties["proxyMode"] == "iptables"
    assert properties["kernel"] == "6.18.44"
    assert suite.get("timestamp") == "2026-01-01T00:00:00Z"


def test_properties_stand_once() -> None:
    suites = parse(to_junit(REPORT, PODS))
    assert [len(suite.findall("properties")) for suite in suites] == [1, *[0] * (len(suites) - 1)]


def test_a_test_case_has_the_time_that_its_attempts_took() -> None:
    quick, slow = (
        replace(PASSED, flow=flow(name), took=ns) for name, ns in (("a", 1_500_000), ("b", 3 * 10**9))
    )
    suite = parse(to_junit(replace(REPORT, flows=(quick, slow)), PODS))[0]
    assert [case.get("time") for case in suite.iter("testcase")] == ["0.002", "3.000"]
    assert suite.get("time") == "3.002"


def test_names_have_no_drawn_names_of_pods() -> None:
    name = "pod default/web-646bc469f7-bzzrq → pod shop/db-x1:80 (from default/client)"
    report = replace(
        REPORT,
        flows=(replace(PASSED, flow=flow(name)),),
        replicas={
            "default/web-646bc469f7-bzzrq": "deployment/web (1 of 2)",
            "shop/db-x1": "shop/job/db (1 of 1)",
        },
    )
    case = next(parse(to_junit(report, PODS)).iter("testcase"))
    assert case.get("name") == (
        "pod deployment/web (1 of 2) → pod shop/job/db (1 of 1):80 (from default/client)"
    )


def test_a_derived_flow_is_found_at_its_service() -> None:
    service = ObjectRef("Service", "default/web")
    between_pods = replace(PASSED, flow=replace(flow("direct"), to=replace(flow("").to, service="")))
    checked = replace(PASSED, flow=replace(flow("asked"), place=SourcePlace("check.yaml", 6)))
    report = replace(
        REPORT, flows=(PASSED, between_pods, checked), places={service: SourcePlace("web.yaml", 13)}
    )
    cases = parse(to_junit(report, PODS)).iter("testcase")
    assert [(case.get("file"), case.get("line")) for case in cases][:3] == [
        ("web.yaml", "13"),
        (None, None),
        ("check.yaml", "6"),
    ]


@pytest.mark.parametrize(("strict", "tag"), [(False, "skipped"), (True, "failure")])
def test_warnings_are_a_suite(strict: bool, tag: str) -> None:
    warning = ManifestWarning(
        code=Code.NO_DAEMON_POD, object=ObjectRef("DaemonSet", "default/d"), file="d.yaml", line=3
    )
    report = replace(REPORT, flows=(PASSED,), warnings=(warning,), strict=strict)
    root = parse(to_junit(report, PODS))
    suite = root[-1]
    assert suite.get("name") == "three-networks: Warnings"
    (case,) = suite.iter("testcase")
    assert [case.get(key) for key in ("classname", "name", "file", "line")] == [
        "podwire.warnings",
        "PW023 DaemonSet default/d",
        "d.yaml",
        "3",
    ]
    (told,) = case
    assert (told.tag, told.get("message")) == (tag, say_warning(warning))
    assert (root.get("failures"), report.ok) == (("1", False) if strict else ("0", True))


def test_seconds_that_are_no_number_are_left_out() -> None:
    assert parse(to_junit(replace(REPORT, machine={"seconds": "soon"}), PODS)).get("time") == "0"


@given(st.text(st.characters(), max_size=30))
def test_any_text_gives_well_formed_xml(hostile: str) -> None:
    result = replace(FAILED, flow=flow(hostile), finding=Finding(fault=FlowFault.CONTROL, control=hostile))
    report = replace(
        REPORT, topology=hostile, flows=(result,), machine={"kernel": hostile, "started": hostile}
    )
    cases = parse(to_junit(report, PODS)).findall("testsuite/testcase/failure")
    assert len(cases) == 1


def compared(*flows: tuple[FlowResult, FlowResult]) -> bytes:
    """Returns the document about flows with their results in two modes."""
    machine = {"kernel": "6.18.44", "started": "2026-01-01T00:00:00Z", "seconds": "1.5"}
    reports = {
        mode: replace(
            REPORT, machine=machine, flows=tuple(replace(pair[n], flow=pair[0].flow) for pair in flows)
        )
        for n, mode in enumerate(("iptables", "ipvs"))
    }
    return comparison_to_junit(compare_modes("shop", reports, guests={"ipvs": "ip_vs"}), PODS)


def renamed(result: FlowResult, name: str, service: str = "default/web") -> FlowResult:
    return replace(result, flow=replace(result.flow, name=name, to=replace(result.flow.to, service=service)))


REFUSED = replace(FAILED, expected=expectation_of("dropped", resting_on(7)), verdict="pass", finding=None)


def test_a_comparison_has_a_suite_per_service_and_a_case_per_flow() -> None:
    root = parse(
        compared(
            (renamed(PASSED, "a"), PASSED),
            (renamed(PASSED, "b", ""), PASSED),
            (renamed(PASSED, "c"), REFUSED),
        )
    )
    assert [(suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in root] == [
        ("shop: default/web", "2", "0"),
        ("shop: no Service's port", "1", "0"),
        ("shop: Requirements", "4", "0"),
    ]
    assert root.get("time") == "3"
    properties = {item.get("name"): item.get("value") for item in root[0].iter("property")}
    assert properties["modes"] == "iptables,ipvs"
    assert (properties["ipvs.kernel"], properties["ipvs.guest"], properties["seed"]) == (
        "6.18.44",
        "ip_vs",
        "7",
    )
    assert [case.get("name") for case in root[2].iter("testcase")][::2] == [
        "iptables: pods-reach-pods",
        "ipvs: pods-reach-pods",
    ]


@pytest.mark.parametrize(
    ("one", "other", "tags"),
    [
        (PASSED, PASSED, []),
        (PASSED, REFUSED, []),
        (PASSED, FAILED, ["failure"]),
        (FAILED, FAILED, ["failure"]),
        (PASSED, LOST, ["error"]),
        (FAILED, LOST, ["failure"]),
    ],
    ids=["the same", "known", "unexplained", "fails alike", "unknown", "fails and unknown"],
)
def test_a_case_of_a_comparison_fails_if_a_person_must_look_at_it(
    one: FlowResult, other: FlowResult, tags: list[str]
) -> None:
    case = parse(compared((renamed(one, "flow"), other))).find("testsuite/testcase")
    assert case is not None
    assert (case.get("name"), case.get("classname")) == ("flow", "podwire.default/web")
    assert [child.tag for child in case] == tags


def test_a_failure_of_a_comparison_says_what_changed_and_why() -> None:
    failure = parse(compared((renamed(PASSED, "flow"), FAILED))).find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == f"delivered → dropped; ipvs: {say_verdict(FAILED)}"
    text = failure.text or ""
    assert (
        "iptables: promised: ClusterIP from a Pod: the client's own address (podwire doc semantics 5)" in text
    )
    assert "mode ipvs" in text
    assert "EXPECTED" in text


@given(st.text(st.characters(), max_size=30))
def test_any_text_in_a_comparison_gives_well_formed_xml(hostile: str) -> None:
    assert (
        len(
            parse(
                compared(
                    (
                        renamed(PASSED, hostile, hostile),
                        replace(FAILED, finding=Finding(fault=FlowFault.CONTROL, control=hostile)),
                    )
                )
            ).findall("testsuite/testcase/failure")
        )
        == 1
    )
