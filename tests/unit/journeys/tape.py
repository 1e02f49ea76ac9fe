"""Makes captures by hand: the frames of packets hop by hop, and the attempts that sent them."""

from __future__ import annotations

from typing import Any

from emulator.journeys.correlate import correlate
from emulator.model.flows import Attempt
from emulator.model.frames import Answer, Frame, make_token
from emulator.model.journeys import Journey
from emulator.net import Endpoint
from emulator.objects.config import FlowProtocol

POD, VIP, WEB = map(Endpoint.parse, ("10.244.1.2:4000", "10.96.0.10:80", "10.244.2.4:8080"))
N1, N2, N1_MASQUERADED = map(Endpoint.parse, ("172.18.0.3:4000", "172.18.0.4:30080", "172.18.0.3:61000"))
TOKEN = make_token("TCP", 9)


def parse(endpoint: Endpoint | str) -> Endpoint:
    return Endpoint.parse(endpoint) if isinstance(endpoint, str) else endpoint


class Tape:
    """Holds frames as the taps of a run would have delivered them: one a nanosecond."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.now = 0

    def see(
        self,
        place: str,
        src: Endpoint | str,
        dst: Endpoint | str,
        flags: str = "S",
        token: int = TOKEN,
        *,
        protocol: str = "TCP",
        reply: bool = False,
        ttl: int = 64,
    ) -> None:
        """Adds a frame. ``place`` is "netns/interface in" or "… out"."""
        where, direction = place.split(" ")
        netns, interface = where.split("/")
        self.now += 1
        (sip, sport), (dip, dport) = parse(src), parse(dst)
        self.frames.append(
            Frame(
                len(self.frames),
                self.now,
                netns,
                interface,
                direction == "out",
                protocol,
                sip,
                sport,
                dip,
                dport,
                ttl,
                flags,
                token,
                reply,
                74,
            )
        )

    def there(
        self,
        *hops: tuple[str, Endpoint | str, Endpoint | str],
        token: int = TOKEN,
        protocol: str = "TCP",
        flags: str = "S",
    ) -> None:
        for place, src, dst in hops:
            self.see(place, src, dst, flags, token, protocol=protocol)

    def back(
        self,
        *hops: tuple[str, Endpoint | str, Endpoint | str],
        token: int = TOKEN,
        protocol: str = "TCP",
        flags: str = "SA",
    ) -> None:
        for place, src, dst in hops:
            self.see(place, src, dst, flags, token, protocol=protocol, reply=True)

    def error(
        self, *hops: tuple[str, Endpoint | str, Endpoint | str], code: str = "3/3", token: int = TOKEN
    ) -> None:
        for place, src, dst in hops:
            self.see(place, src, dst, code, token, protocol="ICMP error", reply=True)


def attempt(
    src: Endpoint | str = POD,
    dst: Endpoint | str = VIP,
    *,
    netns: str = "pod",
    token: int = TOKEN,
    crafted: bool = True,
    started: int = 0,
    finished: int = 10**6,
    error: str = "",
    answer: Answer | None = None,
    protocol: FlowProtocol = "TCP",
) -> Attempt:
    return Attempt(
        flow="f",
        protocol=protocol,
        netns=netns,
        src=parse(src),
        dst=parse(dst),
        token=token,
        crafted=crafted,
        started=started,
        finished=finished,
        error=error,
        answer=answer,
    )


def by_socket(src: Endpoint | str = POD, dst: Endpoint | str = VIP, **fields: Any) -> Attempt:
    return attempt(src, dst, token=0, crafted=False, **fields)


def answer(client: Endpoint | str, local: Endpoint | str | None = None) -> Answer:
    return Answer(
        pod="default/web-0",
        container="web",
        node="worker-2",
        client=parse(client),
        dialled=VIP,
        local=parse(local) if local else None,
    )


def only(tape: Tape, what: Attempt) -> Journey:
    return correlate([what], tape.frames).journeys[0]


THERE = (
    ("pod/eth0 out", POD, VIP),
    ("worker-1/veth1 in", POD, VIP),
    ("worker-1/cbr0 in", POD, WEB),
    ("worker-1/eth0 out", POD, WEB),
    ("worker-2/eth0 in", POD, WEB),
    ("worker-2/cbr0 out", POD, WEB),
    ("worker-2/veth9 out", POD, WEB),
    ("web-0/eth0 in", POD, WEB),
)
BACK = (
    ("web-0/eth0 out", WEB, POD),
    ("worker-2/veth9 in", WEB, POD),
    ("worker-2/cbr0 in", WEB, POD),
    ("worker-2/eth0 out", WEB, POD),
    ("worker-1/eth0 in", WEB, POD),
    ("worker-1/cbr0 out", VIP, POD),
    ("worker-1/veth1 out", VIP, POD),
    ("pod/eth0 in", VIP, POD),
)


def pod_to_service() -> Tape:
    tape = Tape()
    tape.there(*THERE)
    tape.back(*BACK)
    return tape


def masqueraded(value: int, src: str, dst: str = WEB) -> tuple[tuple[str, str, str, int], ...]:
    return ("worker-1/eth0 out", src, dst, value), ("web-0/eth0 in", src, dst, value)


def reply(tape: Tape, value: int, src: str) -> None:
    tape.back(("web-0/eth0 out", WEB, src), ("worker-1/eth0 in", WEB, src), token=make_token("TCP", value))
