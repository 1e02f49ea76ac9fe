"""Finds the modes of kube-proxy that run on this machine, and the features that its kernel has and lacks, by
trying; each lack has its remedy.

Every kernel feature is tried for real in a sandbox of its own: a module that would be loaded on demand shows
as present, one that cannot be loaded as missing. A remedy is only named where it works: modprobe if this
kernel has the module, a guest if one was started. Nothing stays.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import PodwireError
from ..kernel import sandbox
from ..kernel.environment import INSTALLED, UML_SHOWN
from ..kernel.generic_netlink import find_family
from ..proxy.backend import Tool
from ..proxy.backends import BACKENDS
from ..report.entries import entries, folded
from .guest import KERNEL, why_no_guest


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Holds one result. ``required``: podwire's default run does not work without it. ``remedy`` is empty
    when all is well.
    """

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
-A PODWIRE-TEST -p tcp -m comment --comment "probe" -m addrtype --dst-type LOCAL \
-m tcp --dport 1 -j MARK --set-xmark 0x4000/0x4000
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

_NFT_PROBE = """\
table ip podwire-test {
  set own { type ipv4_addr; comment "probe"; elements = { 192.0.2.1 } }
  map services {
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = { 192.0.2.1 . tcp . 80 : goto service }
  }
  map endpoints {
    typeof numgen random mod 2 : ip daddr . th dport
    elements = { 0 : 192.0.2.2 . 80, 1 : 192.0.2.3 . 80 }
  }
  chain prerouting {
    type nat hook prerouting priority dstnat
    ip daddr . meta l4proto . th dport vmap @services
  }
  chain postrouting {
    type nat hook postrouting priority srcnat
    meta mark & 0x4000 == 0 return
    masquerade fully-random
  }
  chain forward {
    type filter hook forward priority filter
    ct state new ip daddr @own reject
    fib daddr type local drop
  }
  chain service { meta l4proto { tcp, udp, sctp } dnat ip to numgen random mod 2 map @endpoints; }
}
"""

# packages that podwire imports (requirements.in), by the names of their modules
PACKAGES = (
    "aiohttp",
    "argcomplete",
    "cryptography",
    "google_crc32c",
    "re2",
    "h11",
    "jinja2",
    "jsonpatch",
    "jwt",
    "pydantic",
    "pyroute2",
    "tabulate",
    "tqdm",
    "wcwidth",
    "yaml",
)
_LINKS: Sequence[tuple[str, str, bool]] = (
    ("veth", "ip link add pw0 type veth peer name pw1", True),
    ("bridge", "ip link add pw0 type bridge", True),
    ("dummy", "ip link add pw0 type dummy", False),
)

_TOOLS: Sequence[tuple[str, str, bool, str]] = (
    ("ip", "iproute2", False, "what is printed by plan, and looking around"),
    ("iptables-restore", "iptables", True, "kube-proxy's rules"),
    ("conntrack", "conntrack", False, "connection tracking in evidence bundles"),
    ("tshark", "tshark", False, "reading captures without a desktop"),
    ("curl", "curl", False, "looking around"),
)

_MODULES: Mapping[str, str] = {
    "nf_tables": "nf_tables",
    "ipset": "ip_set",
}  # modules with another name than the feature
# features that Debian's user-mode Linux has and other kernels may lack
_IN_GUEST = ("dummy", "ip_vs")


def examine() -> list[Capability]:
    """Tries and returns everything that podwire can use."""
    found = [_python(), *_packages(), *_tools(), _descriptors()]
    try:
        sandbox.run(lambda _: None)
    except PodwireError as error:
        remedy = getattr(error, "remedy", "")
        found.append(
            Capability(
                group="kernel", name="namespaces", ok=False, required=True, detail=str(error), remedy=remedy
            )
        )
        return found
    how = "as root" if os.geteuid() == 0 else "unprivileged (user namespace)"
    found.append(
        Capability(
            group="kernel",
            name="namespaces",
            ok=True,
            required=True,
            detail=f"user, mount, PID, network: {how}",
        )
    )
    found += sandbox.run(lambda _: _kernel())
    absent = [f for f in found if f.group == "kernel" and not f.ok and not f.remedy]
    guest = why_no_guest() if any(f.name in _IN_GUEST for f in absent) else ""
    return [replace(f, remedy=kernel_remedy(f.name, modules(), guest)) if f in absent else f for f in found]


