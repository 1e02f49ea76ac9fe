"""Apply a plan: one dumb loop over its operations, batched per network namespace.

Nothing is decided here. Links get interface indexes of our own choosing (counted per namespace), so nothing
needs to be looked up; messages wait in a queue per namespace and are sent when an operation of another stage
comes. To apply a cluster's plan twice is to apply it once; the plan of a change is applied once.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from emulator.errors import KernelError, ToolKilledError
from emulator.kernel import netlink
from emulator.kernel.conntrack import Address, Conntrack
from emulator.kernel.ipvs import load_servers
from emulator.kernel.limits import TOO_LONG, too_long
from emulator.kernel.netns import Namespaces, finish, start
from emulator.kernel.nf_tables import NfTables
from emulator.kernel.nft import Nft, open_nft
from emulator.model.frames import PROTOCOL_NUMBER
from emulator.plan.operations import (
    AddAddress,
    AddBridge,
    AddDummy,
    AddNeighbour,
    AddNetns,
    AddRoute,
    AddVeth,
    DelAddress,
    DelConnections,
    DelLink,
    DelNeighbour,
    DelNetns,
    DelRoute,
    LoadIpset,
    LoadIpvs,
    LoadRules,
    Operation,
    Plan,
    ResetDevices,
    SetNeighbourDefaults,
    SetSysctl,
)
from emulator.plan.operations.ipvs import IPSET
from emulator.plan.rules import removals
from emulator.plan.shell import shell_commands
from emulator.plan.sysctls import DEVICE_DEFAULTS, SCOPES

# What is of one stage waits together; the order is the plan's.
_STAGE: dict[type, int] = {
    **{DelNeighbour: 0, DelRoute: 0, DelAddress: 0, DelLink: 1, DelNetns: 2},
    **{
        AddNetns: 3,
        ResetDevices: 3,
        SetSysctl: 3,
        AddBridge: 4,
        AddDummy: 4,
        AddVeth: 5,
        AddAddress: 6,
        AddRoute: 6,
        AddNeighbour: 6,
        SetNeighbourDefaults: 6,
    },
    **{LoadIpset: 7, LoadIpvs: 7, LoadRules: 8, DelConnections: 9},
}

# characters of a text for nft that this process loads itself; longer ones are loaded by processes, several at
# once
SMALL_TEXT = 65536
LOAD_SECONDS = 600  # for one load of rules, which takes seconds for 10,000 Services


class Applied:
    """What the kernel holds after :func:`apply`: the namespaces and their links' indexes; and, while it is
    applied, a netlink socket each.
    """

    def __init__(self, iptables: str = "iptables-restore") -> None:
        """``iptables``: the restore command of the flavour in use (iptables-nft-restore or
        iptables-legacy-restore).
        """
        self.namespaces = Namespaces()
        self.links: dict[str, dict[str, int]] = {}  # namespace → link → interface index
        self.ports: dict[str, set[int]] = {}  # bridge ports by namespace
        self.iptables = iptables
        self.notices: list[str] = []  # what was done in another way than usual
        self._sockets: dict[str, netlink.NetlinkSocket] = {}
        self._next: dict[str, int] = {}
        self._queues: dict[str, list[tuple[bytes, Operation]]] = {}
        self._halves: list[AddVeth] = []  # pairs whose peer's end is still to be raised
        self._peers: dict[tuple[str, str], tuple[str, str]] = {}  # the other end of each veth
        # links that wait to be deleted, those of a namespace together
        self._doomed: dict[str, list[tuple[int, DelLink]]] = {}
        self._rules: list[LoadRules] = []
        self._nft: dict[str, Nft | None] = {}
        self._nf_tables: dict[str, NfTables] = {}
        self._stale: dict[str, list[DelConnections]] = {}
        # what a new namespace has otherwise than ResetDevices wants it: path, value
        self._unlike: list[tuple[str, str]] | None = None

    def close(self) -> None:
        """Let go of the sockets and libraries; the namespaces stay, as long as the sandbox does."""
        self.close_sockets()
        held: list[NfTables | Nft] = [
            *self._nf_tables.values(),
            *(library for library in self._nft.values() if library),
        ]
        for one in held:
            one.close()

    def interfaces(self, netns: str) -> dict[int, str]:
        """Interface index → name of every link in ``netns`` that a plan made, and ``lo``."""
        return {index: name for name, index in self.links[netns].items()}

    def push(self, op: Operation) -> None:
        """Do ``op``, or queue it until the next :meth:`flush`."""
        match op:
            case AddNetns():
                self._add_netns(op)
            case ResetDevices():
                self._reset_devices(op)
            case SetSysctl():
                self._set_sysctl(op)
            case AddBridge():
                self._push(op.netns, netlink.new_bridge(self._index(op.netns, op.name), op.name, op.mac), op)
            case AddDummy():
                self._push(op.netns, netlink.new_dummy(self._index(op.netns, op.name), op.name), op)
            case AddVeth():
                self._add_veth(op)
            case AddAddress():
                self._push(op.netns, netlink.new_address(self.links[op.netns][op.dev], op.address), op)
            case AddRoute():
                self._push(
                    op.netns,
                    netlink.new_route(self.links[op.netns][op.dev], op.dst, op.via, op.onlink, op.src),
                    op,
                )
            case AddNeighbour():
                self._push(
                    op.netns, netlink.new_neighbour(self.links[op.netns][op.dev], op.address, op.mac), op
                )
            case SetNeighbourDefaults():
                self._push(
                    op.netns, netlink.set_neighbour_parameters(self.links[op.netns][op.dev], op.reachable), op
                )
            case LoadIpset():
                finish(start(self.namespaces, op.netns, list(IPSET)), op.netns, op.text)
            case LoadIpvs():
                self._load_ipvs(op)
            case LoadRules():
                self._rules.append(op)
            case DelNeighbour():
                self._push(op.netns, netlink.delete_neighbour(self.links[op.netns][op.dev], op.address), op)
            case DelRoute():
                self._push(op.netns, netlink.delete_route(self.links[op.netns][op.dev], op.dst, op.via), op)
            case DelAddress():
                self._push(op.netns, netlink.delete_address(self.links[op.netns][op.dev], op.address), op)
            case DelLink():
                self._doomed.setdefault(op.netns, []).append((self.links[op.netns][op.name], op))
                self._forget_link((op.netns, op.name))
            case DelNetns():
                self._delete_netns(op)
            case DelConnections():
                self._stale.setdefault(op.netns, []).append(op)

    def _add_netns(self, op: AddNetns) -> None:
        if op.netns in self.namespaces:
            return
        self.namespaces.create(op.netns)
        self._sockets[op.netns] = netlink.NetlinkSocket()
        self.links[op.netns] = {"lo": 1}
        self._next[op.netns] = 2
        self._push(op.netns, netlink.link_up(1), op)

    def _load_ipvs(self, op: LoadIpvs) -> None:
        refusal = self.namespaces.call_in(op.netns, lambda: load_servers(op))
        if refusal:
            raise KernelError("", shell_commands(op), refusal)

    def _delete_netns(self, op: DelNetns) -> None:
        for name in list(self.links[op.netns]):
            self._forget_link((op.netns, name))
        if held := self._sockets.pop(op.netns, None):
            held.close()
        for library in (self._nft, self._nf_tables):
            if loader := library.pop(op.netns, None):
                loader.close()
        del self._next[op.netns], self.links[op.netns]
        self.namespaces.delete(op.netns)

    def _forget_link(self, link: tuple[str, str]) -> None:
        """``link`` and its other end are no more; their indexes are not given again."""
        ends = [link]
        if link in self._peers:
            ends.append(self._peers[link])
        for end in ends:
            self._peers.pop(end, None)
            self.ports.get(end[0], set()).discard(self.links[end[0]].pop(end[1]))

    def _reset_devices(self, op: ResetDevices) -> None:
        """All new namespaces are alike: what the first one has already is not written into any."""
        self.namespaces.enter(op.netns)
        if self._unlike is None:
            self._unlike = [row for row in _device_defaults() if _read_sysctl(row[0]) not in ("", row[1])]
        for path, value in self._unlike:
            try:
                _write_sysctl(path, value)
            except OSError as error:
                raise KernelError("", shell_commands(op), f"{path}: {error.strerror}") from None

    def _set_sysctl(self, op: SetSysctl) -> None:
        self.namespaces.enter(op.netns)
        try:
            _write_sysctl("/proc/sys/" + op.key.replace(".", "/"), op.value)
        except OSError as error:
            if op.optional and error.errno == errno.ENOENT:
                return
            raise KernelError(op.netns, shell_commands(op), f"{op.key}: {error.strerror}") from None

    def _add_veth(self, op: AddVeth) -> None:
        index, peer_index = self._index(op.netns, op.name), self._index(op.peer_netns, op.peer)
        ends = (op.netns, op.name), (op.peer_netns, op.peer)
        self._peers |= {ends[0]: ends[1], ends[1]: ends[0]}
        peer_fd = self.namespaces[op.peer_netns]
        message = netlink.new_veth(index, op.name, op.mac, peer_fd, peer_index, op.peer, op.peer_mac)
        if op.bridge:
            self.ports.setdefault(op.netns, set()).add(index)
            message += netlink.bridge_port(index, self.links[op.netns][op.bridge], op.hairpin)
            message += netlink.bridge_knows(index, op.peer_mac)
        self._push(op.netns, message, op)
        self._halves.append(op)

    def _finish_veth(self, op: AddVeth) -> None:
        """The peer's half, from inside its namespace, once the pair exists."""
        peer_index = self.links[op.peer_netns][op.peer]
        message = netlink.link_up(peer_index)
        if op.peer_bridge:
            self.ports.setdefault(op.peer_netns, set()).add(peer_index)
            message += netlink.bridge_port(
                peer_index, self.links[op.peer_netns][op.peer_bridge], op.peer_hairpin
            )
            message += netlink.bridge_knows(peer_index, op.mac)
        self._push(op.peer_netns, message, op)

    def wait_until_up(self, seconds: float = 5) -> None:
        """Until every link carries packets; KernelError names one that does not within ``seconds``."""
        deadline = time.monotonic() + seconds
        for netns in self.namespaces:
            while idle := self.namespaces.call_in(netns, netlink.dump_idle_links):
                if time.monotonic() > deadline:
                    name = self.interfaces(netns).get(idle[0], str(idle[0]))
                    raise KernelError(
                        "",
                        f"ip -n {netns} -d link show dev {name}",
                        f"{name} in {netns} has no carrier after {seconds:.0f} s",
                    )
                time.sleep(0.002)

    def add_route(self, op: AddRoute) -> None:
        """Add or replace one route at once, outside any plan (the router's way to an address *via* a chosen
        node).
        """
        self.push(op)
        self.flush()

    def delete_route(self, op: AddRoute) -> None:
        self._push(op.netns, netlink.delete_route(self.links[op.netns][op.dev], op.dst, op.via), op)
        self.flush()

    # --- queues ---

    def _index(self, netns: str, name: str) -> int:
        links = self.links[netns]
        if name not in links:
            links[name] = self._next[netns]
            self._next[netns] += 1
        return links[name]

    def _push(self, netns: str, message: bytes, op: Operation) -> None:
        self._queues.setdefault(netns, []).append((message, op))

    def flush(self) -> None:
        """Send what waits; KernelError names the first operation that the kernel refused, as a command to
        paste.
        """
        doomed, self._doomed = self._doomed, {}
        for netns, links in doomed.items():
            self._push(netns, netlink.delete_links([index for index, _ in links]), links[0][1])
        queues, self._queues = self._queues, {}
        for netns, rows in queues.items():
            for index, error in self._socket(netns).send([message for message, _ in rows]):
                raise KernelError("", shell_commands(rows[index][1]), error)
        halves, self._halves = self._halves, []
        for veth in halves:
            self._finish_veth(veth)

    def _socket(self, netns: str) -> netlink.NetlinkSocket:
        if netns not in self._sockets:
            self._sockets[netns] = self.namespaces.call_in(netns, netlink.NetlinkSocket)
        return self._sockets[netns]

    def close_sockets(self) -> None:
        """Close the netlink sockets: what is applied later opens those that it needs. A cluster of thousands
        of Pods needs its descriptors for other things.
        """
        sockets, self._sockets = self._sockets, {}
        for held in sockets.values():
            held.close()

    def empty_tables(self) -> None:
        """Take all iptables rules away, by the flavour in use, wherever it works."""
        empty = "".join(f"*{table}\nCOMMIT\n" for table in ("mangle", "filter", "nat"))
        for netns in self.namespaces:
            try:
                finish(start(self.namespaces, netns, [self.iptables]), netns, empty)
            except ToolKilledError:
                raise
            except KernelError:
                continue  # it could not have loaded any here either

    def flush_rules(self) -> None:
        """Load the rule texts that wait, as many at once as there are processors, those of one namespace one
        after the other (a transaction of nf_tables fails when another one gets in between).
        """
        rules, self._rules = self._rules, []
        width = (os.cpu_count() or 1) + 1
        while rules:
            now: dict[str, LoadRules] = {}
            later: list[LoadRules] = []
            for op in rules:
                if op.netns in now or len(now) == width:
                    later.append(op)
                else:
                    now[op.netns] = op
            small = [
                op
                for op in now.values()
                if op.tool == "nft" and len(op.text) <= SMALL_TEXT and self._nft_in(op.netns)
            ]
            large = [op for op in now.values() if op not in small and not self._taken_away(op)]
            running = [(start(self.namespaces, op.netns, self._loader(op)), op) for op in large]
            for op in small:
                self._load_here(op)
            for process, op in running:
                with _explained(op):
                    finish(process, op.netns, op.text, LOAD_SECONDS)
            rules = later

    def _taken_away(self, op: LoadRules) -> bool:
        """Whether ``op`` only takes iptables-nft's rules away, and that is done."""
        taken = (
            removals(op.text)
            if self.iptables == "iptables-nft-restore" and op.tool == "iptables-restore"
            else None
        )
        if not taken:
            return False
        if op.netns not in self._nf_tables:
            self._nf_tables[op.netns] = self.namespaces.call_in(op.netns, NfTables)
        return self._nf_tables[op.netns].take_away(taken)

    def _nft_in(self, netns: str) -> Nft | None:
        if netns not in self._nft:
            self._nft[netns] = self.namespaces.call_in(netns, open_nft)
        return self._nft[netns]

    def _load_here(self, op: LoadRules) -> None:
        nft = self._nft_in(op.netns)
        refusal = nft.load(op.text) if nft else ""
        if refusal:
            raise KernelError(op.netns, self._loader(op), refusal, op.text)

    def flush_connections(self) -> None:
        """Forget the connections that wait to be forgotten."""
        stale, self._stale = self._stale, {}
        for netns, rows in stale.items():
            conntrack = self.namespaces.call_in(netns, Conntrack)
            try:
                conntrack.forget(
                    {(PROTOCOL_NUMBER[op.protocol], _address(op.dialled), _address(op.server)) for op in rows}
                )
            except OSError as error:
                raise KernelError("", shell_commands(rows[0]), error.strerror or "") from None
            finally:
                conntrack.close()

    def _loader(self, op: LoadRules) -> list[str]:
        return ["nft", "-f", "-"] if op.tool == "nft" else [self.iptables, "--noflush"]


