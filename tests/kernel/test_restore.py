"""Tests the restore command that goes on running: each change is loaded when it says so, and what it refuses
is said as by a command of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from emulator.errors import KernelError, ToolKilledError
from emulator.kernel.apply import Applied, apply
from emulator.kernel.netns import check_output, finish, start
from emulator.kernel.restore import Restore, open_restore
from emulator.kernel.rules import RuleLoader
from emulator.net import IPV4
from emulator.plan.operations import AddNetns, ChangeRules, Plan
from emulator.plan.rulechange import ChainEdit, RuleChange, TableChange
from tests.sandboxed import in_sandbox

pytestmark = pytest.mark.kernel

COMMAND = ["iptables-nft-restore", "--noflush"]
FIRST = "*nat\n:ONE - [0:0]\n:TWO - [0:0]\n-A PREROUTING -j ONE\nCOMMIT\n*filter\nCOMMIT\n"


def made() -> Applied:
    return apply(Plan(name="rules", operations=(AddNetns(netns="a", why="x"),)), Applied(COMMAND[0]))


def change(*rules: str) -> str:
    return "\n".join(["*nat", ":ONE - [0:0]", *(f"-A ONE {rule}" for rule in rules), "COMMIT", ""])


def change_of(*added: str) -> ChangeRules:
    tables = TableChange(table="nat", edits=(ChainEdit(chain="ONE", appended=added),))
    return ChangeRules(netns="a", why="x", family=IPV4, tool="iptables-restore", change=RuleChange((tables,)))


def rules_of_one(applied: Applied) -> list[str]:
    saved = check_output(applied.namespaces, "a", ["iptables-nft-save", "-t", "nat"])
    return [line[7:] for line in saved.splitlines() if line.startswith("-A ONE ")]


def load(restore: Restore, text: str) -> None:
    restore.begin(text)
    restore.finish(60)


def test_each_text_is_loaded_when_it_says_so() -> None:
    long = [f"-d 10.0.{number // 250}.{number % 250}/32 -j RETURN" for number in range(5000)]

    @in_sandbox
    def seen() -> list[bool]:
        applied, said = made(), []
        restore = Restore(applied.namespaces, "a", COMMAND)
        load(restore, FIRST)
        for rules in (["-j TWO"], ["-p tcp -j TWO", "-j RETURN"], long, []):  # the long one fills the pipe
            load(restore, change(*rules))
            said.append(rules_of_one(applied) == rules)
        finish(start(applied.namespaces, "a", COMMAND), "a", change("-j RETURN"))  # by somebody else
        load(restore, "*nat\n-A ONE -j TWO\n-D ONE -j RETURN\nCOMMIT\n")
        said.append(rules_of_one(applied) == ["-j TWO"])
        restore.close()
        return said

    assert seen() == [True] * 5


def test_a_refusal_is_that_of_a_command_of_its_own() -> None:
    text = change("-j NOWHERE")

    @in_sandbox
    def refused() -> list[str]:
        applied, said = made(), []
        load(first := Restore(applied.namespaces, "a", COMMAND), FIRST)
        second = Restore(applied.namespaces, "a", COMMAND)
        for give in (
            lambda: finish(start(applied.namespaces, "a", COMMAND), "a", text),
            lambda: load(second, text),
            lambda: load(first, text),
        ):
            with pytest.raises(KernelError) as caught:
                give()
            assert caught.value.stdin == text
            said.append(caught.value.error.strip())
        first.close()
        second.close()
        return said

    alone, at_first, later = refused()
    assert "NOWHERE" in alone
    assert at_first == alone
    assert later.endswith("(line 1 of this input is line 9 there)")


@pytest.mark.parametrize(
    ("wrapper", "goes_on"),
    [
        ('exec {} "$@"', True),
        ('{} "$@"', True),
        ('{} "$@" >/dev/null', False),  # says nothing
        ('all=$(cat); echo "$all" | {} "$@"', False),  # reads to the end first
        ('[ "$2" = --verbose ] && exit 2; exec {} "$@"', False),  # does not know the option
    ],
)
def test_a_wrapper_that_cannot_be_kept_running_is_started_for_each_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrapper: str, goes_on: bool
) -> None:
    program = tmp_path / COMMAND[0]
    program.write_text(f"#!/bin/sh\n{wrapper.format(shutil.which(COMMAND[0]))}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(
        "emulator.kernel.rules.open_restore", partial(open_restore, seconds=10 if goes_on else 0.5)
    )

    @in_sandbox
    def seen() -> tuple[list[str], int]:
        applied = made()
        finish(start(applied.namespaces, "a", COMMAND), "a", FIRST)
        loader = RuleLoader(applied.namespaces, program.name)
        for added in ("-p tcp -j TWO", "-j RETURN"):
            loader.load([change_of(added)])
        kept = len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
        loader.close()
        return rules_of_one(applied), kept

    assert seen() == (["-p tcp -j TWO", "-j RETURN"], goes_on)


@pytest.mark.parametrize("flavour", ["nft", "legacy"])
def test_both_flavours_change_many_namespaces(flavour: str) -> None:
    """Changes three namespaces at once. Those of iptables-legacy have one lock, for which nobody waits."""
    names, command = ["a", "b", "c"], f"iptables-{flavour}-restore"

    @in_sandbox
    def saved() -> list[str]:
        plan = Plan(name="rules", operations=tuple(AddNetns(netns=name, why="x") for name in names))
        applied = apply(plan, Applied(command))
        for name in names:
            finish(start(applied.namespaces, name, [command, "--noflush"]), name, FIRST)
        for number in range(5):
            change = change_of(
                *(f"-s 10.{number}.{more % 250}.{more // 250}/32 -j RETURN" for more in range(300))
            )
            applied.rules.load([replace(change, netns=name) for name in names])
        applied.close()
        return [
            check_output(applied.namespaces, name, [command.replace("restore", "save"), "-t", "nat"])
            for name in names
        ]

    for text in saved():
        assert text.count("-A ONE ") == 1500


@in_sandbox
def test_a_change_after_a_refusal_has_another_command() -> None:
    applied = made()
    finish(start(applied.namespaces, "a", COMMAND), "a", FIRST)
    with pytest.raises(KernelError, match="NOWHERE"):
        applied.rules.load([change_of("-j NOWHERE")])
    applied.rules.load([change_of("-j RETURN")])
    assert rules_of_one(applied) == ["-j RETURN"]
    applied.close()


def test_a_killed_one_is_no_refusal() -> None:
    @in_sandbox
    def said() -> list[str]:
        applied = made()
        restore = Restore(applied.namespaces, "a", COMMAND)
        load(restore, FIRST)
        (child,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        with pytest.raises(ToolKilledError) as caught:
            load(restore, change("-j TWO"))
        restore.close()
        return [caught.value.error]

    assert "killed by SIGKILL" in said()[0]
