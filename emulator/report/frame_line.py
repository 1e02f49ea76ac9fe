"""Describes one frame in a line of text. Pure."""

from __future__ import annotations

from datetime import datetime, timezone

from ..errors import printable
from ..model.frames import Frame
from ..net import Endpoint


def frame_line(frame: Frame) -> str:
    """Returns ``12:00:00.123456789 worker-1/eth0 in TCP 10.244.1.2:40000 > 10.244.2.2:8080 S ttl 64``, in
    UTC.
    """
    seconds, rest = divmod(frame.time, 1_000_000_000)
    when = datetime.fromtimestamp(seconds, timezone.utc).strftime("%H:%M:%S")
    words = [
        f"{when}.{rest:09}",
        f"{frame.netns}/{frame.interface}",
        "out" if frame.outgoing else "in",
        frame.protocol,
    ]
    if frame.ttl:  # an IP packet
        ported = frame.protocol not in ("ICMP", "other")
        ends = [
            str(Endpoint.of(ip, port)) if ported and port else str(ip)
            for ip, port in ((frame.src, frame.sport), (frame.dst, frame.dport))
        ]
        words += [f"{ends[0]} > {ends[1]}", frame.flags, f"ttl {frame.ttl}"]
    words.append(f"length {frame.length}")
    return printable(" ".join(word for word in words if word))
