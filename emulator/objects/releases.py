"""Lists the releases of kube-proxy that podwire knows, with all behaviour that depends on the release and not
on the mode alone. Pure.

Each column is about packets, not about how rules are laid out. All were read from the source of each release;
v1.30.14, v1.34.3 and v1.37.2 were run as well. The tables of the modes have all that is common to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

# which conntrack entries of UDP a sync deletes (pkg/proxy/conntrack/cleanup.go):
UdpCleanup = Literal[
    # those to an endpoint that went, and to the ClusterIP of a Service that went
    "of what went",
    # those to any address or node port of a Service, but to its serving endpoints; none of a Service that
    # went
    "of every Service",
    # the same, but none of a Service without a serving endpoint
    "of served Services",
    # the same, but of a Service without a serving endpoint those to its addresses, and none to its node port
    "of served node ports",
]


class Release(NamedTuple):
    """Describes a release. ``drops_unowned``: in a mode that guards the Service subnet, packets to an address
    that no Service has are dropped: kube-proxy reads ServiceCIDRs (feature gate MultiCIDRServiceAllocator, on
    from v1.33).
    """

    udp_cleanup: UdpCleanup
    drops_unowned: bool


RELEASES: Mapping[str, Release] = {
    "v1.30": Release(udp_cleanup="of what went", drops_unowned=False),
    "v1.31": Release(udp_cleanup="of what went", drops_unowned=False),
    "v1.32": Release(udp_cleanup="of every Service", drops_unowned=False),
    "v1.33": Release(udp_cleanup="of served Services", drops_unowned=True),
    "v1.34": Release(udp_cleanup="of served Services", drops_unowned=True),
    "v1.35": Release(udp_cleanup="of served Services", drops_unowned=True),
    "v1.36": Release(udp_cleanup="of served Services", drops_unowned=True),
    "v1.37": Release(udp_cleanup="of served node ports", drops_unowned=True),
}
CURRENT = "v1.37"


def known_release(version: str) -> str:
    """Returns the row for a kube-proxy that says it is ``version`` (``v1.34.3``): its own, or the nearest one
    that is known.
    """
    found = re.match(r"v1\.([0-9]+)", version)
    minor = int(found[1]) if found else 0
    older = [name for name in RELEASES if int(name.partition(".")[2]) <= minor]
    return older[-1] if older else next(iter(RELEASES))
