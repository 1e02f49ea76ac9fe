"""Tests clusters that other processes announce, perhaps of another release of podwire: they are shown, and
never believed blindly.
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

SINCE = "started 2026-01-01T00:00:00+00:00"
OURS = {
    "init": 4242,
    "release": __version__,
    "topology": "shop",
    "started": "2026-01-01T00:00:00+00:00",
    "nodes": 3,
    "pods": 5,
    "services": 2,
    "stays": True,
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
    """Yields a process of our own uid that says ``data`` of itself, as its sandbox' supervisor would."""
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


# --- one of several ---------------------------------------------------------------------------------------


@contextmanager
def only(monkeypatch: pytest.MonkeyPatch, *infos: dict[str, object]) -> Iterator[None]:
    """Has just the clusters ``infos`` run, with the pids 1, 2, 3…"""
    running = [read_announcement(pid, info) for pid, info in enumerate(infos, 1)]
    with monkeypatch.context() as patched:
        patched.setattr("emulator.run.clusters.find_running", lambda: running)
        yield


ENDING = OURS | {"topology": "hairpin", "stays": False}


@pytest.mark.parametrize(
    ("infos", "cluster", "pid"),
    [
        ([OURS], "", 1),
        ([ENDING, OURS, ENDING], "", 2),
        ([ENDING | {"topology": "shop"}, OURS], "shop", 2),
        ([OURS, ENDING], "2", 2),
        ([OURS, ENDING], "hairpin", 2),
        ([ENDING, {key: value for key, value in OURS.items() if key != "stays"}], "", 2),
    ],
)
def test_the_cluster_that_stays_up_is_entered(
    infos: list[dict[str, object]], cluster: str, pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with only(monkeypatch, *infos):
        running, netns = choose("worker-1", cluster)
    assert (running.pid, netns) == (pid, "worker-1")


@pytest.mark.parametrize(
    ("infos", "cluster", "said"),
    [
        ([], "", "no cluster is running: start one with podwire up or --keep (podwire ps lists them)"),
        (
            [OURS],
            "hairpin",
            "no cluster is running as 'hairpin': start one with podwire up or --keep (podwire ps lists them)",
        ),
        (
            [ENDING],
            "",
            "no cluster stays up, and 1 (hairpin) ends by itself: "
            "start one with podwire up or --keep, or say --cluster 1",
        ),
        (
            [ENDING, ENDING],
            "",
            f"no cluster stays up, and 1 (hairpin, {SINCE}), 2 (hairpin, {SINCE}) end by themselves: "
            "start one with podwire up or --keep, or say --cluster PID",
        ),
        (
            [OURS, ENDING, OURS],
            "",
            f"several clusters are running: 1 (shop, {SINCE}), 3 (shop, {SINCE}): say which with "
            "--cluster PID",
        ),
        (
            [OURS, ENDING, OURS | {"topology": "mesh"}],
            "",
            "several clusters are running: 1 (shop), 3 (mesh): say which with --cluster PID",
        ),
        (
            [ENDING, ENDING],
            "hairpin",
            f"several clusters are running: 1 (hairpin, {SINCE}), 2 (hairpin, {SINCE}): say which with "
            "--cluster PID",
        ),
    ],
)
def test_a_cluster_that_is_not_clear_is_asked_for(
    infos: list[dict[str, object]], cluster: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with only(monkeypatch, *infos), pytest.raises(UsageError) as raised:
        choose("worker-1", cluster)
    assert str(raised.value) == said


def test_ps_says_which_clusters_end_by_themselves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with only(monkeypatch, OURS, ENDING):
        assert main(["ps"]) == 0
    _, stays, ends = capsys.readouterr().out.splitlines()
    assert "ends by itself" in ends
    assert "ends by itself" not in stays
