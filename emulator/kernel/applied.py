"""Holds what the kernel has of a cluster after its plans were applied."""

from __future__ import annotations

from ..model.notices import RunNotice
from .links import Links
from .netns import Namespaces
from .rules import RuleLoader
from .sysctls import DeviceDefaults, Sysctls


class Applied:
    """Holds the namespaces, their links, and the rule loader. ``notices`` name deviations from the
    usual way.
    """

    def __init__(self, iptables: str = "iptables-restore") -> None:
        """Starts empty. ``iptables``: the restore command of the flavour in use (iptables-nft-restore or
        iptables-legacy-restore).
        """
        self.namespaces = Namespaces()
        self.links = Links(self.namespaces)
        self.rules = RuleLoader(self.namespaces, iptables)
        self.defaults = DeviceDefaults()
        self.sysctls = Sysctls()
        self.notices: list[RunNotice] = []

    @property
    def iptables(self) -> str:
        """Returns the restore command in use."""
        return self.rules.iptables

    @property
    def ports(self) -> dict[str, set[int]]:
        """Returns the interface indexes of bridge ports, by namespace."""
        return self.links.ports

    def interfaces(self, netns: str) -> dict[int, str]:
        """Returns interface index → name of every link in ``netns`` that a plan made, and ``lo``."""
        return self.links.names(netns)

    def wait_until_up(self, seconds: float = 5) -> None:
        """Waits until every link carries packets (:meth:`Links.wait_until_up`)."""
        self.links.wait_until_up(seconds)

    def close(self) -> None:
        """Closes the sockets and libraries; the namespaces stay, as long as the sandbox does."""
        self.links.close_sockets()
        self.sysctls.close()
        self.rules.close()
