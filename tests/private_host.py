"""Makes a host of its own, in namespaces, with a network and rules: podwire is killed there again and again,
and must leave it as it was.

Run by ``unshare --net --mount --ipc --pid --fork --mount-proc``, so that nothing else that runs on the
machine changes what is compared. Prints what differs, as JSON: nothing, an empty list.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRIVATE = ("/tmp", "/dev/shm", "/run", "/var/tmp")
CAPTURES = "/run/captures"

NETWORK = """
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link set lo up
ip link add eth0 type veth peer name uplink
ip link add br0 type bridge mcast_snooping 0
ip link set uplink master br0
ip address add 192.0.2.1/24 dev eth0
ip address add 198.51.100.1/24 dev br0
ip link set eth0 multicast off
ip link set uplink multicast off
ip link set br0 multicast off
ip link set eth0 up
ip link set uplink up
ip link set br0 up
ip route add default via 192.0.2.254 dev eth0
ip route add 203.0.113.0/24 via 198.51.100.254 dev br0 table 100
ip rule add from 198.51.100.0/24 table 100
ip neighbour add 192.0.2.254 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
ip netns add theirs
iptables-nft -t nat -A POSTROUTING -s 198.51.100.0/24 -j MASQUERADE
iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT
nft add table inet theirs
nft add chain inet theirs input { type filter hook input priority 5 ; }
nft add rule inet theirs input counter
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.default.arp_ignore=0 \
net.ipv4.ip_local_port_range=20000\\ 30000
ipcmk --shmem 4096
"""

COMMANDS = {
    "links": "ip -o link",
    "addresses": "ip -o address",
    "multicast addresses": "ip maddress",
    "routes": "ip route show table all",
    "rules of routing": "ip rule",
    "neighbours": "ip neighbour",
    "names of namespaces": "ip netns list",
    "iptables-nft": "iptables-nft-save",
    "iptables-legacy": "iptables-legacy-save",
    "nftables": "nft list ruleset",
    "connections": "conntrack -L",
    "sysctls": "sysctl -a --pattern ^net\\.",
    "System V objects": "ipcs -a",
}

RUNS = (
    "run",
    "run --captures " + CAPTURES,
    "run --proxy-mode nftables",
    "run --proxy-mode userspace",
    "run --keep",
    "run --all-pairs",
    "run source-address -o json --json /run/report.json --captures " + CAPTURES,
    "diff hairpin --modes iptables,nftables",
    "doctor",
)


def prepare() -> list[str]:
    """Makes the network, and directories that nobody else writes to; returns those that are compared."""
    directories = [
        path
        for path in PRIVATE
        if os.path.isdir(path) and not any(part.is_relative_to(path) for part in (ROOT, Path(sys.prefix)))
    ]
    for path in directories:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
    for line in NETWORK.strip().splitlines():
        subprocess.run(["sh", "-c", line], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return directories


def settle(directories: list[str]) -> dict[str, str]:
    """Returns the host once nothing changes any more: links take a moment to come up."""
    state, deadline = look(directories), time.monotonic() + 20
    while time.monotonic() < deadline:
        time.sleep(1)
        again = look(directories)
        if again == state:
            break
        state = again
    return state


def look(directories: list[str]) -> dict[str, str]:
    """Returns everything of the host that podwire could have changed."""
    state = {}
    for name, line in COMMANDS.items():
        with suppress(FileNotFoundError):
            state[name] = subprocess.run(line.split(), capture_output=True, text=True, check=False).stdout
    for name in ("iptables-nft", "iptables-legacy"):
        # stamps
        state[name] = "\n".join(line for line in state.get(name, "").splitlines() if not line.startswith("#"))
    state["sysctls"] = "\n".join(
        line
        for line in state["sysctls"].splitlines()
        if not line.startswith("net.netfilter.nf_conntrack_count")
    )
    state["mounts"] = Path("/proc/self/mountinfo").read_text()
    state["descriptors"] = "\n".join(sorted(os.listdir("/proc/self/fd")))
    state["packet sockets"] = Path("/proc/net/packet").read_text()
    state["names of sockets"] = "\n".join(
        sorted(
            row.split()[7] for row in Path("/proc/net/unix").read_text().splitlines() if len(row.split()) == 8
        )
    )
    state["processes"] = "\n".join(sorted(others()))
    for directory in (*directories, str(ROOT / "topologies"), str(ROOT / "captures")):
        files = (
            path
            for path in Path(directory).rglob("*")
            if not str(path).startswith((CAPTURES, "/run/report.json"))
        )
        state[f"files in {directory}"] = "\n".join(sorted(map(_describe, files)))
    state["temporary files"] = "\n".join(
        str(path) for path in Path("/run").rglob(".podwire-*") if not str(path).startswith(CAPTURES)
    )
    return state


def _describe(path: Path) -> str:
    stat = path.lstat()
    content = ""
    if path.is_file() and "__pycache__" not in path.parts:
        with suppress(OSError):  # the name of a network namespace
            content = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{path} {stat.st_mode:o} {stat.st_uid} {content}"


def others() -> dict[str, str]:
    """Returns the command lines of all processes but our own, by PID."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.parent.name not in ("1", str(os.getpid())):
                found[f"{path.parent.name} {path.read_bytes()!r}"] = ""
    return found


def tree(pid: int) -> list[int]:
    """Returns ``pid`` and all below it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(path.read_text().rsplit(")", 1)[1].split()[1]), []).append(
                int(path.parent.name)
            )
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def kill_once(draw: random.Random, directories: list[str]) -> str:
    """Starts podwire, kills one of its processes, and waits until all are gone; returns what was done.

    The moment is drawn from the time since podwire started, or since it began to make its sandbox.
    """
    words, delay, number = (
        draw.choice(RUNS),
        draw.uniform(0, 1.6),
        draw.choice((signal.SIGKILL,) * 4 + (signal.SIGTERM, signal.SIGINT)),
    )
    built = draw.random() < 0.75
    if "--captures" not in words and not words.startswith("doctor"):
        words += " --captures none"
    run = subprocess.Popen(
        [sys.executable, str(ROOT / "run_topology.py"), *words.split()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=directories[-1],
    )
    while built and len(tree(run.pid)) == 1 and run.poll() is None:
        time.sleep(0.005)  # it imports and plans, which takes long on a busy machine
    time.sleep(delay)
    victims = tree(run.pid)
    index = draw.randrange(len(victims))
    with suppress(ProcessLookupError):
        os.kill(victims[index], number)
    try:
        run.wait(4)
    except subprocess.TimeoutExpired:
        run.terminate()  # it stays up, or goes on without the tool that was killed
        run.wait(20)
    deadline = time.monotonic() + 10
    while others() and time.monotonic() < deadline:
        with suppress(ChildProcessError):  # we are PID 1, which collects orphans
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.01)
    since = "its sandbox" if built else "its start"
    return (
        f"{words}: {number.name} to process {index} of {len(victims)}, {delay:.3f} s after {since} was begun"
    )


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, list[str]]:
    """Returns the lines that came or went, by what they are of."""
    changes = {}
    for name in before:
        old, new = before[name].splitlines(), after[name].splitlines()
        if old != new:
            changes[name] = [f"- {line}" for line in old if line not in new] + [
                f"+ {line}" for line in new if line not in old
            ]
    return changes


def main(seed: int, times: int) -> None:
    draw = random.Random(seed)
    directories = prepare()
    before, found = settle(directories), []
    for _ in range(times):
        what = kill_once(draw, directories)
        changes = compare(before, look(directories))
        print(what, file=sys.stderr)
        if changes:
            found.append({what: changes})
            break
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
