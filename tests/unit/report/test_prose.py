"""Tests that every reason has a sentence, and no reason is a sentence."""

from __future__ import annotations

import string
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState
from emulator.flows.derive import derive_flows
from emulator.flows.mode_differences import derive_mode_differences
from emulator.journeys.correlate import ICMP_ERRORS
from emulator.model.findings import Finding, FlowFault
from emulator.model.flows import Attempt
from emulator.model.frames import Answer, Health
from emulator.model.journeys import ANSWERED, Ending, EndingKind
from emulator.model.reasons import Reason, Why
from emulator.net import Endpoint
from emulator.objects.references import ObjectRef, node_ref, service_ref
from emulator.oracle.expectations import Expectations
from emulator.report.prose import _TEXTS, _words, say
from emulator.report.prose_of_verdicts import ICMP_NAMES, say_ending, say_finding
from tests.sandboxed import state_of
from tests.unit.report.samples import DELIVERED, DROPPED

FULL = Reason(
    why=Why.UNSERVED,
    objects=(service_ref("shop/web", "spec.internalTrafficPolicy"), node_ref("worker-1")),
    at=Endpoint.of("10.96.0.1", 80),
    protocol="TCP",
    endpoints=(Endpoint.of("10.244.1.2", 8080),),
    how="clusterIP",
    mode="ipvs",
    outcome="dropped",
    health=Health(200, 1),
    no_route=True,
)
reasons = st.recursive(
    st.sampled_from(Why).map(lambda why: Reason(why=why, objects=FULL.objects)),
    lambda inner: st.builds(
        lambda why, then: Reason(why=why, objects=FULL.objects, then=tuple(then)),
        st.sampled_from(Why),
        st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("why", list(Why))
def test_every_reason_has_a_sentence(why: Why) -> None:
    names = {name for _, name, _, _ in string.Formatter().parse(_TEXTS[why]) if name}
    assert names <= {*_words(FULL), "then"}
    text = say(Reason(**{f.name: getattr(FULL, f.name) for f in fields(FULL)} | {"why": why}))
    assert text
    assert "{" not in text
    assert (f"(podwire doc semantics {why.section})" in text) is bool(why.section)


@given(reasons)
def test_a_sentence_cites_every_section_that_its_reason_rests_on(reason: Reason) -> None:
    text = say(reason)
    numbers = {why.section for why in Why if why.section and f"(podwire doc semantics {why.section})" in text}
    assert numbers == reason.sections


@given(reasons)
def test_names_addresses_and_ports_are_no_kind(reason: Reason) -> None:
    def renamed(reason: Reason) -> Reason:
        return Reason(
            why=reason.why,
            objects=tuple(ObjectRef(ref.kind, "other/name", ref.field) for ref in reason.objects),
            at=Endpoint.of("192.0.2.1", 1),
            then=tuple(map(renamed, reason.then)),
        )

    assert renamed(reason).kinds == reason.kinds


def test_a_reason_names_the_objects_that_decide_it() -> None:
    state = _shop()
    expectations = Expectations(state)
    flows = derive_flows(state, expectations)
    for flow in (*flows, *derive_mode_differences(expectations, flows)):
        for reason in expectations.expect(flow).because.each():
            for ref in reason.objects:
                known = {"Service": state.service, "Node": state.node, "Pod": state.pod}.get(ref.kind)
                assert known is None or ref.name in known


def test_nothing_below_the_report_reads_sentences() -> None:
    """Checks that a reason is no text: searching it is a type error, and no room imports the sentences."""
    assert not isinstance(Reason(why=Why.HAIRPIN), str)
    root = Path(__file__).parents[3] / "emulator"
    for room in ("model", "oracle", "flows", "journeys", "verdicts", "traffic"):
        for path in (root / room).glob("*.py"):
            text = path.read_text()
            assert "podwire doc semantics (" not in text, path
            assert "emulator.report" not in text, path
            assert "import re\n" not in text, path


def test_every_ending_and_every_finding_has_a_sentence() -> None:
    for kind in get_args(EndingKind):
        ending = Ending(
            kind=kind, code="3/3", by=Endpoint.parse("10.0.0.1"), pods=("shop/web",), after=ANSWERED
        )
        assert bool(say_ending(ending)) == (kind != "answered")
    answer = Answer(
        pod="a",
        container="b",
        node="c",
        client=Endpoint.of("1.2.3.4", 5),
        dialled=None,
        local=Endpoint.of("6.7.8.9", 1),
    )
    met = Attempt(
        flow="f",
        protocol="TCP",
        netns="n",
        src=("1.2.3.4", 5),
        dst=("6.7.8.9", 1),
        token=0,
        crafted=False,
        started=0,
        finished=1,
        answer=answer,
    )
    because = Reason(why=Why.NESTED)
    for fault in FlowFault:
        finding = Finding(fault=fault, journey=DELIVERED, attempt=met, because=because, count=1, total=1)
        if fault is not FlowFault.SERVER:  # says what the ending says
            assert say_finding(finding)
            assert say_finding(replace(finding, lost_frames=2)).startswith("the capture lost 2 frames, ")


def test_every_icmp_error_that_ends_an_attempt_has_a_name() -> None:
    assert ICMP_NAMES.keys() == ICMP_ERRORS.keys()


def test_no_ending_is_a_sentence() -> None:
    assert not isinstance(DROPPED.ending, str)
    assert "silence" in say_ending(DROPPED.ending)


def _shop() -> ClusterState:
    return state_of("source-address")