@contextmanager
def _explained(op: LoadRules) -> Iterator[None]:
    """Say of a transaction of nft that is too large which limit it meets. (iptables has another flavour, which
    meets none.)
    """
    try:
        yield
    except KernelError as error:
        if op.tool != "nft" or TOO_LONG not in error.error:
            raise
        raise too_long(op.netns) from None


def _device_defaults() -> Iterator[tuple[str, str]]:
    """Path and value of everything that ``ResetDevices`` sets."""
    for value, keys in DEVICE_DEFAULTS:
        for key in keys:
            for scope in SCOPES:
                yield f"/proc/sys/net/ipv4/conf/{scope}/{key}", value


def _read_sysctl(path: str) -> str:
    """Returns what stands there; "" if this kernel has no such key."""
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _write_sysctl(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def _address(text: str) -> Address:
    """``ip:port``"""
    ip, port = text.rsplit(":", 1)
    return ip, int(port)


def apply(plan: Plan, applied: Applied | None = None) -> Applied:
    """Make the kernel hold what ``plan`` says; ``applied`` is what an earlier plan of the same cluster left.

    Raises KernelError at the first refusal.
    """
    applied = applied or Applied()
    stage = -1
    try:
        for op in plan.operations:
            if _STAGE[type(op)] != stage:
                stage = _STAGE[type(op)]
                applied.flush()
            applied.push(op)
        applied.flush()
        applied.flush()  # the halves of veth pairs that the flush before left to be finished
        applied.flush_rules()
        applied.flush_connections()
        applied.close_sockets()
    finally:
        applied.namespaces.leave()
    return applied
