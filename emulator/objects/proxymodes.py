"""Names kube-proxy's modes, and what the objects of a cluster depend on in each.

The command line needs the names before it needs any object, so this module imports no other.
"""

from typing import Literal, TypeAlias

ProxyMode: TypeAlias = Literal["iptables", "nftables", "ipvs", "userspace"]

DEFAULT_MODE: ProxyMode = "iptables"
COMING_MODE: ProxyMode = "nftables"  # Kubernetes 1.40 makes it the default (KEP-5343)
# modes whose kube-proxy answers no healthCheckNodePort
WITHOUT_HEALTH_CHECKS: frozenset[ProxyMode] = frozenset({"userspace"})
# modes that give every node the addresses of Services
BINDING_MODES: frozenset[ProxyMode] = frozenset({"ipvs"})
