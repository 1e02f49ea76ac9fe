"""Names kube-proxy's modes.

The command line needs the names before it needs any object, so this module imports no other.
"""

from typing import Literal, TypeAlias

ProxyMode: TypeAlias = Literal["iptables", "nftables", "ipvs", "userspace"]
