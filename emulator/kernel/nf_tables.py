"""Deletes rules and chains of iptables-nft by their handles.

``iptables-nft-restore`` (1.8.9) asks the kernel for all rules of the chain of a rule to delete, and decodes
and compares them all: 80 ms among 10,000 Services. Here one dump is searched for the bytes of the rule, which
takes half of that, and one batch deletes by handle, without a process whose end waits for RCU (nft.py).
Formats: linux/netfilter/nf_tables.h, nfnetlink.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence

from ..net import Address, Family
from ..plan.rulechange import TableChange
from ..plan.rules import Marks
from .netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    attribute,
    attributes,
    error_number,
    messages_in,
)

NETLINK_NETFILTER = 12
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES = 0x10, 0x11, 10
NFT_MSG_DELCHAIN, NFT_MSG_GETRULE, NFT_MSG_DELRULE = 5, 7, 8
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE = 1, 2, 3
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME = 1, 3
NFTA_VERDICT_CHAIN = 2

_HEADER = struct.Struct("=IHHII")
_NFGENMSG = 4  # bytes of struct nfgenmsg, before the attributes
_DUMP_SIZE = 1 << 15  # the most that the kernel fills for one read of a dump


class NfTables:
    """Holds a socket of the network namespace in which it is made. It is kept open: close() blocks until the
    kernel has freed the deleted objects.
    """

    def __init__(self, family: Family) -> None:
        """Opens the socket for tables of ``family``."""
        self._family = family.number
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
        )
        self._socket.bind((0, 0))

    def take_away(self, tables: Sequence[TableChange]) -> bool:
        """Does the deletions of ``tables`` in one transaction.

        Returns False, and has done nothing, if a rule's bytes do not identify it, or the kernel refuses:
        iptables itself can then do it, or report the error.
        """
        try:
            messages = [message for table in tables for message in self._deletions(table)]
            return self._commit(messages)
        except (OSError, LookupError):
            return False

    def close(self) -> None:
        self._socket.close()

    def _deletions(self, change: TableChange) -> Iterator[bytes]:
        """Raises OSError, and LookupError for a rule that is not found for certain."""
        name = _text(change.table)
        table = attribute(NFTA_RULE_TABLE, name)
        for edit in change.edits:
            place = table + attribute(NFTA_RULE_CHAIN, _text(edit.chain))
            for handle in self._find(place, [_bytes_of(deletion.marks) for deletion in edit.deleted]):
                yield self._message(NFT_MSG_DELRULE, place + attribute(NFTA_RULE_HANDLE, handle))
        filled = [chain for chain, has_rules in change.vanished if has_rules]
        for chain in (*change.emptied, *filled):
            yield self._message(NFT_MSG_DELRULE, table + attribute(NFTA_RULE_CHAIN, _text(chain)))
        for chain, _ in change.vanished:
            named = attribute(NFTA_CHAIN_TABLE, name) + attribute(NFTA_CHAIN_NAME, _text(chain))
            yield self._message(NFT_MSG_DELCHAIN, named)

    def _find(self, place: bytes, wanted: Sequence[Sequence[bytes]]) -> Iterator[bytes]:
        """Yields the handle of each rule of ``wanted``: the only one in the chain that contains all of these
        byte strings.
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
        """Yields the messages of a chain's rules, several at once."""
        self._socket.send(self._message(NFT_MSG_GETRULE, place, NLM_F_DUMP))
        while True:
            data = self._socket.recv(_DUMP_SIZE)
            kind = _HEADER.unpack_from(data)[1]
            if kind == NLMSG_ERROR:
                raise OSError(error_number(data[_HEADER.size :]), "NFT_MSG_GETRULE")
            if (
                kind == NLMSG_DONE
            ):  # a message of its own (net/netfilter/nf_tables_api.c, nf_tables_dump_rules)
                return
            yield data

    def _commit(self, messages: Sequence[bytes]) -> bool:
        """Returns whether the kernel did all of ``messages``; it does all or nothing."""
        begin = _nfnetlink(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, socket.AF_UNSPEC, NFNL_SUBSYS_NFTABLES)
        end = _nfnetlink(NFNL_MSG_BATCH_END, NLM_F_REQUEST, socket.AF_UNSPEC, NFNL_SUBSYS_NFTABLES)
        self._socket.send(b"".join((begin, *messages, end)))
        codes = [error_number(answer[_HEADER.size :]) for answer in self._answers()]
        # each is acknowledged, or refused; an error of the whole batch names its begin message
        return codes == [0] * len(messages)

    def _message(self, kind: int, payload: bytes, flags: int = NLM_F_ACK) -> bytes:
        kind |= NFNL_SUBSYS_NFTABLES << 8
        return _nfnetlink(kind, NLM_F_REQUEST | flags, self._family, 0, payload)

    def _answers(self) -> Iterator[bytes]:
        """Yields the kernel's answers to the last request: it is done when ``send`` returns."""
        while True:
            try:
                yield self._socket.recv(8192, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return


def _bytes_of(marks: Marks | None) -> Sequence[bytes]:
    """Returns byte strings that a rule must contain as the kernel dumps it. (A verdict such as DROP is no
    chain: no rule has such bytes, and none is found.) Raises LookupError if the marks are not known.
    """
    if marks is None:
        raise LookupError
    found = [_text(marks.comment)] if marks.comment else []
    found += [Address(host).packed for host in marks.hosts]
    return [*found, attribute(NFTA_VERDICT_CHAIN, _text(marks.chain))] if marks.chain else found


def _rules(data: bytes) -> Iterator[bytes]:
    """Yields the attributes of each rule."""
    return (payload[_NFGENMSG:] for _, _, payload in messages_in(data))


def _nfnetlink(kind: int, flags: int, family: int, resource: int, payload: bytes = b"") -> bytes:
    return (
        _HEADER.pack(_HEADER.size + _NFGENMSG + len(payload), kind, flags, 0, 0)
        + struct.pack("!BBH", family, 0, resource)
        + payload
    )


def _text(text: str) -> bytes:
    return text.encode() + b"\0"
