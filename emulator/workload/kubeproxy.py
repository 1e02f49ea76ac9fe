"""Starts a real kube-proxy in a node's network namespace, confined as a program of a node
(:mod:`emulator.kernel.container`), and finds out whether its rules are those of a moment.

It gets a KubeProxyConfiguration with the settings that podwire's own rules follow, and a kubeconfig. The
machine's own limits of connections stay as they are: they are no namespace's to set.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from ..cluster.state import ClusterState, ProxySettings
from ..errors import UsageError, printable
from ..kernel.container import PROGRAM, WORKING_DIRECTORY, NodeProgram, contain, own_pid_namespace
from ..kernel.netns import Namespaces, check_output
from ..proxy.backends import BACKENDS, backend_of
from .commands import find_homes

CONFIGURATION = "/run/podwire/kube-proxy.json"
KUBECONFIG = "/run/podwire/kubeconfig"
_TOOLS = "/run/podwire/bin"  # first in its PATH
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAIL = 8192  # bytes at the end of its log
_LAST_LINES = 8
_LONGEST_LINE = 400  # characters
_METRICS = 10249  # its port at 127.0.0.1 (cmd/kube-proxy/app/options.go)
_HEALTH = 10256
_ASKING = 2.0  # seconds for an answer there
_SYNCED = re.compile(
    rb"^kubeproxy_sync_proxy_rules_last_timestamp_seconds(?:\{([^}]*)\})? (\S+)", re.MULTILINE
)
MARK = ("podwire", "sync")  # namespace and name of the Service of a mark
MARKED = "192.0.2.1"  # its address
MARKING = "192.0.2.2"  # its endpoint's


class Mark(NamedTuple):
    """Describes the Service by which podwire knows which state a kube-proxy's rules are of. Its port and its
    endpoint's are the number of the state, so both the Service and the EndpointSlice have come. Nobody dials
    its address: 192.0.2.0/24 is TEST-NET-1 (RFC 5737).
    """

    number: int

    @property
    def port(self) -> int:
        return 1 + self.number % 65535

    def is_in(self, rules: str) -> bool:
        """Returns whether ``rules``, as the mode's tool prints them, have the Service and its endpoint."""
        service, endpoint = map(re.escape, (MARKED, MARKING))
        dialled = rf"{service}(?:/32 .*--dport | \. tcp \. |:){self.port}\b"
        serves = rf"{endpoint}(?:/| \. |:){self.port}\b"
        return re.search(dialled, rules) is not None and re.search(serves, rules) is not None


def check_mode(state: ClusterState) -> None:
    """Raises UsageError if ``state`` has a real kube-proxy, and a mode that no release of today has."""
    if state.proxy.program and not backend_of(state).prints:
        others = ", ".join(mode for mode, backend in BACKENDS.items() if backend.prints)
        raise UsageError(
            f"--kube-proxy: kube-proxy has no mode {state.proxy.mode} since v1.26; --proxy-mode names "
            f"another ({others})"
        )


def configuration(state: ClusterState, node: str, pace: str) -> dict[str, Any]:
    """Returns the KubeProxyConfiguration of ``node``. ``pace``: the shortest time between two syncs, "" as
    kube-proxy has it (one second).
    """
    proxy = state.proxy
    paced = {"minSyncPeriod": pace} if pace else {}
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": proxy.mode,
        "hostnameOverride": node,
        "clusterCIDR": proxy.clusterCIDR,
        "detectLocalMode": proxy.localMode or "ClusterCIDR",
        "detectLocal": {
            "bridgeInterface": state.podNetwork.interface,
            "interfaceNamePrefix": state.podNetwork.interfacePrefix,
        },
        "nodePortAddresses": list(proxy.nodePortAddresses),
        "iptables": {
            "masqueradeAll": proxy.masqueradeAll,
            "localhostNodePorts": proxy.localhostNodePorts,
            **paced,
        },
        "nftables": {"masqueradeAll": proxy.masqueradeAll, **paced},
        "ipvs": _ipvs(proxy),
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        # podwire's API answers JSON alone
        "clientConnection": {
            "kubeconfig": KUBECONFIG,
            "contentType": "application/json",
            "acceptContentTypes": "application/json",
        },
    }


def _ipvs(proxy: ProxySettings) -> dict[str, Any]:
    timeouts = proxy.ipvsTimeouts
    return {
        "scheduler": proxy.scheduler,
        "strictARP": proxy.strictARP,
        "tcpTimeout": f"{timeouts.tcp}s",
        "tcpFinTimeout": f"{timeouts.tcpFin}s",
        "udpTimeout": f"{timeouts.udp}s",
    }


