"""Tests the report of a run as people read it, at the widths of their terminals."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from emulator.model.findings import Finding, FlowFault
from emulator.model.flows import Client, Destination, SourcePlace
from emulator.model.journeys import Ending
from emulator.model.notices import EvidenceMissing
from emulator.model.requirements import Missed
from emulator.model.results import FlowResult, Observation, PortRow, StepRows
from emulator.net import Endpoint, Prefix
from emulator.objects.notices import LeftOutKinds, PodRoutes
from emulator.objects.references import ObjectRef
from emulator.objects.warnings import Code, ManifestWarning
from emulator.report.prose_of_requirements import say_sentence
from emulator.report.run_text import MOST_FLOWS, MOST_ROWS, ONE_SCREEN, evidence, render_text, tell_cause
from tests.unit.report.samples import (
    CHECKED,
    CLIENT,
    DELIVERED,
    DNAT,
    DROPPED,
    FAILED,
    PASSED,
    PODS,
    REPORT,
    TYPO,
    WORKER_1,
    flow,
    node_row,
    refused_of,
    service_row,
)

WIDTHS = (80, 120)
WARNINGS = (
    ManifestWarning(
        code=Code.SELECTS_NO_POD,
        object=ObjectRef("Service", "default/typo-selector", "spec.selector"),
        parts=(("labels", "app=wbe"), ("nearest", "app=web")),
        file="deploy/typo2.yaml",
        line=13,
    ),
    *(
        ManifestWarning(
            code=Code.POLICY,
            object=ObjectRef("NetworkPolicy", f"argocd/argocd-policy-{n}"),
            file="install.yaml",
            line=24_000 + n,
        )
        for n in range(7)
    ),
)
NOTES = (
    LeftOutKinds((("ConfigMap", 3), ("Ingress", 1))),
    PodRoutes("kubenet", False, Prefix("10.244.0.0/16")),
)


def text(**fields: Any) -> str:
    options = {name: fields.pop(name) for name in ("form", "color", "width", "directory") if name in fields}
    return render_text(replace(REPORT, **fields), **{"width": 140, "pods": PODS, **options})


def passing(number: int, **fields: Any) -> tuple[FlowResult, ...]:
    return tuple(replace(PASSED, flow=flow(f"flow-{n}-", **fields)) for n in range(number))


@pytest.mark.parametrize("width", WIDTHS)
def test_run(golden: Callable[[str, str], None], width: int) -> None:
    golden(f"screens/run-{width}.txt", render_text(CHECKED, width=width, pods=PODS))


@pytest.mark.parametrize("width", WIDTHS)
def test_failure(golden: Callable[[str, str], None], width: int) -> None:
    report = replace(TYPO, flows=(*TYPO.flows, FAILED, PASSED), notices=NOTES)
    golden(
        f"screens/failure-{width}.txt",
        render_text(report, width=width, pods=PODS, directory="captures/typo/"),
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_warnings(golden: Callable[[str, str], None], width: int) -> None:
    golden(f"screens/warnings-{width}.txt", text(flows=passing(2), warnings=WARNINGS, width=width))


def test_the_result_counts_warnings_and_says_where_there_is_nothing_to_check() -> None:
    counted = text(flows=passing(2), requirements=(), warnings=WARNINGS[:1])
    assert "2 flows as promised, 1 warning  " in counted
    assert "1 warning (--strict)" in text(flows=passing(2), warnings=WARNINGS[:1], strict=True)
    nothing = ManifestWarning(code=Code.NOTHING, object=ObjectRef("", ""))
    assert "\n\nnothing to check: 2 flows as promised" in text(flows=passing(2), warnings=(nothing,))


@pytest.mark.parametrize("width", WIDTHS)
def test_notes(golden: Callable[[str, str], None], width: int) -> None:
    golden(
        f"screens/notes-{width}.txt",
        text(flows=passing(MOST_FLOWS + 1), cluster=(), notices=NOTES, width=width),
    )


def test_wide(golden: Callable[[str, str], None]) -> None:
    golden("screens/wide.txt", text(form="wide"))


def test_journeys(golden: Callable[[str, str], None]) -> None:
    golden("screens/journeys.txt", text(form="journeys", width=80, flows=(PASSED,)))


# --- what is said -----------------------------------------------------------------------------------------


def test_the_result_comes_first() -> None:
    lines = render_text(CHECKED, width=80, pods=PODS).splitlines()
    assert lines[0] == "podwire source-address   iptables v1.37, seed 7, 3 nodes, 4 Pods, 2 Services"
    assert re.fullmatch(r"4 flows as promised, 1 network requirement kept +2\.3 s", lines[2])


@pytest.mark.parametrize(
    ("verdicts", "line"),
    [
        (("pass",), "1 flow as promised"),
        (("fail",), "1 FAIL of 1 flow"),
        (("pass", "pass", "fail"), "1 FAIL of 3 flows, 2 as promised"),
        (("pass", "unknown"), "1 UNKNOWN of 2 flows, 1 as promised"),
        (("fail", "unknown"), "1 FAIL of 2 flows, 1 UNKNOWN"),
        ((), "no flow was sent"),
    ],
)
def test_the_result_says_what_passed(verdicts: tuple[str, ...], line: str) -> None:
    flows = tuple(replace(FAILED, verdict=verdict) for verdict in verdicts)
    assert text(flows=flows, requirements=(), machine={}).splitlines()[2] == line


def test_a_long_report_of_failures_ends_with_the_result() -> None:
    many = tuple(
        replace(FAILED, flow=replace(FAILED.flow, to=replace(FAILED.flow.to, label=f"{n}")))
        for n in range(ONE_SCREEN)
    )
    lines = text(flows=many).splitlines()
    assert lines[-1] == lines[2]
    assert lines[-1].startswith("24 FAIL of 24 flows")
    assert render_text(TYPO, pods=PODS).count("2 FAIL of 2 flows") == 1


def _missed(flow: str) -> Missed:
    return Missed(flow, "dropped", Ending(kind="silence", place="client"))


def test_requirements_are_shown_only_where_one_is_not_kept() -> None:
    kept, unasked = REPORT.requirements
    assert say_sentence(kept) not in text(flows=(PASSED,))
    assert say_sentence(unasked) not in text(flows=(PASSED,), form="wide")
    shown = text(requirements=(replace(kept, verdict="fail", breach=_missed("a-flow")), unasked))
    assert f"FAIL  {say_sentence(kept)}\n      a-flow: dropped, silence: no packet left client\n" in shown
    assert "1 of 1 network requirement FAIL" in shown


def test_the_cluster_is_shown_if_it_is_small() -> None:
    assert "NODE " in text(flows=(PASSED,))
    many = tuple(service_row(f"default/s-{n}", "10.96.0.1", PortRow(80, "TCP")) for n in range(MOST_ROWS))
    assert "NODE " not in text(flows=(PASSED,), services=many)
    assert "default/s-9" in text(flows=(PASSED,), services=many, form="wide")
    assert "NODE " not in text()  # a failure comes first


def test_the_cluster_of_a_run_with_steps_is_that_of_its_beginning() -> None:
    step = StepRows(step="drain, web-1 is gone", services=(replace(REPORT.services[1], endpoints=1),))
    shown = text(flows=(PASSED,), steps=(step,))
    assert "\nAt the beginning:\n" in shown
    assert "\nAfter drain, web-1 is gone:\n  default/web   endpoints 1\n" in shown
    assert "At the beginning" not in text(flows=(PASSED,))
    many = replace(step, services=tuple(replace(step.services[0], name=f"default/s-{n}") for n in range(11)))
    assert "NODE" not in text(flows=(PASSED,), steps=(many,))
    assert "default/s-10" in text(flows=(PASSED,), steps=(many,), form="wide")


def test_controls_that_passed_are_counted_and_those_that_did_not_are_told() -> None:
    quiet, loud = (
        replace(result, flow=flow(name, control=True))
        for result, name in ((PASSED, "a quiet one"), (FAILED, "a loud one"))
    )
    shown = text(flows=(PASSED, quiet))
    assert "a quiet one" not in shown
    assert "\nand 1 control: the same clients straight to the Pods (-o wide lists them)" in shown
    assert "and 2 controls:" in text(flows=(PASSED, quiet, quiet))
    assert "a quiet one" in text(flows=(PASSED, quiet), form="wide")
    assert "FAIL a loud one" in text(flows=(PASSED, loud))


def test_many_passing_flows_are_counted_unless_wide() -> None:
    shown = text(flows=passing(MOST_FLOWS + 1))
    assert "flow-1-" not in shown
    assert "As promised (-o wide lists every flow):\n  Pod to Service (61)\n" in shown
    shown = text(flows=passing(MOST_FLOWS + 1, check="gate"))
    assert "As promised (-o wide lists every flow):\n  gate (61)\n" in shown
    assert "flow-60-" in text(flows=passing(MOST_FLOWS + 1), form="wide")


def test_protocols_are_said_if_not_all_are_tcp() -> None:
    other = replace(PASSED, flow=flow("udp", protocol="UDP"))
    assert "TCP" not in text(flows=(PASSED,), services=())
    assert "TCP 10.96.0.10:80" in text(flows=(PASSED, other), services=())


def test_verdicts_are_words_and_colours_only_where_asked_for() -> None:
    for report in (REPORT, CHECKED):
        plain, painted = (render_text(report, pods=PODS, color=color) for color in (False, True))
        assert "\x1b" not in plain
        assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == plain
    assert "\x1b[32mPASS\x1b[0m" in render_text(CHECKED, pods=PODS, color=True)
    assert "\x1b[1;31mFAIL\x1b[0m" in render_text(REPORT, pods=PODS, color=True)


def test_an_empty_report() -> None:
    shown = text(flows=(), requirements=(), cluster=(), services=(), notices=(), machine={})
    assert shown == "podwire three-networks   iptables v1.37, seed 7\n\nno flow was sent\n"


@pytest.mark.parametrize(
    ("captures", "said"),
    [
        ((("01-a.pcapng",), ("02-b.pcapng",)), "\nEvidence: c/x/all.pcapng   (and one file per flow)\n"),
        (
            (("all.pcapng",), ("02-b.pcapng",)),
            "\nEvidence: c/x/all.pcapng   (and one file for each of 1 that did not pass)\n",
        ),
        ((("all.pcapng",), ("all.pcapng",)), "\nEvidence: c/x/all.pcapng\n"),
    ],
)
def test_evidence_that_is_there(captures: tuple[tuple[str, ...], ...], said: str) -> None:
    flows = tuple(replace(PASSED, captures=names) for names in captures)
    assert evidence(replace(REPORT, flows=flows), "c/x/", 80) == said


# --- tokens -----------------------------------------------------------------------------------------------

TOKENS = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,50}[a-z0-9])?", fullmatch=True)
ADDRESSES = st.ip_addresses(v=4).map(str)


@st.composite
def results(draw: st.DrawFn) -> tuple[FlowResult, list[str]]:
    """Draws a result, and the tokens that a report of it shows."""
    name, check, service, node, file = (draw(TOKENS) for _ in range(5))
    client_ip, ip, seen = (draw(ADDRESSES) for _ in range(3))
    port = draw(st.integers(1, 65535))
    passed = draw(st.booleans())
    backend = Endpoint.of(draw(ADDRESSES), 8080)
    client = Client(kind="pod", label=f"pod shop/{name}", netns=f"shop_{name}", ip=client_ip, node=node)
    to = Destination(label=f"svc shop/{service}:{port}", ip=ip, port=port, service=f"shop/{service}")
    source = Endpoint.of(client_ip, 4000)
    journey = replace(
        DELIVERED if passed else DROPPED,
        sent=DELIVERED.sent._replace(src=source, dst=Endpoint.of(ip, port)),
        changes=(replace(DNAT, where=node, after=backend),),
        backend=backend if passed else None,
    )
    result = replace(
        PASSED if passed else FAILED,
        flow=flow(
            f"{check}: {name}", called=name, check=check, client=client, to=to, place=SourcePlace(file, 7)
        ),
        observed=Observation(
            outcomes={"delivered" if passed else "dropped": 2},
            backends={backend: 2} if passed else {},
            sources=(seen,) if passed else (),
        ),
        journeys=(journey,),
        finding=None if passed else Finding(fault=FlowFault.OUTCOME, journey=journey, expected="delivered"),
    )
    shown = [f"{ip}:{port}", *([client_ip, name, check, node] if passed else [f"{file}:7", f"shop/{name}"])]
    return result, [*shown, *([str(backend)] if passed else [])]


@settings(max_examples=60)
@given(
    st.lists(results(), min_size=1, max_size=6, unique_by=lambda drawn: drawn[0].flow.check),
    st.lists(TOKENS, max_size=8),
    TOKENS,
    st.integers(60, 140),
)
def test_no_token_is_broken(
    drawn: list[tuple[FlowResult, list[str]]], pods: list[str], service: str, width: int
) -> None:
    flows = tuple(result for result, _ in drawn)
    cluster = (node_row(service, WORKER_1, "10.244.1.0/24", *pods),)
    services = (service_row(f"shop/{service}", "10.96.0.10", PortRow(80, "TCP", 30080)),)
    notice = EvidenceMissing(f"{service} and what {' '.join(pods)} do")
    report = replace(
        REPORT, topology=service, flows=flows, cluster=cluster, services=services, notices=(notice,)
    )
    shown = render_text(report, width=width, pods={}, directory="captures/x/")
    tokens = {token for part in shown.split() for token in (part, part.rstrip(",;:"), part.strip("(),"))}
    for result, expected in drawn:
        if report.ok or result.verdict != "pass":
            assert tokens.issuperset(expected), shown
    assert tokens.issuperset([service, *pods]), shown
    for line in shown.splitlines():
        words = line.split()
        assert wcswidth(line) <= width or len(line) - len(line.lstrip()) + max(map(len, words)) + 20 > width


@settings(max_examples=60)
@given(st.text(max_size=40), st.sampled_from(("table", "wide", "journeys")), st.booleans(), st.booleans())
def test_no_control_character_of_a_manifest_reaches_the_terminal(
    hostile: str, form: str, color: bool, passed: bool
) -> None:
    result = replace(
        PASSED if passed else FAILED,
        flow=flow(hostile, via=hostile, place=SourcePlace(hostile, 3), check=hostile, called=hostile),
        finding=None if passed else Finding(fault=FlowFault.CONTROL, control=hostile),
        captures=(hostile,),
        bundle=hostile,
    )
    requirement = replace(REPORT.requirements[0], breach=_missed(hostile), verdict="fail")
    shown = text(
        form=form,
        color=color,
        topology=hostile,
        flows=(result,),
        requirements=() if passed else (requirement,),
        notices=(EvidenceMissing(hostile),),
        cluster=(node_row(hostile, hostile, hostile, hostile),),
        services=(replace(service_row(hostile, hostile), type=hostile, external=(hostile,)),),
        steps=(StepRows(step=hostile, gone=(hostile,)),),
        machine={"seconds": hostile, "kernel": hostile},
        directory="captures/x/",
    )
    shown.encode()
    assert all(line.isprintable() for line in re.sub(r"\x1b\[[0-9;]*m", "", shown).split("\n"))
    assert color or "\x1b" not in shown


def test_clients_of_one_workload_are_counted() -> None:
    assert "2 of 2 Pods of deployment/web" in render_text(TYPO, pods=PODS)
    assert "pod client" in text(flows=(FAILED, replace(FAILED, flow=replace(FAILED.flow, name="again"))))
    assert CLIENT not in render_text(replace(TYPO, flows=(refused_of(1),)), pods=PODS)


# --- for programs -----------------------------------------------------------------------------------------


def test_the_cause_is_one_line() -> None:
    name = TYPO.flows[0].flow.name
    assert tell_cause(TYPO) == f"{len(TYPO.flows)} FAIL of {len(TYPO.flows)} flows: {name} and 1 more"
    one = replace(TYPO, flows=(*CHECKED.flows, TYPO.flows[0]))
    assert tell_cause(one) == f"1 FAIL of {len(one.flows)} flows: {name}"
