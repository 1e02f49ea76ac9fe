"""What every node's kube-proxy is told.

May import ``objects`` and this room. Invariant: ``localMode`` "" stands exactly for "no local-traffic detector".
"""

from __future__ import annotations

from ipaddress import IPv4Network

from emulator.control.findings import Findings
from emulator.control.state import ProxySettings
from emulator.objects.config import Inventory, IPVSTimeouts, KubeProxyConfiguration, ProxyMode
from emulator.objects.durations import parse_duration


def proxy_settings(inventory: Inventory, pod_subnet: IPv4Network, override: ProxyMode | None, findings: Findings) -> ProxySettings:
    """The KubeProxyConfiguration, completed. For the mode, ``override`` (the command line) is strongest, then the
    KubeProxyConfiguration, then ``networking.kubeProxyMode``, then iptables."""
    config = inventory.proxy.object if inventory.proxy else KubeProxyConfiguration()
    shaped = inventory.cluster.object.networking.kubeProxyMode if inventory.cluster else None
    if not override and config.mode and shaped and config.mode != shaped:
        findings.notice(f"the KubeProxyConfiguration's mode {config.mode} is used, not networking.kubeProxyMode {shaped}")
    cluster_cidr = config.clusterCIDR
    local_mode: str = config.detectLocalMode or "ClusterCIDR"
    if local_mode == "ClusterCIDR":
        cluster_cidr = str(pod_subnet) if cluster_cidr is None else cluster_cidr
        local_mode = "ClusterCIDR" if cluster_cidr else ""
    mode = override or config.mode or shaped or "iptables"
    timeouts = (config.ipvs.tcpTimeout, config.ipvs.tcpFinTimeout, config.ipvs.udpTimeout)
    return ProxySettings(
        mode=mode,
        localMode=local_mode,
        clusterCIDR=cluster_cidr or "",
        nodePortAddresses=config.nodePortAddresses,
        masqueradeAll=(config.nftables if mode == "nftables" else config.iptables).masqueradeAll,
        scheduler=config.ipvs.scheduler or "rr",
        ipvsTimeouts=IPVSTimeouts(*(int(parse_duration(text) or 0) for text in timeouts)),
        strictARP=config.ipvs.strictARP,
        localhostNodePorts=config.iptables.localhostNodePorts,
    )
