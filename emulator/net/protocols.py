"""Numbers transport protocols as the IP header does (IANA, Assigned Internet Protocol Numbers)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

TransportProtocol = Literal["TCP", "UDP", "SCTP"]

PROTOCOL_NUMBER: Mapping[str, int] = {"ICMP": 1, "TCP": 6, "UDP": 17, "SCTP": 132}
