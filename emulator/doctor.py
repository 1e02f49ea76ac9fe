"""What this kernel and machine have and lack, found by trying, each with its remedy.

Every kernel feature is tried for real in a sandbox of its own: a module that would be loaded on demand shows as there, one that cannot shows as
missing. Nothing stays.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator import sandbox
from emulator.errors import PodwireError
from emulator.kernel.generic_netlink import find_family


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``required``: podwire's default run does not work without it. ``remedy`` is empty when all is well."""

    group: str
    name: str
    ok: bool
    required: bool
    detail: str = ""
    remedy: str = ""

    @property
    def word(self) -> str:
        return "ok" if self.ok else "MISSING" if self.required else "absent"


_IPTABLES_PROBE = """\
*nat
:PODWIRE-TEST - [0:0]
-A PODWIRE-TEST -p tcp -m comment --comment "probe" -m addrtype --dst-type LOCAL -m tcp --dport 1 -j MARK --set-xmark 0x4000/0x4000
-A PODWIRE-TEST -m statistic --mode random --probability 0.5 -j RETURN
-A PODWIRE-TEST -p tcp -m tcp -j DNAT --to-destination 192.0.2.1:1
-A PODWIRE-TEST -p udp -m udp -j DNAT --to-destination 192.0.2.1:1
-A PREROUTING -j PODWIRE-TEST
-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE --random-fully
COMMIT
*filter
-A FORWARD -m conntrack --ctstate NEW -p tcp -m tcp --dport 1 -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""

_LINKS: Sequence[tuple[str, str, bool]] = (
    ("veth", "ip link add pw0 type veth peer name pw1", True),
    ("bridge", "ip link add pw0 type bridge", True),
    ("vxlan", "ip link add pw0 type vxlan id 1 dstport 4789 local 127.0.0.1", False),
    ("ipip", "ip link add pw0 type ipip local 127.0.0.1 remote 127.0.0.2", False),
    ("geneve", "ip link add pw0 type geneve id 1 remote 127.0.0.2", False),
    ("wireguard", "ip link add pw0 type wireguard", False),
    ("dummy", "ip link add pw0 type dummy", False),
)

_TOOLS: Sequence[tuple[str, str, bool, str]] = (
    ("ip", "iproute2", False, "what is printed by plan, and looking around"),
    ("iptables-restore", "iptables", True, "kube-proxy's rules"),
    ("conntrack", "conntrack", False, "connection tracking in evidence bundles"),
    ("tshark", "tshark", False, "reading captures without a desktop"),
    ("curl", "curl", False, "looking around"),
    ("nft", "nftables", False, "kube-proxy's nftables mode"),
    ("ipset", "ipset", False, "kube-proxy's ipvs mode"),
)

_NO_MODULE = "this kernel has it neither built in nor as a module; a distribution's kernel has: try there, or with scripts/uml"


def examine() -> list[Finding]:
    """Everything that podwire can use, tried."""
    found = [_python(), *_packages(), *_tools(), _descriptors()]
    try:
        sandbox.run(lambda _: None)
    except PodwireError as error:
        remedy = getattr(error, "remedy", "")
        found.append(Finding(group="kernel", name="namespaces", ok=False, required=True, detail=str(error), remedy=remedy))
        return found
    how = "as root" if os.geteuid() == 0 else "unprivileged (user namespace)"
    found.append(Finding(group="kernel", name="namespaces", ok=True, required=True, detail=f"user, mount, PID, network: {how}"))
    return found + sandbox.run(lambda _: _kernel())


def _python() -> Finding:
    return Finding(
        group="machine", name="Python", ok=True, required=True, detail=f"{platform.python_version()}, Linux {platform.release()}"
    )


def _packages() -> list[Finding]:
    needed = ("yaml", "pydantic", "scapy", "pyroute2", "tabulate", "tqdm")
    remedy = "scripts/with-env installs it (requirements.txt)"
    rows = [(name, importlib.util.find_spec(name) is not None) for name in needed]
    return [Finding(group="package", name=name, ok=ok, required=True, remedy="" if ok else remedy) for name, ok in rows]


def _tools() -> list[Finding]:
    rows = []
    for name, package, required, why in _TOOLS:
        path = shutil.which(name)
        rows.append(
            Finding(
                group="tool",
                name=name,
                ok=path is not None,
                required=required,
                detail=path or why,
                remedy="" if path else f"apt-get install {package}",
            )
        )
    return rows


def _descriptors() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ok = hard >= 4096
    return Finding(
        group="machine",
        name="open files",
        ok=ok,
        required=False,
        detail=f"{soft} (hard {hard})",
        remedy="" if ok else "ulimit -Hn: four per Pod",
    )


def _kernel() -> list[Finding]:
    """In the sandbox."""
    found = [_try(name, command.split(), required) for name, command, required in _LINKS]
    _tidy()
    for flavour in ("nft", "legacy"):
        tool = f"iptables-{flavour}-restore"
        failure = _failure([tool], _IPTABLES_PROBE)
        found.append(
            Finding(
                group="kernel",
                name=f"iptables ({flavour})",
                ok=not failure,
                required=False,
                detail=failure.splitlines()[0] if failure else "nat, conntrack, statistic, mark, REJECT",
                remedy="" if not failure else "apt-get install iptables" if shutil.which(tool) is None else _NO_MODULE,
            )
        )
    works = any(f.ok for f in found if f.name.startswith("iptables"))
    found.append(
        Finding(
            group="kernel",
            name="iptables",
            ok=works,
            required=True,
            detail="one flavour at least",
            remedy="" if works else "see the flavours above",
        )
    )
    found.append(_try("nf_tables", ["nft", "add", "table", "ip", "x"], False))
    found.append(_try("ipset", ["ipset", "create", "x", "hash:ip,port"], False))
    found.append(_try("netem", ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"], False))
    bridge = Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()
    found.append(_finding("br_netfilter", bridge, True, "" if bridge else "not loaded", "sudo modprobe br_netfilter"))
    ipvs = find_family("IPVS") is not None
    found.append(_finding("ip_vs", ipvs, False, "" if ipvs else "no netlink family IPVS", _NO_MODULE))
    found.append(_packet_socket())
    return found


def _finding(name: str, ok: bool, required: bool, detail: str, remedy: str) -> Finding:
    return Finding(group="kernel", name=name, ok=ok, required=required, detail=detail, remedy="" if ok else remedy)


def _try(name: str, command: list[str], required: bool) -> Finding:
    failure = _failure(command)
    _tidy()
    return _finding(
        name,
        not failure,
        required,
        failure.splitlines()[0] if failure else "",
        _NO_MODULE if shutil.which(command[0]) else f"the tool {command[0]} is needed to tell",
    )


def _failure(command: list[str], stdin: str = "") -> str:
    """Why ``command`` failed; "" when it did not."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit code {done.returncode}")


