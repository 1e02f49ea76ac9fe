"""Take rules and chains of iptables-nft away by their handles.

``iptables-nft-restore`` (1.8.9) asks the kernel for every rule beside the one that it shall delete, and
decodes and compares them all: 80 ms among 10,000 Services. Here one dump is searched for the bytes of the
rule, which takes half of that, and one batch deletes by handle, without a process whose end waits for RCU
(nft.py). Formats: linux/netfilter/nf_tables.h, nfnetlink.h.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from emulator.kernel.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    attribute,
    attributes,
)
from emulator.plan.rules import Removal

NETLINK_NETFILTER = 12
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES = 0x10, 0x11, 10
NFT_MSG_DELCHAIN, NFT_MSG_GETRULE, NFT_MSG_DELRULE = 5, 7, 8
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE = 1, 2, 3
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME = 1, 3
NFTA_VERDICT_CHAIN = 2

_HEADER = struct.Struct("=IHHII")
_NFGENMSG = 4  # bytes of struct nfgenmsg, before the attributes
_DUMP_SIZE = 1 << 15  # what the kernel fills at most for one read of a dump

Marks: TypeAlias = tuple[bytes, ...]

_COMMENT = re.compile(r'--comment "([^"]*)"')
_HOST = re.compile(r"-[sd] ([0-9.]+)/32")
_JUMP = re.compile(r"-[jg] (\S+)$")


class NfTables:
    """A socket of the network namespace in which it is made. It stays open: to close it is to wait until what
    it deleted is given up.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
        )
        self._socket.bind((0, 0))

    def take_away(self, removals: Sequence[Removal]) -> bool:
        """Do ``removals`` in one transaction.

        False, and nothing is done, where a rule is not told from its neighbours by its bytes, or the kernel
        refuses: iptables itself can then do it, or say what is wrong.
        """
        try:
            messages = [message for removal in removals for message in self._deletions(removal)]
            return self._commit(messages)
        except (OSError, LookupError):
            return False

    def close(self) -> None:
        self._socket.close()

    def _deletions(self, removal: Removal) -> Iterator[bytes]:
        """Raises OSError, and LookupError for a rule that is not found for certain."""
        table = attribute(NFTA_RULE_TABLE, _text(removal.table))
        for chain, rules in removal.rules.items():
            place = table + attribute(NFTA_RULE_CHAIN, _text(chain))
            for handle in self._find(place, [marks_of(rule) for rule in rules]):
                yield _message(NFT_MSG_DELRULE, place + attribute(NFTA_RULE_HANDLE, handle))
        for chain in removal.emptied:
            yield _message(NFT_MSG_DELRULE, table + attribute(NFTA_RULE_CHAIN, _text(chain)))
        for chain in removal.chains:
            yield _message(
                NFT_MSG_DELCHAIN,
                attribute(NFTA_CHAIN_TABLE, _text(removal.table)) + attribute(NFTA_CHAIN_NAME, _text(chain)),
            )

    def _find(self, place: bytes, wanted: Sequence[Marks]) -> Iterator[bytes]:
        """The handle of each rule of ``wanted``. A rule has its own marks: where only one has them all, that
        is it.
        """
        found: list[list[bytes]] = [[] for _ in wanted]
        for data in self._dump(place):
            for marks, handles in zip(wanted, found, strict=True):
                if all(mark in data for mark in marks):
                    handles += [
                        attributes(rule)[NFTA_RULE_HANDLE]
                        for rule in _rules(data)
                        if all(mark in rule for mark in marks)
                    ]
        for handles in found:
            if len(handles) != 1:
                raise LookupError
            yield handles[0]

    def _dump(self, place: bytes) -> Iterator[bytes]:
        """The messages of a chain's rules, several at once."""
        self._socket.send(_message(NFT_MSG_GETRULE, place, NLM_F_DUMP))
        while True:
            data = self._socket.recv(_DUMP_SIZE)
            kind = _HEADER.unpack_from(data)[1]
            if kind == NLMSG_ERROR:
                raise OSError(-struct.unpack_from("=i", data, _HEADER.size)[0], "NFT_MSG_GETRULE")
            if kind == NLMSG_DONE:  # it comes by itself (net/netfilter/nf_tables_api.c, nf_tables_dump_rules)
                return
            yield data

    def _commit(self, messages: Sequence[bytes]) -> bool:
        """Whether the kernel did all of ``messages``; it does all or nothing."""
        begin = _nfnetlink(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, socket.AF_UNSPEC, NFNL_SUBSYS_NFTABLES)
        end = _nfnetlink(NFNL_MSG_BATCH_END, NLM_F_REQUEST, socket.AF_UNSPEC, NFNL_SUBSYS_NFTABLES)
        self._socket.send(b"".join((begin, *messages, end)))
        codes = [struct.unpack_from("=i", answer, _HEADER.size)[0] for answer in self._answers()]
        # each is acknowledged, or refused; what fails as a whole is told of its beginning
        return codes == [0] * len(messages)

    def _answers(self) -> Iterator[bytes]:
        """All that the kernel has answered to what was sent: it is done when ``send`` returns."""
        while True:
            try:
                yield self._socket.recv(8192, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return


def marks_of(rule: str) -> Marks:
    """What must be among the bytes of ``rule`` as the kernel dumps it: its comment, its hosts and the chain
    that it leads to. (One that leads to no chain, but to DROP, say, has no such mark, nor has any other: none
    is found.)
    """
    chains = [attribute(NFTA_VERDICT_CHAIN, _text(name)) for name in _JUMP.findall(rule)]
    return (*map(_text, _COMMENT.findall(rule)), *map(socket.inet_aton, _HOST.findall(rule)), *chains)


def _rules(data: bytes) -> Iterator[bytes]:
    """The attributes of each rule."""
    offset = 0
    while offset < len(data):
        length = _HEADER.unpack_from(data, offset)[0]
        yield data[offset + _HEADER.size + _NFGENMSG : offset + length]
        offset += (length + 3) & ~3


def _message(kind: int, payload: bytes, flags: int = NLM_F_ACK) -> bytes:
    return _nfnetlink(NFNL_SUBSYS_NFTABLES << 8 | kind, NLM_F_REQUEST | flags, socket.AF_INET, 0, payload)


def _nfnetlink(kind: int, flags: int, family: int, resource: int, payload: bytes = b"") -> bytes:
    return (
        _HEADER.pack(_HEADER.size + _NFGENMSG + len(payload), kind, flags, 0, 0)
        + struct.pack("!BBH", family, 0, resource)
        + payload
    )


def _text(text: str) -> bytes:
    return text.encode() + b"\0"
