"""Tests the deletion of rules by handle: it deletes what iptables itself would delete, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from emulator.errors import KernelError
from emulator.kernel.apply import Applied, apply
from emulator.kernel.netns import check_output, finish, start
from emulator.kernel.nf_tables import NfTables
from emulator.net import IPV4
from emulator.plan.operations import AddNetns, ChangeRules, LoadRules, Plan
from emulator.plan.rulechange import ChainEdit, RuleChange, RuleDeletion, TableChange
from emulator.plan.rules import Match, Rule, RuleSet
from tests.sandboxed import in_sandbox

pytestmark = pytest.mark.kernel

NFT = "iptables-nft-restore"
RULES = RuleSet(
    {
        "filter": {
            "FORWARD": (
                '-d 10.96.0.3/32 -m comment --comment "for nobody" -j DROP',
                '-d 10.96.0.3/32 -m comment --comment "for nobody" -j MARK-DROP',
            ),
            "INPUT": ('-p tcp -m comment --comment "default/web cluster IP" -j OTHERS',),
            "OTHERS": ("-j ACCEPT",),
            "MARK-DROP": (),
        },
        "nat": {
            "PREROUTING": ("-j PORTALS",),
            "PORTALS": (
                *(
                    f'-d {ip}/32 -p tcp -m comment --comment "default/{name} cluster IP" -m tcp --dport '
                    f"{port} -j {chain}"
                    for ip, name, port, chain in (
                        ("10.96.0.1", "web", 80, "ONE"),
                        ("10.96.0.2", "web", 80, "ONE"),
                        ("10.96.0.1", "web2", 80, "ONE"),
                        ("10.96.0.1", "web", 81, "TWO"),
                    )
                ),
                "-p tcp -m tcp --dport 82 -j TWO",
                "-p tcp -m tcp --dport 83 -j TWO",
            ),
            "ONE": ("-j RETURN",),
            "TWO": ("-j RETURN",),
        },
    }
)


def web(number: int, to: str, *, table: str = "nat", chain: str = "PORTALS") -> Rule:
    match = Match("-d 10.96.0.1/32 -p tcp", f"-m tcp --dport {number}", ("10.96.0.1",))
    return Rule(table, chain, match, to, "default/web cluster IP")


def taking(*rules: Rule, vanished: Sequence[str] = ()) -> TableChange:
    """Returns the change that deletes ``rules`` of one table, and chains that have rules."""
    chains: dict[str, list[RuleDeletion]] = {}
    for rule in rules:
        chains.setdefault(rule.chain, []).append(RuleDeletion(rule.text, rule.marks))
    edits = tuple(ChainEdit(chain, tuple(deleted)) for chain, deleted in chains.items())
    table = rules[0].table if rules else "nat"
    return TableChange(table=table, edits=edits, vanished=tuple((chain, True) for chain in vanished))


def change(*tables: TableChange) -> RuleChange:
    return RuleChange(tables)


FIRST, FOURTH = web(80, "ONE"), web(81, "TWO")
UNMARKED = Rule("nat", "PORTALS", Match("-p tcp", "-m tcp --dport 82"), "TWO")
VERDICT = Rule("filter", "FORWARD", Match("-d 10.96.0.3/32", hosts=("10.96.0.3",)), "DROP", "for nobody")
OF_FILTER = taking(
    Rule("filter", "INPUT", Match("-p tcp"), "OTHERS", "default/web cluster IP"), vanished=["OTHERS"]
)


LOAD = LoadRules(netns="a", tool="iptables-restore", family=IPV4, rules=RULES, why="x")


def changing(change: RuleChange) -> ChangeRules:
    return ChangeRules(netns="a", tool="iptables-restore", family=IPV4, change=change, why="x")


def loaded() -> Applied:
    return apply(Plan(name="rules", operations=(AddNetns(netns="a", why="x"), LOAD)), Applied(NFT))


def saved(applied: Applied) -> list[str]:
    return [
        line
        for line in check_output(applied.namespaces, "a", ["iptables-nft-save"]).splitlines()
        if not line.startswith("#")
    ]


def by_handle(applied: Applied, change: RuleChange) -> bool:
    assert change.only_removes
    return applied.namespaces.call_in("a", partial(NfTables, IPV4)).take_away(change.tables)


@pytest.mark.parametrize(
    "change",
    [
        change(taking(FIRST)),
        change(taking(FIRST, FOURTH)),
        change(OF_FILTER),
        change(OF_FILTER, taking(FOURTH)),
    ],
    ids=["one rule", "two rules", "a rule and a chain", "of two tables"],
)
def test_what_goes_is_what_iptables_would_take_away(change: RuleChange) -> None:
    text = change.text

    @in_sandbox
    def ours() -> list[str]:
        applied = loaded()
        assert by_handle(applied, change)
        return saved(applied)

    @in_sandbox
    def of_the_tool() -> list[str]:
        applied = loaded()
        finish(start(applied.namespaces, "a", [NFT, "--noflush"]), "a", text)
        return saved(applied)

    left = ours()
    assert left == of_the_tool()
    assert sum(line.startswith("-A") for line in left) == LOAD.text.count("-A ") - text.count(
        "-D "
    ) - text.count("-F ")


def appending(rules: Sequence[Rule]) -> RuleChange:
    edit = ChainEdit("PORTALS", appended=tuple(rule.text for rule in rules))
    return change(TableChange(table="nat", edits=(edit,)))


def gone(before: list[str], after: list[str]) -> set[str]:
    return {line.replace("-A", "-D", 1) for line in before if line not in after}


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (change(taking(UNMARKED)), -1),
        (change(taking(UNMARKED, FIRST)), -2),
        (change(taking(VERDICT)), -1),
        (change(TableChange(table="nat", edits=(ChainEdit("PORTALS", (RuleDeletion(FIRST.text),)),))), -1),
    ],
    ids=["alone", "with one that is told apart", "a verdict, not a chain", "known by its text alone"],
)
def test_a_rule_that_looks_like_another_is_left_to_iptables(change: RuleChange, left: int) -> None:
    @in_sandbox
    def check() -> None:
        applied = loaded()
        before = saved(applied)
        assert not by_handle(applied, change)
        assert saved(applied) == before
        apply(Plan(name="change", operations=(changing(change),)), applied)
        assert len(saved(applied)) == len(before) + left
        assert {line for line in change.text.splitlines() if line.startswith("-D")} == gone(
            before, saved(applied)
        )

    check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change(taking(Rule("nat", "PORTALS", Match("-d 10.96.0.9/32"), "ONE"))), "line 2"),
        (change(taking(FIRST, vanished=["ONE"])), "ONE"),
        (change(taking(Rule("nat", "NOWHERE", Match(), "ONE"))), "line 2"),
    ],
    ids=["no such rule", "a chain that is still led to", "no such chain"],
)
def test_what_cannot_be_taken_away_is_refused_by_iptables_and_stays(change: RuleChange, message: str) -> None:
    @in_sandbox
    def check() -> None:
        applied = loaded()
        before = saved(applied)
        assert not by_handle(applied, change)
        with pytest.raises(KernelError, match=rf"(?s){message}.*{NFT} --noflush <<'EOF'"):
            apply(Plan(name="change", operations=(changing(change),)), applied)
        assert saved(applied) == before

    check()


@in_sandbox
def test_among_many_rules_and_again_after_a_refusal() -> None:
    """Reads a dump in several reads, with one socket for all of it."""

    def rule(number: int) -> Rule:
        ip = f"10.96.{number // 250}.{number % 250}"
        match = Match(f"-d {ip}/32 -p tcp", "-m tcp --dport 80", (ip,))
        return Rule("nat", "PORTALS", match, "ONE", f"default/svc-{number} cluster IP")

    many = [rule(number) for number in range(1000)]
    applied = apply(Plan(name="rules", operations=(AddNetns(netns="a", why="x"), LOAD)), Applied(NFT))
    # an ordinary user's socket takes no 1000 at once (net.core.wmem_default)
    for first in range(0, len(many), 250):
        apply(
            Plan(
                name="more",
                operations=(changing(appending(many[first : first + 250])),),
            ),
            applied,
        )
    nf_tables = applied.namespaces.call_in("a", partial(NfTables, IPV4))
    for index in (0, 500, 999):
        # PREROUTING leads to it
        assert not nf_tables.take_away([taking(vanished=["PORTALS"])])
        assert nf_tables.take_away([taking(many[index])])
    left = [f"-A PORTALS {rule.text}" for i, rule in enumerate(many) if i not in (0, 500, 999)]
    assert [rule for rule in saved(applied) if "svc-" in rule] == left