@dataclass(frozen=True, slots=True)
class KubeProxy:
    """Holds a kube-proxy that was started on ``node``. ``log`` has what it says."""

    node: str
    process: subprocess.Popen[bytes]
    command: str
    log: Path

    def how_it_ended(self) -> str:
        """Returns a sentence with its last lines, "" as long as it runs."""
        code = self.process.poll()
        if code is None:
            return ""
        how = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        return f"kube-proxy on {self.node} has ended {how} ({self.command}){self.last_lines()}"

    def last_lines(self) -> str:
        """Returns the end of its log, for the end of a message."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
        said = [printable(line)[:_LONGEST_LINE] for line in lines if line][-_LAST_LINES:]
        return (
            "".join(f"\n  {line}" for line in ["its last lines:", *said]) if said else "\n  it said nothing"
        )

    def end(self) -> None:
        """Ends it, with all that it started."""
        self.process.kill()  # PID 1 of its PID namespace
        self.process.wait()


def start_kube_proxy(
    namespaces: Namespaces,
    state: ClusterState,
    node: str,
    kubeconfig: str,
    log: Path,
    *,
    iptables: str,
    pace: str = "",
) -> KubeProxy:
    """Starts the kube-proxy of ``node``. ``iptables`` is the restore command of the flavour that it is to use
    (``iptables-nft-restore``). Raises OSError with a sentence if it cannot be started.
    """
    program = state.proxy.program
    if program is None:
        raise AssertionError("podwire makes the rules")
    files = {CONFIGURATION: json.dumps(configuration(state, node, pace)), KUBECONFIG: kubeconfig}
    what = NodeProgram(program.path, _flavoured(iptables))
    argv = [PROGRAM, f"--config={CONFIGURATION}", "--v=2"]
    process = _start(namespaces, node, argv, what, files, log)
    shown = shlex.join([program.path, f"--config={os.path.basename(CONFIGURATION)}", "--v=2"])
    return KubeProxy(node, process, f"{shown}, mode {state.proxy.mode}", log)


def ask_release(path: str) -> str:
    """Returns what the kube-proxy at ``path`` says to ``--version`` (``Kubernetes v1.37.2``), run confined.
    Must be called in a sandbox. Raises OSError with a sentence.
    """
    namespaces = Namespaces()
    namespaces.create("version")
    with open("/run/version", "w+b") as file:
        what = NodeProgram(path, {})
        process = _start(namespaces, "version", [PROGRAM, "--version"], what, {}, Path(file.name))
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise OSError("it does not answer --version") from None
        return Path(file.name).read_text(errors="replace").strip().partition("\n")[0]


def _flavoured(iptables: str) -> dict[str, str]:
    """Returns the links by which ``iptables`` means the flavour of the restore command ``iptables``."""
    links = {}
    tool, flavour, _ = iptables.partition("-")[0], *iptables.partition("-")[2].partition("-")[::2]
    if flavour in ("nft", "legacy"):
        for family in (tool, "ip6tables"):
            for task in ("", "-save", "-restore"):
                if found := shutil.which(f"{family}-{flavour}{task}"):
                    links[f"{_TOOLS}/{family}{task}"] = found
    return links


def _start(
    namespaces: Namespaces,
    node: str,
    argv: Sequence[str],
    program: NodeProgram,
    files: Mapping[str, str],
    output: Path,
) -> subprocess.Popen[bytes]:
    homes = find_homes()
    reader, writer = os.pipe()

    def become() -> None:
        try:
            contain(node, WORKING_DIRECTORY, homes, files, node=program)
        except Exception as error:
            os.write(writer, pickle.dumps(str(error)[:4000]))
            raise

    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        with own_pid_namespace():
            return namespaces.call_in(
                node,
                lambda: subprocess.Popen(
                    argv,
                    env={"PATH": f"{_TOOLS}:{_PATH}", "HOME": WORKING_DIRECTORY, "NODE_NAME": node},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    preexec_fn=become,  # no other thread runs here
                    start_new_session=True,
                ),
            )
    except (OSError, subprocess.SubprocessError) as error:
        os.set_blocking(reader, False)
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        with suppress(BlockingIOError):
            why = pickle.loads(os.read(reader, 1 << 16))  # noqa: S301 - our own child wrote it
        raise OSError(printable(f"cannot run {program.program}: {why}")) from None
    finally:
        for fd in (log, reader, writer):
            os.close(fd)


# --- its rules ---------------------------------------------------------------------------------------------


def rules_in(namespaces: Namespaces, node: str, prints: Sequence[str], iptables: str) -> str:
    """Returns the rules in the kernel of ``node``, as the command ``prints`` of the mode shows them. Raises
    KernelError.
    """
    command, *rest = prints
    if command == "iptables-save":
        command = iptables.replace("-restore", "-save")
    return check_output(namespaces, node, [command, *rest])


def has_synced(namespaces: Namespaces, node: str) -> bool:
    """Returns whether the kube-proxy of ``node`` has brought rules to the kernel once, by its own metrics.
    The first time is after all objects have come.
    """
    found = _SYNCED.findall(_ask(namespaces, node, _METRICS, "/metrics")[1])
    own = [value for labels, value in found if not labels or b"IPv4" in labels]
    return any(float(value) > 0 for value in own)


def is_stuck(namespaces: Namespaces, node: str) -> bool:
    """Returns whether the kube-proxy of ``node`` says that it cannot bring its rules to the kernel: its
    healthz is 503 where a change has waited for two sync periods (pkg/proxy/healthcheck/proxy_health.go).
    """
    return _ask(namespaces, node, _HEALTH, "/healthz")[0] == 503


def _ask(namespaces: Namespaces, node: str, port: int, path: str) -> tuple[int, bytes]:
    """Returns the status and body of an answer; 0 if there is none."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_ASKING)
    try:
        namespaces.call_in(node, connection.connect)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()
