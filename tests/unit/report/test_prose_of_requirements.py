"""Tests the sentences of the network model and of the facts that break them, word by word."""

from __future__ import annotations

import pytest

from emulator.model.journeys import Change, Ending
from emulator.model.requirements import (
    Breach,
    Disguised,
    Misknown,
    Misplaced,
    Missed,
    Sentence,
    Translated,
)
from emulator.model.results import Requirement
from emulator.net import Address, Endpoint
from emulator.objects.references import ObjectRef, service_ref
from emulator.report.prose_of_requirements import say_requirement, say_sentence

POD, NODE = Address("10.244.1.2"), Address("172.18.0.3")
SNAT = Change("SNAT", "worker-1", Endpoint.of(POD, 4000), Endpoint.of(NODE, 4000), 1)
BREACHES: tuple[tuple[Breach, str], ...] = (
    (Translated("a → b", SNAT), "a → b: SNAT at worker-1: 10.244.1.2:4000 → 172.18.0.3:4000"),
    (
        Missed("a → b", "dropped", Ending(kind="silence", place="default_a")),
        "a → b: dropped, silence: no packet left default_a",
    ),
    (Disguised("a → b", NODE, POD), "a → b: 172.18.0.3 was seen, 10.244.1.2 was sent"),
    (
        Misknown("pod x/a", frozenset({"10.244.1.3", "10.244.1.2"}), "pod x/b", NODE),
        "pod x/a has 10.244.1.2, 10.244.1.3, and pod x/b saw 172.18.0.3",
    ),
    (
        Misknown("pod x/a", frozenset(), "pod x/b", NODE),
        "pod x/a has no address, and pod x/b saw 172.18.0.3",
    ),
    (
        Misplaced(POD, ObjectRef("Pod", "x/a"), "x_a", missing=True),
        "10.244.1.2 of pod x/a is on no interface of x_a",
    ),
    (
        Misplaced(POD, ObjectRef("Pod", "x/a"), "worker-1"),
        "10.244.1.2 of pod x/a is on an interface of worker-1 too",
    ),
    (
        Misplaced("10.96.0.9", service_ref("x/s"), "worker-1"),
        "10.96.0.9 of svc x/s is on an interface of worker-1",
    ),
)


@pytest.mark.parametrize(("breach", "text"), BREACHES, ids=lambda case: type(case).__name__)
def test_the_first_fact_against_a_sentence_is_told_and_the_others_are_counted(
    breach: Breach, text: str
) -> None:
    one = Requirement(sentence=Sentence.PODS_REACH_PODS, verdict="fail", checked=3, breach=breach)
    assert say_requirement(one) == text
    more = Requirement(sentence=Sentence.PODS_REACH_PODS, verdict="fail", checked=3, breach=breach, more=2)
    assert say_requirement(more) == f"{text} (and 2 more)"


@pytest.mark.parametrize("sentence", Sentence)
def test_what_is_kept_needs_no_reason_and_what_is_unknown_has_one(sentence: Sentence) -> None:
    assert say_requirement(Requirement(sentence=sentence, verdict="pass", checked=1)) == ""
    assert say_requirement(Requirement(sentence=sentence, verdict="unknown", checked=0))


def test_a_mode_with_an_interface_for_service_addresses_keeps_another_sentence() -> None:
    plain = Requirement(sentence=Sentence.NO_INTERFACE, verdict="pass", checked=1, mode="iptables")
    assert say_sentence(plain) == "A ClusterIP is on no interface anywhere."
    local = Requirement(
        sentence=Sentence.NO_INTERFACE,
        verdict="pass",
        checked=1,
        mode="ipvs",
        service_interface="kube-ipvs0",
    )
    assert say_sentence(local) == (
        "A ClusterIP is on no interface but the nodes' own (ipvs mode has them on kube-ipvs0)."
    )
