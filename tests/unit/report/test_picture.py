"""Tests the pictures of journeys: machines in order, rewrites in them, and where a packet was lost."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from emulator.model.journeys import Change, Connection, Ending, Journey
from emulator.net import Endpoint
from emulator.report.picture import WIDTH, Picture, draw_journey, machine_name
from tests.unit.report.samples import AT_CLIENT, AT_SERVICE, AT_WEB_1, DELIVERED, DROPPED


def lines(picture: Picture) -> list[tuple[str, str]]:
    return [(text.kind, "".join(span.text for span in text.spans)) for text in picture.texts]


def test_a_delivered_packet_is_drawn_there_and_back() -> None:
    there, back = draw_journey(DELIVERED, "default_client")
    assert lines(there) == [
        ("name", "Pod default/client"),
        ("place", "eth0 out"),
        ("packet", f"{AT_CLIENT} → {AT_SERVICE}"),
        ("name", "worker-1"),
        ("place", "veth1 in, eth0 out"),
        ("change", "DNAT: destination"),
        ("change", f"{AT_SERVICE} → {AT_WEB_1}"),
        ("packet", f"{AT_CLIENT} → {AT_WEB_1}"),
        ("name", "Pod default/web-1"),
        ("place", "eth0 in"),
    ]
    assert not any(rect.bad for rect in there.rects)
    assert [text for kind, text in lines(back) if kind == "name"] == [
        "Pod default/web-1",
        "Pod default/client",
    ]
    # no frame of worker-1 was captured on the way back: the next one shows the rewrite
    assert lines(back)[-2:] == [
        ("change", "un-DNAT at worker-1: source, back"),
        ("change", f"{AT_WEB_1} → {AT_SERVICE}"),
    ]
    assert there.label == (
        "There: Pod default/client, eth0 out; then worker-1, veth1 in, eth0 out, DNAT: destination, "
        f"{AT_SERVICE} → {AT_WEB_1}; then Pod default/web-1, eth0 in"
    )


def test_the_address_that_changed_is_marked() -> None:
    (there, _) = draw_journey(DELIVERED, "default_client")
    first, second = (text for text in there.texts if text.kind == "packet")
    assert [span.text for span in first.spans if span.new] == []
    assert [span.text for span in second.spans if span.new] == [str(AT_WEB_1)]


def test_a_lost_packet_ends_at_the_machine_that_had_it_last() -> None:
    (there,) = draw_journey(DROPPED, "default_client")
    assert [rect.bad for rect in there.rects] == [True]
    assert lines(there)[-1] == ("bad", "✗ dropped: seen no further")
    assert ("packet", "10.244.1.2:40001 → 10.96.0.20:80") in lines(there)
    assert [arrow.bad for arrow in there.arrows] == [True]


def test_a_packet_that_never_left_is_drawn_at_its_client() -> None:
    (there,) = draw_journey(replace(DROPPED, there=()), "default_client")
    assert lines(there) == [("name", "Pod default/client"), ("bad", "✗ dropped: nothing left it")]


def test_a_reply_that_was_lost_is_drawn_on_its_way_back() -> None:
    journey = replace(DELIVERED, outcome="dropped", ending=Ending(kind="reply lost", last=DELIVERED.back[0]))
    _, back = draw_journey(replace(journey, back=journey.back[:1]), "default_client")
    assert lines(back)[-1] == ("bad", "✗ lost: seen no further")


def test_what_a_proxy_relayed_has_both_connections() -> None:
    before, after = Connection(AT_CLIENT, AT_SERVICE), Connection(Endpoint.of("172.18.0.3", 4), AT_WEB_1)
    change = Change("relayed", "worker-1", before, after, 2)
    there, _ = draw_journey(replace(DELIVERED, changes=(change,)), "default_client")
    said = [text for kind, text in lines(there) if kind == "change"]
    assert said == ["relayed by a proxy", str(before), f"→ {after}"]


def test_a_rewrite_without_a_frame_is_drawn_where_it_was_made() -> None:
    change = Change("SNAT", "worker-1", AT_CLIENT, Endpoint.of("172.18.0.3", 40000), 99)
    there, _ = draw_journey(replace(DELIVERED, changes=(change,)), "default_client")
    assert ("change", "SNAT: source") in lines(there)


def test_long_names_are_cut_and_told_whole() -> None:
    name = f"default_{'x' * 200}"
    (there,) = draw_journey(replace(DROPPED, there=()), name)
    assert there.texts[0].full == machine_name(name)
    assert len("".join(span.text for span in there.texts[0].spans)) <= 41


@given(st.sampled_from([DELIVERED, DROPPED]), st.integers(0, 4), st.integers(0, 2))
def test_everything_is_inside(journey: Journey, there: int, back: int) -> None:
    cut = replace(journey, there=journey.there[:there], back=journey.back[:back])
    for picture in draw_journey(cut, "default_client"):
        bottoms = [rect.y + rect.height for rect in picture.rects] + [
            arrow.bottom for arrow in picture.arrows
        ]
        bottoms += [text.y for text in picture.texts]
        assert max(bottoms) <= picture.height
        assert all(0 <= text.x <= WIDTH for text in picture.texts)
        ys = [text.y for text in picture.texts]
        assert ys == sorted(ys)
