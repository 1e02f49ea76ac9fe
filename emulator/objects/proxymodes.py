"""Names kube-proxy's modes.

The command line needs the names before it needs any object, so this module imports no other.
"""

from typing import Literal, TypeAlias

ProxyMode: TypeAlias = Literal["iptables", "nftables", "ipvs", "userspace"]

DEFAULT_MODE: ProxyMode = "iptables"
COMING_MODE: ProxyMode = "nftables"  # Kubernetes 1.40 makes it the default (KEP-5343)