def _tidy() -> None:
    subprocess.run(["ip", "link", "del", "pw0"], capture_output=True, check=False)


def _packet_socket() -> Finding:
    from emulator.kernel.netns import Namespaces
    from emulator.kernel.ring import Taps

    def try_it() -> str:
        namespaces, taps = Namespaces(), Taps()
        namespaces.create("probe")
        namespaces.leave()
        try:
            taps.open(namespaces, {"probe": {1: "lo"}}, {}, {"probe": 64})
            taps.close()
        except OSError as error:
            return str(error)
        return ""

    failure = try_it()
    return _finding("AF_PACKET rings", not failure, True, failure or "TPACKET_V2", "CONFIG_PACKET is off in this kernel")


def render(findings: Sequence[Finding]) -> str:
    """A table, and what to do."""
    from tabulate import tabulate

    rows = [(f.group, f.name, f.word, f.detail, f.remedy) for f in findings]
    lacking = [f.name for f in findings if not f.ok and f.required]
    verdict = f"podwire cannot run here yet: {', '.join(lacking)}" if lacking else "podwire runs here."
    return (
        tabulate(rows, headers=("", "what", "", "detail", "remedy"), tablefmt="simple", maxcolwidths=[None, None, None, 60, 60])
        + f"\n\n{verdict}"
    )
