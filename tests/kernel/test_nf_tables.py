"""Rules taken away by handle: what iptables itself would have taken away, or nothing."""

from __future__ import annotations

import pytest

from emulator.errors import KernelError
from emulator.kernel.apply import Applied, apply
from emulator.kernel.netns import check_output, finish, start
from emulator.kernel.nf_tables import NfTables
from emulator.plan.operations import AddNetns, LoadRules, Plan
from emulator.plan.rules import removals
from tests.sandboxed import in_sandbox

pytestmark = pytest.mark.kernel

NFT = "iptables-nft-restore"
RULES = """\
*filter
:OTHERS - [0:0]
:MARK-DROP - [0:0]
-A FORWARD -d 10.96.0.3/32 -m comment --comment "for nobody" -j DROP
-A FORWARD -d 10.96.0.3/32 -m comment --comment "for nobody" -j MARK-DROP
-A INPUT -p tcp -m comment --comment "default/web cluster IP" -j OTHERS
-A OTHERS -j ACCEPT
COMMIT
*nat
:PORTALS - [0:0]
:ONE - [0:0]
:TWO - [0:0]
-A PREROUTING -j PORTALS
-A PORTALS -d 10.96.0.1/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j ONE
-A PORTALS -d 10.96.0.2/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j ONE
-A PORTALS -d 10.96.0.1/32 -p tcp -m comment --comment "default/web2 cluster IP" -m tcp --dport 80 -j ONE
-A PORTALS -d 10.96.0.1/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 81 -j TWO
-A PORTALS -p tcp -m tcp --dport 82 -j TWO
-A PORTALS -p tcp -m tcp --dport 83 -j TWO
-A ONE -j RETURN
-A TWO -j RETURN
COMMIT
"""
FIRST = (
    '-D PORTALS -d 10.96.0.1/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j ONE'
)
FOURTH = (
    '-D PORTALS -d 10.96.0.1/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 81 -j TWO'
)
OF_FILTER = '*filter\n-D INPUT -p tcp -m comment --comment "default/web cluster IP" -j OTHERS\n-F OTHERS\n-X OTHERS\nCOMMIT\n'


def nat(*lines: str) -> str:
    return "".join(f"{line}\n" for line in ("*nat", *lines, "COMMIT"))


def load(text: str) -> LoadRules:
    return LoadRules(netns="a", tool="iptables-restore", text=text, why="x")


def loaded() -> Applied:
    return apply(Plan(name="rules", operations=(AddNetns(netns="a", why="x"), load(RULES))), Applied(NFT))


def saved(applied: Applied) -> list[str]:
    return [
        line
        for line in check_output(applied.namespaces, "a", ["iptables-nft-save"]).splitlines()
        if not line.startswith("#")
    ]


def by_handle(applied: Applied, text: str) -> bool:
    taken = removals(text)
    assert taken is not None
    return applied.namespaces.call_in("a", NfTables).take_away(taken)


@pytest.mark.parametrize(
    "text",
    [nat(FIRST), nat(FIRST, FOURTH), OF_FILTER, OF_FILTER + nat(FOURTH)],
    ids=["one rule", "two rules", "a rule and a chain", "of two tables"],
)
def test_what_goes_is_what_iptables_would_take_away(text: str) -> None:
    @in_sandbox
    def ours() -> list[str]:
        applied = loaded()
        assert by_handle(applied, text)
        return saved(applied)

    @in_sandbox
    def of_the_tool() -> list[str]:
        applied = loaded()
        finish(start(applied.namespaces, "a", [NFT, "--noflush"]), "a", text)
        return saved(applied)

    left = ours()
    assert left == of_the_tool()
    assert sum(line.startswith("-A") for line in left) == RULES.count("-A ") - text.count("-D ") - text.count(
        "-F "
    )


def gone(before: list[str], after: list[str]) -> set[str]:
    return {line.replace("-A", "-D", 1) for line in before if line not in after}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (nat("-D PORTALS -p tcp -m tcp --dport 82 -j TWO"), -1),
        (nat("-D PORTALS -p tcp -m tcp --dport 82 -j TWO", FIRST), -2),
        ('*filter\n-D FORWARD -d 10.96.0.3/32 -m comment --comment "for nobody" -j DROP\nCOMMIT\n', -1),
    ],
    ids=["alone", "with one that is told apart", "a verdict, not a chain"],
)
def test_a_rule_that_looks_like_another_is_left_to_iptables(text: str, left: int) -> None:
    @in_sandbox
    def check() -> None:
        applied = loaded()
        before = saved(applied)
        assert not by_handle(applied, text)
        assert saved(applied) == before
        apply(Plan(name="change", operations=(load(text),)), applied)
        assert len(saved(applied)) == len(before) + left
        assert {line for line in text.splitlines() if line.startswith("-D")} == gone(before, saved(applied))

    check()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (nat("-D PORTALS -d 10.96.0.9/32 -j ONE"), "line 2"),
        (nat(FIRST, "-F ONE", "-X ONE"), "ONE"),
        (nat("-D NOWHERE -j ONE"), "line 2"),
    ],
    ids=["no such rule", "a chain that is still led to", "no such chain"],
)
def test_what_cannot_be_taken_away_is_refused_by_iptables_and_stays(text: str, message: str) -> None:
    @in_sandbox
    def check() -> None:
        applied = loaded()
        before = saved(applied)
        assert not by_handle(applied, text)
        with pytest.raises(KernelError, match=rf"(?s){message}.*{NFT} --noflush <<'EOF'"):
            apply(Plan(name="change", operations=(load(text),)), applied)
        assert saved(applied) == before

    check()


@in_sandbox
def test_among_many_rules_and_again_after_a_refusal() -> None:
    """A dump of several reads, and one socket for all of it."""
    line = (
        '-d 10.96.{}.{}/32 -p tcp -m comment --comment "default/svc-{} cluster IP" -m tcp --dport 80 -j ONE'
    )
    many = [line.format(i // 250, i % 250, i) for i in range(1000)]
    applied = apply(Plan(name="rules", operations=(AddNetns(netns="a", why="x"), load(RULES))), Applied(NFT))
    # an ordinary user's socket takes no 1000 at once (net.core.wmem_default)
    for first in range(0, len(many), 250):
        apply(
            Plan(
                name="more",
                operations=(load(nat(*(f"-A PORTALS {rule}" for rule in many[first : first + 250]))),),
            ),
            applied,
        )
    nf_tables = applied.namespaces.call_in("a", NfTables)
    for index in (0, 500, 999):
        # PREROUTING leads to it
        assert not nf_tables.take_away(removals(nat("-F PORTALS", "-X PORTALS")) or ())
        assert nf_tables.take_away(removals(nat(f"-D PORTALS {many[index]}")) or ())
    left = [f"-A PORTALS {rule}" for i, rule in enumerate(many) if i not in (0, 500, 999)]
    assert [rule for rule in saved(applied) if "svc-" in rule] == left