def modules() -> frozenset[str]:
    """Returns the names of the modules that exist for this kernel."""
    try:
        lines = Path("/lib/modules", platform.release(), "modules.dep").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(Path(line.partition(":")[0]).name.partition(".")[0].replace("-", "_") for line in lines)


def kernel_remedy(name: str, modules: frozenset[str], guest: str) -> str:
    """Returns the remedy for a missing kernel feature ``name``. ``guest``: why no guest runs here, "" if one
    does.
    """
    module = _MODULES.get(name, name)
    if module in modules:
        return f"sudo modprobe {module}"
    lacking = "this kernel has no such module"
    if name not in _IN_GUEST:
        return f"{lacking}: a distribution's kernel has it"
    if guest:
        return f"{lacking}, and {KERNEL}, which has it, does not run here: {guest}"
    if name == "ip_vs":
        return f"{lacking}; {KERNEL} has it: podwire diff runs that mode there, and so does {UML_SHOWN}"
    within = (
        f"{UML_SHOWN} podwire …" if INSTALLED else f"scripts/with-env {UML_SHOWN} scripts/with-env podwire …"
    )
    return f"{lacking}; {KERNEL} has it: {within}"


def modes(findings: Sequence[Capability]) -> Mapping[str, str]:
    """Returns the missing features of each mode of kube-proxy on this machine, with the remedy; "" if it
    runs. Modes with the fewest needs come first.
    """
    every_run = [
        f for f in findings if f.required and not f.ok and f.name not in ("iptables", "iptables-restore")
    ]
    needed = {mode: {*(t.name for t in backend.tools), *backend.kernel} for mode, backend in BACKENDS.items()}
    lacking = {
        mode: [*every_run, *(f for f in findings if f.name in names and not f.ok)]
        for mode, names in sorted(needed.items(), key=lambda row: len(row[1]))
    }
    return {
        mode: f"needs {several[0].name}: {several[0].remedy}" if several else ""
        for mode, several in lacking.items()
    }


def _python() -> Capability:
    return Capability(
        group="machine",
        name="Python",
        ok=True,
        required=True,
        detail=f"{platform.python_version()}, Linux {platform.release()}",
    )


def _packages() -> list[Capability]:
    remedy = "scripts/with-env installs it (requirements.txt)"
    rows = [(name, importlib.util.find_spec(name) is not None) for name in PACKAGES]
    return [
        Capability(group="package", name=name, ok=ok, required=True, remedy="" if ok else remedy)
        for name, ok in rows
    ]


def _tools_of_modes() -> Iterator[tuple[str, str, bool, str]]:
    """Yields rows like those of _TOOLS for the tools that only some modes of kube-proxy need."""
    needing: dict[Tool, list[str]] = {}
    for mode, backend in BACKENDS.items():
        for tool in backend.tools:
            if not tool.every_run:
                needing.setdefault(tool, []).append(mode)
    for tool, names in needing.items():
        yield tool.name, tool.package, False, f"kube-proxy's {' and '.join(names)} mode"


def _tools() -> list[Capability]:
    rows = []
    for name, package, required, why in (*_TOOLS, *_tools_of_modes()):
        path = shutil.which(name)
        rows.append(
            Capability(
                group="tool",
                name=name,
                ok=path is not None,
                required=required,
                detail=path or why,
                remedy="" if path else f"sudo apt-get install {package}",
            )
        )
    return rows


def _descriptors() -> Capability:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ok = hard >= 4096
    return Capability(
        group="machine",
        name="open files",
        ok=ok,
        required=False,
        detail=f"{soft} (hard {hard})",
        remedy="" if ok else "ulimit -Hn: two per Pod",
    )


