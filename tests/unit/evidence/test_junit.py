"""JUnit XML, read back by an XML parser."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from emulator.evidence.junit import to_junit
from tests.unit.evidence.samples import FAILED, PASSED, PODS, REPORT, flow

# Our own output, not a stranger's: no entity can lurk in it.
parse = ElementTree.fromstring


def test_a_suite_per_kind_and_one_of_requirements() -> None:
    direct = replace(PASSED, flow=flow("direct", kind="pod-to-pod"))
    root = parse(to_junit(replace(REPORT, flows=(PASSED, FAILED, direct)), PODS))
    assert [(suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in root] == [
        ("three-networks: Pod to Pod", "1", "0", "0"),
        ("three-networks: Pod to Service", "2", "1", "0"),
        ("three-networks: Requirements", "2", "0", "1"),
    ]
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("time")) == ("5", "1", "1", "2.31")


def test_a_failure_carries_the_reason_and_both_sides() -> None:
    case = parse(to_junit(REPORT, PODS)).find(".//testcase[@name='pod default/client → svc default/gone:80']")
    assert case is not None
    assert (case.get("classname"), case.get("time")) == ("podwire.pod-to-service", "0")
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == FAILED.reason
    assert "EXPECTED" in (failure.text or "")


def test_a_pass_has_no_child_and_an_unknown_is_an_error() -> None:
    cases = {case.get("name"): [child.tag for child in case] for case in parse(to_junit(REPORT, PODS)).iter("testcase")}
    assert cases == {
        PASSED.flow.name: [],
        FAILED.flow.name: ["failure"],
        "pods-reach-pods": [],
        "cluster-ip-nowhere": ["error"],
    }


def test_properties_tell_how_to_repeat_the_run() -> None:
    suite = parse(to_junit(REPORT, PODS))[0]
    properties = {item.get("name"): item.get("value") for item in suite.iter("property")}
    assert properties["seed"] == "7"
    assert properties["proxyMode"] == "iptables"
    assert properties["kernel"] == "6.18.44"
    assert suite.get("timestamp") == "2026-01-01T00:00:00Z"


def test_seconds_that_are_no_number_are_left_out() -> None:
    assert parse(to_junit(replace(REPORT, machine={"seconds": "soon"}), PODS)).get("time") == "0"


@given(st.text(st.characters(), max_size=30))
def test_any_text_gives_well_formed_xml(hostile: str) -> None:
    result = replace(FAILED, flow=flow(hostile), reason=hostile)
    report = replace(REPORT, topology=hostile, flows=(result,), machine={"kernel": hostile, "started": hostile})
    cases = parse(to_junit(report, PODS)).findall("testsuite/testcase/failure")
    assert len(cases) == 1
