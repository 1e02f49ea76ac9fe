"""Tests the lines of a time line."""

from __future__ import annotations

import json
import re

from emulator.model.timeline import SECOND, ClusterEvent, summarize
from emulator.report.timeline import TimeLine
from tests.unit.model.test_timeline import attempt


def _bare(text: str) -> list[str]:
    """Returns the lines without the time of day, with single spaces."""
    return [" ".join(re.sub(r"^\d\d:\d\d:\d\d\.\d{3}", "", line).split()) for line in text.splitlines()]


def test_requests_of_one_kind_are_one_line_until_something_else_happens() -> None:
    line = TimeLine((), "table")
    assert line.request(attempt(0)) + line.request(attempt(0.1, pod="default/b")) == ""
    assert _bare(line.request(attempt(0.2, "timeout"))) == ["f ok ×2 default/a ×1, default/b ×1"]
    said = line.event(ClusterEvent(SECOND, "Pod", "default/a", "gone\x1b[1m"))
    assert _bare(said) == [
        "f LOST ×1 timed out ×1, the first from 10.244.1.2:40000",
        "Pod default/a gone\\x1b[1m",
    ]
    assert line.rest() == ""


def test_a_second_of_good_requests_is_a_line() -> None:
    line = TimeLine((), "table")
    said = [line.request(attempt(i / 4)) for i in range(6)]
    assert [_bare(one) for one in said] == [[], [], [], [], ["f ok ×4 default/a ×4"], []]


def test_wide_shows_each() -> None:
    line = TimeLine((), "wide")
    assert _bare(line.request(attempt(0))) == ["f ok by default/a after 0.0 ms, from 10.244.1.2:40000"]
    assert _bare(line.request(attempt(0, "EPIPE"))) == ["f LOST reset after 0.0 ms, from 10.244.1.2:40000"]


def test_json_has_an_object_on_each_line() -> None:
    line, ended = TimeLine((), "json"), [attempt(0), attempt(1, "timeout")]
    rows = "".join(map(line.request, ended)) + line.event(ClusterEvent(SECOND, "Node", "n", "gone"))
    good, lost, event = map(json.loads, rows.splitlines())
    assert (good["verdict"], good["pod"], good["at"]) == (
        "ok",
        "default/a",
        "1970-01-01T00:00:00.000000+00:00",
    )
    assert (lost["verdict"], "pod" in lost) == ("timed out", False)
    assert (event["event"], event["object"], event["what"]) == ("Node", "n", "gone")
    summary = json.loads(line.conclude([summarize("f", ended)], 0))["summary"]
    assert (summary["sent"], summary["lost"], summary["flows"][0]["endpoints"][0]["answered"]) == (2, 1, 1)


def test_a_summary_says_what_is_too_much() -> None:
    line, ended = TimeLine((), "table"), [attempt(0), attempt(1, "timeout")]
    said = line.conclude([summarize("f", ended)], 0)
    assert "f: 2 sent, 1 lost (1 timed out), longest gap 1.00 s" in said
    assert "FAIL: 1 lost, and no more than 0 may be" in said
    assert "FAIL" not in line.conclude([summarize("f", ended)], 1)
    assert "FAIL" not in line.conclude([summarize("f", ended)], None)
