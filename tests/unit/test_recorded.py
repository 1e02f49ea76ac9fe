"""Tests that the recorded answers belong to the commands as they are, and how answers are compared."""

from __future__ import annotations

import pytest

from tests.recorded import ANSWERS, SETTLE, Answer, Command, differences, normal, read_answers, read_commands

COMMAND = Command("scenario", 1, ("kubectl", "get", "pods"), "", "all")


def test_each_command_has_its_answer() -> None:
    files, commands = read_commands()
    typed = {c.id: list(c.argv) for c in commands if c.argv != (SETTLE,)}
    assert {name: row["argv"] for name, row in read_answers().items()} == typed
    assert len(typed) >= 150
    assert {c.stdin for c in commands} - {""} <= set(files)
    assert {c.compare for c in commands} == {"all", "lines", "last", "exit"}


def test_each_scenario_begins_with_its_namespace() -> None:
    _, commands = read_commands()
    firsts = [c for c in commands if c.number == 1]
    assert [c.argv for c in firsts] == [("kubectl", "create", "namespace", c.scenario) for c in firsts]
    answers = read_answers()
    assert {answers[c.id]["stdout"] for c in firsts} == {f"namespace/{c.scenario} created" for c in firsts}


def test_files_stay_small() -> None:
    assert ANSWERS.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("uid: 0b5e3c1a-2f7d-4f7e-9c0a-1f2e3d4c5b6a", "uid: UID"),
        ('creationTimestamp: "2026-12-01T12:00:00Z"', 'creationTimestamp: "TIME"'),
        ('  resourceVersion: "123"', '  resourceVersion: "VERSION"'),
        ("web-7c9d8f6b54-x2x4z   1/1   Running   0     12s", "web-HASH-RANDOM  1/1  Running  0  AGE"),
        ("deployment.apps/web   2/2     2     2     5m3s", "deployment.apps/web  2/2  2  2  AGE"),
        ("10.96.12.7   <none>   80:31234/TCP", "CLUSTER-IP  <none>  80:NODE-PORT/TCP"),
        ("Created on:  2026-12-01 13:29:40 +0000 UTC", "Created on:  TIME"),
        ("  nodeName: worker-2", "  nodeName: NODE"),
        ("    nodePort: 31234", "    nodePort: NODE-PORT"),
        ("configmap/made-x7k2p created", "configmap/made-RANDOM created"),
        ('{"kind":"A", "apiVersion":"v1"}', '{"apiVersion":"v1","kind":"A"}'),
        ("{not JSON}", "{not JSON}"),
        ("configmap/settings created", "configmap/settings created"),
        ("  - name: kube-root-ca.crt", "  - name: kube-root-ca.crt"),
        ("image: example.com/web:1", "image: example.com/web:1"),
    ],
)
def test_masks_what_a_run_gives_out_and_nothing_else(text: str, masked: str) -> None:
    assert normal(text) == masked


@pytest.mark.parametrize(
    ("compare", "seen", "found"),
    [
        ("all", Answer(0, "a\nb\n", ""), []),
        ("all", Answer(1, "a\nb\n", ""), ["exit"]),
        ("all", Answer(0, "b\n", "warned\n"), ["stdout", "stderr"]),
        ("lines", Answer(0, "b\na\n", ""), []),
        ("lines", Answer(0, "b\nc\n", ""), ["stdout"]),
        ("last", Answer(0, "c\nb\n", "warned\n"), []),
        ("last", Answer(0, "a\n", ""), ["stdout"]),
        ("exit", Answer(0, "", "warned\n"), []),
        ("exit", Answer(1, "a\nb\n", ""), ["exit"]),
    ],
)
def test_says_which_fields_differ(compare: str, seen: Answer, found: list[str]) -> None:
    recorded = {"code": 0, "stdout": "a\nb", "stderr": ""}
    assert list(differences(COMMAND._replace(compare=compare), recorded, seen)) == found
