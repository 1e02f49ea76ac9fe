"""Tests how requests are summed up."""

from __future__ import annotations

import pytest

from emulator.model.flows import Attempt
from emulator.model.frames import Answer
from emulator.model.timeline import SECOND, Ending, ending_of, longest_gap, summarize
from emulator.net import Endpoint

SRC, DST = Endpoint.parse("10.244.1.2:40000"), Endpoint.parse("10.96.1.0:80")


def attempt(second: float, error: str = "", pod: str = "default/a", flow: str = "f") -> Attempt:
    started = int(second * SECOND)
    answer = Answer(pod=pod, container="c", node="worker-1", client=SRC, dialled=DST, image=f"{pod}:1")
    return Attempt(
        flow=flow,
        protocol="TCP",
        netns="default_client",
        src=SRC,
        dst=DST,
        token=0,
        crafted=False,
        started=started,
        finished=started + 1000,
        error=error,
        answer=None if error else answer,
    )


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        ("", "ok"),
        ("ECONNREFUSED", "refused"),
        ("ECONNRESET", "reset"),
        ("timeout", "timed out"),
        ("EHOSTUNREACH", "unreachable"),
        ("ENETUNREACH", "unreachable"),
        ("EOF", "closed"),
        ("EPERM", "prohibited"),
    ],
)
def test_each_error_is_an_ending(error: str, ending: Ending) -> None:
    assert ending_of(attempt(0, error)) == ending


def test_a_summary_counts_endings_and_shares_in_the_order_of_sending() -> None:
    ended = [attempt(4, "timeout"), attempt(1), attempt(3, pod="default/b"), attempt(2), attempt(0, flow="g")]
    found = summarize("f", ended)
    assert (found.sent, found.lost, found.endings) == (4, 1, {"ok": 3, "timed out": 1})
    assert [(one.name, one.image, one.answered, one.first, one.last) for one in found.endpoints] == [
        ("default/a", "default/a:1", 2, 1 * SECOND, 2 * SECOND),
        ("default/b", "default/b:1", 1, 3 * SECOND, 3 * SECOND),
    ]


@pytest.mark.parametrize(
    ("errors", "gap"),
    [("", 0.0), ("..", 1.0), (".x.", 2.0), ("xx.", 2.0), (".xxx", 3.0), ("xxxx", 3.0), (".", 0.0)],
)
def test_the_longest_gap_begins_and_ends_with_a_good_request_or_an_end(errors: str, gap: float) -> None:
    assert longest_gap([attempt(i, "timeout" if x == "x" else "") for i, x in enumerate(errors)]) == gap
