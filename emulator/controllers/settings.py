"""Computes the settings of every node's kube-proxy.

Invariant: ``localMode`` "" stands exactly for "no local-traffic detector". Sources: kube-proxy,
``cmd/kube-proxy/app/options.go`` (flags, which a configuration file makes void) and ``server_linux.go``
(getLocalDetectors: without a clusterCIDR there is no detector); kubeadm, ``componentconfigs/kubeproxy.go`` (a
KubeProxyConfiguration without a clusterCIDR gets the Pod subnet).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from ..cluster.state import ProxySettings
from ..net import (
    Prefix,
    prefixes_of,
)
from ..objects.config import (
    DEFAULT_MODE,
    Inventory,
    IPTablesConfig,
    IPVSConfig,
    IPVSScheduler,
    IPVSTimeouts,
    KubeProxyConfiguration,
    NFTablesConfig,
    ProxyMode,
)
from ..objects.durations import parse_duration
from ..objects.families import BUILT
from ..objects.notices import ModeOverFlag, ModeOverShape, ProxyAssumed, UnreadableFlag
from .clusterflags import ClusterFlags
from .findings import Findings
from .networks import Networks

_DETECTORS = ("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")


def proxy_settings(
    inventory: Inventory,
    networks: Networks,
    flags: ClusterFlags,
    override: ProxyMode | None,
    findings: Findings,
) -> ProxySettings:
    """Returns the KubeProxyConfiguration, or kube-proxy's flags, completed. The mode is ``override`` (the
    command line), else theirs, else ``networking.kubeProxyMode``, else iptables. Assumptions about a dumped
    cluster are notices.
    """
    config = _configuration(inventory, flags, findings)
    shaped = inventory.cluster.object.networking.kubeProxyMode if inventory.cluster else None
    if config and not override and config.mode and shaped and config.mode != shaped:
        findings.notice(ModeOverShape(config.mode, shaped))
    mode = override or (config.mode if config else "") or shaped or DEFAULT_MODE
    local_mode: str = (config.detectLocalMode if config else "") or "ClusterCIDR"
    cluster_cidr = config.clusterCIDR if config else None
    if cluster_cidr is None:
        cluster_cidr = str(networks.podRange or "") if local_mode == "ClusterCIDR" else ""
    if config is None and (
        not networks.podRange or any(loaded.object.metadata.uid for loaded in inventory.nodes)
    ):
        findings.notice(ProxyAssumed(mode, cluster_cidr))
    config = config or KubeProxyConfiguration()
    timeouts = (config.ipvs.tcpTimeout, config.ipvs.tcpFinTimeout, config.ipvs.udpTimeout)
    return ProxySettings(
        mode=mode,
        localMode="" if local_mode == "ClusterCIDR" and not cluster_cidr else local_mode,
        clusterCIDR=cluster_cidr,
        nodePortAddresses=config.nodePortAddresses,
        masqueradeAll=config.masquerades_all(mode),
        scheduler=config.ipvs.scheduler or "rr",
        ipvsTimeouts=IPVSTimeouts(*(int(parse_duration(text) or 0) for text in timeouts)),
        strictARP=config.ipvs.strictARP,
        localhostNodePorts=config.iptables.localhostNodePorts,
    )


def _configuration(
    inventory: Inventory, flags: ClusterFlags, findings: Findings
) -> KubeProxyConfiguration | None:
    """Returns the input's configuration, else that of its kube-proxy's flags; None if it has neither."""
    for conflict in flags.conflicts:
        findings.notice(conflict)
    given = inventory.proxy.object if inventory.proxy else None
    by_flags = flags.proxyFrom and "config" not in flags.proxy
    if given is None:
        return _of_flags(flags, findings) if by_flags else None
    wanted = flags.proxy.get("proxy-mode", "")
    mode = given.mode or DEFAULT_MODE
    if by_flags and wanted and wanted != mode:
        findings.notice(ModeOverFlag(mode, flags.proxyFrom, wanted))
    return given


def _of_flags(flags: ClusterFlags, findings: Findings) -> KubeProxyConfiguration:
    """Returns kube-proxy's command line as a configuration. A value with which it could not have started is
    left out, with a notice.
    """
    read = _Flags(flags.proxy, flags.proxyFrom, findings)
    return KubeProxyConfiguration(
        mode=read.choice("proxy-mode", get_args(ProxyMode)),
        clusterCIDR=read.prefix("cluster-cidr"),
        detectLocalMode=read.choice("detect-local-mode", _DETECTORS),
        nodePortAddresses=read.prefixes("nodeport-addresses"),
        iptables=IPTablesConfig(
            masqueradeAll=read.flag("masquerade-all"),
            localhostNodePorts=read.flag("iptables-localhost-nodeports", default=True),
        ),
        nftables=NFTablesConfig(masqueradeAll=read.flag("masquerade-all")),
        ipvs=IPVSConfig(
            scheduler=read.choice("ipvs-scheduler", get_args(IPVSScheduler)),
            strictARP=read.flag("ipvs-strict-arp"),
            tcpTimeout=read.duration("ipvs-tcp-timeout"),
            tcpFinTimeout=read.duration("ipvs-tcpfin-timeout"),
            udpTimeout=read.duration("ipvs-udp-timeout"),
        ),
    )


class _Flags:
    """Reads flags, whose values are unchecked."""

    def __init__(self, flags: Mapping[str, str], where: str, findings: Findings) -> None:
        self._flags, self._where, self._findings = flags, where, findings

    def _odd(self, name: str) -> None:
        self._findings.notice(UnreadableFlag(name, self._flags[name], self._where))

    def choice(self, name: str, known: tuple[str, ...]) -> Any:
        text = self._flags.get(name, "")
        if text and text not in known:
            self._odd(name)
        return text if text in known else ""

    def flag(self, name: str, *, default: bool = False) -> bool:
        text = self._flags.get(name, "")
        return text.lower() in ("true", "1", "t") if text else default

    def prefixes(self, name: str) -> tuple[str, ...]:
        found = []
        for text in filter(None, (part.strip() for part in self._flags.get(name, "").split(","))):
            try:
                found.append(text if text == "primary" else str(Prefix(text)))
            except ValueError:
                self._odd(name)
        return tuple(found)

    def prefix(self, name: str) -> str:
        """Returns the part in the cluster's family ("" if there is none, as kube-proxy then has it)."""
        return next(iter(prefixes_of(BUILT, self.prefixes(name))), "")

    def duration(self, name: str) -> str:
        text = self._flags.get(name, "")
        if text and parse_duration(text) is None:
            self._odd(name)
            text = ""
        return text or "0s"
