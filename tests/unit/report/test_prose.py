"""Every reason has a sentence, and no reason is a sentence."""

from __future__ import annotations

import string
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cluster.state import ClusterState
from emulator.flows.derive import derive_flows
from emulator.flows.edges import edge_flows
from emulator.model.frames import Backend, Health
from emulator.model.reasons import Reason, Why
from emulator.objects.references import ObjectRef, node_ref, service_ref
from emulator.oracle.expectations import Expectations
from emulator.report.prose import _TEXTS, _words, say
from tests.sandboxed import state_of

FULL = Reason(
    why=Why.UNSERVED,
    objects=(service_ref("shop/web", "spec.internalTrafficPolicy"), node_ref("worker-1")),
    at=Backend("10.96.0.1", 80),
    protocol="TCP",
    endpoints=(Backend("10.244.1.2", 8080),),
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
    assert (f"(docs/semantics {why.section})" in text) is bool(why.section)


@given(reasons)
def test_a_sentence_cites_every_section_that_its_reason_rests_on(reason: Reason) -> None:
    text = say(reason)
    numbers = {why.section for why in Why if why.section and f"(docs/semantics {why.section})" in text}
    assert numbers == reason.sections


@given(reasons)
def test_names_addresses_and_ports_are_no_kind(reason: Reason) -> None:
    def renamed(reason: Reason) -> Reason:
        return Reason(
            why=reason.why,
            objects=tuple(ObjectRef(ref.kind, "other/name", ref.field) for ref in reason.objects),
            at=Backend("192.0.2.1", 1),
            then=tuple(map(renamed, reason.then)),
        )

    assert renamed(reason).kinds == reason.kinds


def test_a_reason_names_the_objects_that_decide_it() -> None:
    state = _shop()
    expectations = Expectations(state)
    flows = derive_flows(state, expectations)
    for flow in (*flows, *edge_flows(expectations, flows)):
        for reason in expectations.expect(flow).because.each():
            for ref in reason.objects:
                known = {"Service": state.service, "Node": state.node, "Pod": state.pod}.get(ref.kind)
                assert known is None or ref.name in known


def test_nothing_below_the_report_reads_sentences() -> None:
    """A reason is no text: what tries to search it is a type error, and no room imports the sentences."""
    assert not isinstance(Reason(why=Why.HAIRPIN), str)
    root = Path(__file__).parents[3] / "emulator"
    for room in ("model", "oracle", "flows", "journeys", "verdicts", "traffic"):
        for path in (root / room).glob("*.py"):
            text = path.read_text()
            assert "docs/semantics (" not in text, path
            assert "report.prose import" not in text, path
            assert "import re\n" not in text, path


def _shop() -> ClusterState:
    return state_of("source-address")