def _kernel() -> list[Capability]:
    """Tries the kernel's features, in the sandbox."""
    found = [_try(name, command.split(), required) for name, command, required in _LINKS]
    _tidy()
    for flavour in ("nft", "legacy"):
        tool = f"iptables-{flavour}-restore"
        failure = _failure([tool], _IPTABLES_PROBE)
        found.append(
            Capability(
                group="kernel",
                name=f"iptables ({flavour})",
                ok=not failure,
                required=False,
                detail=failure.splitlines()[0] if failure else "nat, conntrack, statistic, mark, REJECT",
                remedy="sudo apt-get install iptables" if failure and shutil.which(tool) is None else "",
            )
        )
    works = any(f.ok for f in found if f.name.startswith("iptables"))
    found.append(
        Capability(
            group="kernel",
            name="iptables",
            ok=works,
            required=True,
            detail="one flavour at least",
            remedy="" if works else "one of its flavours: podwire doctor -v says what each lacks",
        )
    )
    found.append(_try("nf_tables", ["nft", "-f", "-"], False, _NFT_PROBE))
    found.append(_try("ipset", ["ipset", "create", "x", "hash:ip,port"], False))
    bridge = Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()
    found.append(
        _finding("br_netfilter", bridge, True, "" if bridge else "not loaded", "sudo modprobe br_netfilter")
    )
    ipvs = find_family("IPVS") is not None
    found.append(_finding("ip_vs", ipvs, False, "" if ipvs else "no netlink family IPVS"))
    found.append(_packet_socket())
    return found


def _finding(name: str, ok: bool, required: bool, detail: str, remedy: str = "") -> Capability:
    """Returns a result about the kernel; ``remedy`` is for features that do not need another kernel
    (:func:`kernel_remedy`).
    """
    return Capability(
        group="kernel", name=name, ok=ok, required=required, detail=detail, remedy="" if ok else remedy
    )


def _try(name: str, command: list[str], required: bool, stdin: str = "") -> Capability:
    tool = command[0]
    if shutil.which(tool) is None:  # a run may do without it
        return _finding(name, False, False, "not tried", f"the tool {tool} is needed to tell")
    failure = _failure(command, stdin)
    _tidy()
    return _finding(name, not failure, required, failure.splitlines()[0] if failure else "")


def _failure(command: list[str], stdin: str = "") -> str:
    """Returns why ``command`` failed; "" when it did not."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit code {done.returncode}")


def _tidy() -> None:
    _failure(["ip", "link", "del", "pw0"])


def _packet_socket() -> Capability:
    from ..capture.ring import Taps
    from ..kernel.netns import Namespaces

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
    return _finding(
        "AF_PACKET rings", not failure, True, failure or "TPACKET_V2", "CONFIG_PACKET is off in this kernel"
    )


def render(findings: Sequence[Capability], *, every: bool = False, width: int = 132) -> str:
    """Returns which modes run here, and what every run lacks; with ``every``, all that was tried as well, and
    each remedy once, in lines of at most ``width`` columns.
    """
    parts = [entries([(mode, obstacle or "ok") for mode, obstacle in modes(findings).items()], width)]
    if every:
        rows = [(f"{f.group:8} {f.name:18} {f.word:7}", f.detail) for f in findings]
        parts.append(entries(rows, width))
        parts.append(entries(_remedies(f for f in findings if not f.ok), width))
    missing = [f for f in findings if not f.ok and f.required]
    known = "".join(f"{f.name} {f.detail}; " for f in findings if f.name in ("Python", "namespaces"))
    verdict = (
        f"podwire cannot run here yet: {', '.join(f.name for f in missing)}"
        if missing
        else "podwire runs here."
    )
    said = [f"{f.name}: {f.detail or 'is missing'}: {f.remedy}" for f in missing if not every]
    said += [f"{known}doctor -v: all that was tried" if not every else known.removesuffix("; "), verdict]
    parts.append("\n".join(folded(line, width, "  ") for line in said if line))
    return "\n".join(part for part in parts if part)


def _remedies(lacking: Iterable[Capability]) -> list[tuple[str, str]]:
    """Returns what is lacking, and its remedy; several with one remedy are one row."""
    names: dict[str, list[str]] = {}
    for finding in lacking:
        names.setdefault(finding.remedy or "nothing is known to help", []).append(finding.name)
    return [("absent", f"{', '.join(several)}: {remedy}") for remedy, several in names.items()]
