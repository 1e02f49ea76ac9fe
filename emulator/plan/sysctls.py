"""Lists the settings that a new network namespace copies from the host, with values that are the same on
every machine. Pure.

A new namespace has the kernel's own defaults, but for ``net.ipv4.conf``: that is copied from the machine's
first namespace (devconf_inherit_init_net, Documentation/admin-guide/sysctl/net.rst). And every new device
copies ``net.ipv4.neigh.default``, which only that first namespace has (net/core/neighbour.c:
neigh_parms_alloc). The list was found by changing every number below ``net`` of a 6.1 kernel and looking into
a namespace made after that. Settings that affect no packet here are left out: IGMP's, ``log_martians``,
``medium_id``, ``tag``, ``bootp_relay``, ``accept_source_route`` (no packet here has a source route) and
``disable_policy``/``disable_xfrm`` (there is no policy).
"""

from __future__ import annotations

# links that exist from the beginning; other links copy "default" when they are made
SCOPES = ("all", "default", "lo")

# The kernel's own defaults (net/ipv4/devinet.c), by value. The forwarding setting comes first: it
# changes accept_redirects.
DEVICE_DEFAULTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "0",
        (
            "forwarding",
            "accept_local",
            "arp_accept",
            "arp_announce",
            "arp_filter",
            "arp_ignore",
            "arp_notify",
            "bc_forwarding",
            "drop_gratuitous_arp",
            "drop_unicast_in_l2_multicast",
            "ignore_routes_with_linkdown",
            "promote_secondaries",
            "proxy_arp",
            "proxy_arp_pvlan",
            "route_localnet",
            "rp_filter",
            "src_valid_mark",
        ),
    ),
    ("1", ("accept_redirects", "arp_evict_nocarrier", "secure_redirects", "send_redirects", "shared_media")),
)

# The kernel's own parameters of a device's neighbours (net/ipv4/arp.c), as ``ip ntable`` names them; times in
# milliseconds.
NEIGHBOUR_DEFAULTS: tuple[tuple[str, int], ...] = (
    ("retrans", 1000),
    ("gc_stale", 60_000),
    ("delay_probe", 5000),
    ("queue", 101),
    ("app_probes", 0),
    ("ucast_probes", 3),
    ("mcast_probes", 3),
    ("locktime", 1000),
)
