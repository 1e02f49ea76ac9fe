"""Clusters that other processes announce, perhaps of another release of podwire: shown, and never believed
blindly.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from emulator import __version__
from emulator.cli import main
from emulator.errors import UsageError
from emulator.run.clusters import (
    Running,
    choose,
    find_running,
    read_announcement,
)

OURS = {
    "init": 4242,
    "release": __version__,
    "topology": "shop",
    "started": "2026-01-01T00:00:00+00:00",
    "nodes": 3,
    "pods": 5,
    "services": 2,
    "names": {"worker-1": "worker-1", "default/web": "default_web", "web": "default_web"},
}


def test_our_own_announcement_is_read_whole() -> None:
    running = read_announcement(7, OURS)
    expected = {key: value for key, value in OURS.items() if key != "pid"}
    assert running == Running(pid=7, **expected)  # type: ignore[arg-type]
    assert running.note == ""


OTHERS = {
    "a field more": OURS | {"release": "9.0", "mode": "nftables"},
    "no release, as before releases were told": {
        key: value for key, value in OURS.items() if key != "release"
    },
    "only its topology": {"topology": "shop"},
    "counts of another kind": OURS | {"release": "9", "nodes": "three", "pods": [1], "services": True},
    "names of another kind": OURS | {"release": "9", "names": [["worker-1", "worker-1"]]},
    "no PID 1": OURS | {"release": "9", "init": "12"},
    "nothing is text": OURS | {"release": 9, "topology": {"name": "shop"}, "started": 1767225600},
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_release_is_noted(case: str) -> None:
    running = read_announcement(7, OTHERS[case])
    assert running.note.startswith("another release (")
    assert running.pid == 7


@pytest.mark.parametrize(
    "netns", ["../../etc/passwd", "/etc/passwd", "", ".", "..", "a/b", 7, None, "a\0b", "-x"]
)
def test_a_name_that_leads_out_of_run_netns_is_dropped(netns: object) -> None:
    assert read_announcement(7, OURS | {"names": {"web": netns}}).names == {}


def test_terminal_escapes_are_spelled_out() -> None:
    hostile = "\x1b]0;owned\x07"
    running = read_announcement(
        7,
        OURS
        | {
            "topology": hostile,
            "started": hostile,
            "release": hostile,
            "names": {hostile: "web", "web": hostile},
        },
    )
    for text in (running.topology, running.started, running.note, *running.names):
        assert text.isprintable()


@contextmanager
def announced(data: bytes, pid: str = "") -> Iterator[int]:
    """A process of our own uid that says ``data`` of itself, as its sandbox' supervisor would."""
    number = pid or str(10**7 + int.from_bytes(os.urandom(3), "big"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"\0podwire/{os.geteuid()}/{number}/{os.urandom(4).hex()}")
        listener.listen(8)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(pid or number) if number.isdecimal() else 0
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("case", OTHERS)
def test_ps_shows_a_cluster_of_another_release(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    with announced(json.dumps(OTHERS[case]).encode()) as pid:
        assert main(["ps"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(str(pid)))
    assert "another release" in row


def test_ps_prints_no_escape_of_a_topology(capsys: pytest.CaptureFixture[str]) -> None:
    with announced(json.dumps(OURS | {"topology": "\x1b[2Jshop"}).encode()) as pid:
        assert main(["ps"]) == 0
        out = capsys.readouterr().out
        assert str(pid) in out
        assert main(["exec", "--cluster", str(pid), "nobody", "--", "true"]) == 2
        assert "\x1b" not in out + capsys.readouterr().err


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"[]", b"7", b'{"init": 4}', b"\xff"], ids=repr)
def test_what_announces_nothing_is_passed_over(data: bytes) -> None:
    with announced(data) as pid:
        assert pid not in [running.pid for running in find_running()]


def test_an_address_of_another_form_is_passed_over() -> None:
    with announced(json.dumps(OURS).encode(), pid="v2"):
        find_running()


def test_a_cluster_that_cannot_be_entered_says_which_release_can() -> None:
    with (
        announced(json.dumps({"topology": "shop", "release": "9.0"}).encode()) as pid,
        pytest.raises(UsageError, match=r"another release \(9\.0\)"),
    ):
        choose("worker-1", str(pid))
