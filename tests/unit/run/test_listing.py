"""Tests what ``podwire ps`` prints of running clusters."""

from __future__ import annotations

import json
from dataclasses import replace

from emulator import __version__
from emulator.run.clusters import Running, read_announcement
from emulator.run.listing import list_names, list_text, list_values
from emulator.run.naming import Member

WEB = Member(
    name="default/web-0", node="worker-1", addresses=("10.244.1.2", "fd00::2"), controller="StatefulSet/web"
)
ONE = Running(
    pid=7,
    init=8,
    topology="shop",
    started="2026-01-01T00:00:00+00:00",
    nodes=2,
    pods=1,
    services=1,
    names={"web-0": "default_web-0", "default/web-0": "default_web-0", "worker-1": "worker-1"},
    release=__version__,
    members=(WEB,),
)


def test_the_pods_of_a_cluster_are_listed_below_it() -> None:
    assert list_text([ONE]).splitlines() == [
        "PID  TOPOLOGY  NODES  PODS  SERVICES  STARTED",
        "7    shop      2      1     1         2026-01-01T00:00:00+00:00",
        "",
        "POD            NODE      IP          READY",
        "default/web-0  worker-1  10.244.1.2  yes",
    ]


def test_wide_has_all_addresses_controllers_and_machines() -> None:
    text = list_text([ONE], wide=True)
    assert "default/web-0  worker-1  10.244.1.2, fd00::2  yes    StatefulSet/web" in text
    assert text.endswith("\nNodes, clients and others: worker-1\n")


def test_on_a_narrow_terminal_pods_are_records() -> None:
    lines = list_text([ONE], wide=True, width=44).splitlines()
    assert max(map(len, lines)) <= 44
    assert lines[-6:] == [
        "default/web-0  node worker-1",
        "               ip 10.244.1.2, fd00::2",
        "               ready yes",
        "               controller StatefulSet/web",
        "",
        "Nodes, clients and others: worker-1",
    ]


def test_many_pods_are_counted() -> None:
    many = replace(ONE, members=(WEB,) * 60)
    assert list_text([many]).endswith("\nand 10 more Pods (podwire ps -o wide)\n")
    assert list_text([many], wide=True).count("default/web-0") == 60


def test_of_several_clusters_each_has_its_title() -> None:
    text = list_text([ONE, replace(ONE, pid=9, stays=False)])
    assert text.count("shop (PID 7):") == 1
    assert "(PID 9)" not in text


def test_as_values_and_as_names() -> None:
    (values,) = json.loads(json.dumps(list_values([ONE])))
    assert values["pods"] == [
        {
            "name": "default/web-0",
            "node": "worker-1",
            "ips": ["10.244.1.2", "fd00::2"],
            "ready": True,
            "controller": "StatefulSet/web",
        }
    ]
    assert values["machines"] == ["worker-1"]
    assert list_names([ONE]) == "default/web-0\nworker-1\n"


def test_an_announcement_of_members_is_not_believed_blindly() -> None:
    running = read_announcement(
        7,
        {
            "members": [7, {"name": 3}, {"name": "a/\x1b[2J", "addresses": "x", "ready": None}],
            "addresses": {"10.0.0.1": "web\x1b", "x": "y", "10.0.0.2": 7},
        },
    )
    assert [member.name.isprintable() for member in running.members] == [True]
    assert running.members[0].addresses == ()
    assert dict(running.addresses) == {"10.0.0.1": "web\\x1b"}
