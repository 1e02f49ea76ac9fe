"""Changes of rules as values: what they name, and whether anything comes."""

from __future__ import annotations

import pytest

from emulator.plan.rulechange import ChainEdit, Insertion, RuleChange, RuleDeletion, TableChange, compare
from emulator.plan.rules import Marks, Match, Rule, RuleSet

ONE = RuleSet({"nat": {"PORTALS": ("-j A", "-j B"), "A": ("-j RETURN",), "B": ("-j RETURN",)}})


def test_a_rule_prints_itself_as_iptables_does() -> None:
    match = Match("-d 10.96.0.1/32 -p tcp", "-m tcp --dport 80", ("10.96.0.1",))
    rule = Rule("nat", "KUBE-SERVICES", match, "KUBE-SVC-X", "default/web cluster IP")
    assert rule.text == (
        '-d 10.96.0.1/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j KUBE-SVC-X'
    )
    assert rule.marks == Marks("default/web cluster IP", ("10.96.0.1",), "KUBE-SVC-X")
    assert Rule("nat", "X", Match(), "MARK", options="--set-xmark 0x1").text == "-j MARK --set-xmark 0x1"
    assert Rule("nat", "X", Match(), "MARK", options="--set-xmark 0x1").marks.chain == ""
    assert Rule("nat", "X", Match(), "", "counted").text == '-m comment --comment "counted"'


def test_what_goes_is_named_alone() -> None:
    change = compare(ONE, RuleSet({"nat": {"PORTALS": ("-j A",), "A": ("-j RETURN",)}}))
    assert change.only_removes
    assert change.tables == (
        TableChange(
            table="nat",
            edits=(ChainEdit("PORTALS", (RuleDeletion("-j B"),)),),
            vanished=(("B", True),),
        ),
    )
    assert change.text == "*nat\n-D PORTALS -j B\n-F B\n-X B\nCOMMIT\n"


@pytest.mark.parametrize(
    "chains",
    [
        {"PORTALS": ("-j A",), "A": ("-j RETURN",), "C": ()},
        {"PORTALS": ("-j A", "-j RETURN"), "A": ("-j RETURN",)},
        {"PORTALS": ("-j A",), "A": ("-j ACCEPT", "-j DROP", "-j RETURN")},
    ],
    ids=["a chain", "a rule", "a chain written anew"],
)
def test_a_change_by_which_something_comes_does_not_only_remove(chains: dict[str, tuple[str, ...]]) -> None:
    assert not compare(ONE, RuleSet({"nat": chains})).only_removes


def test_a_table_that_was_not_there_is_loaded_whole() -> None:
    change = compare(RuleSet({}), ONE)
    assert change
    assert not change.only_removes
    assert change.text.startswith("*nat\n-Z\n")


def test_what_comes_first_is_put_at_the_head_without_a_number() -> None:
    edit = ChainEdit("PORTALS", inserted=(Insertion(0, "-j A"), Insertion(0, "-j B"), Insertion(7, "-j C")))
    assert list(edit.lines()) == ["-I PORTALS -j B", "-I PORTALS -j A", "-I PORTALS 7 -j C"]
    assert not RuleChange((TableChange(table="nat", edits=(edit,)),)).only_removes
