"""Loads small texts with libnftables in this process, into one network namespace.

A process (``nft -f -``) waits at its end until the kernel has freed the objects that its transaction deleted:
closing a netlink socket flushes that work (net/netfilter/nf_tables_api.c, nft_rcv_nl_event), which lasts an
RCU grace period, 10 to 20 ms. Here the socket stays open. Facts of the interface: libnftables(3), libnftables
1.0.6.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Protocol, cast

_SONAME = "libnftables.so.1"


class _Library(Protocol):
    def nft_ctx_new(self, flags: int) -> int | None: ...
    def nft_ctx_free(self, ctx: int) -> None: ...
    def nft_ctx_buffer_output(self, ctx: int) -> int: ...
    def nft_ctx_buffer_error(self, ctx: int) -> int: ...
    def nft_ctx_get_error_buffer(self, ctx: int) -> bytes: ...
    def nft_run_cmd_from_buffer(self, ctx: int, text: bytes) -> int: ...


@cache
def _library() -> _Library | None:
    """Returns the library; None if there is none: an nft that was linked statically."""
    try:
        library = ctypes.CDLL(_SONAME)
    except OSError:
        return None
    pointer = ctypes.c_void_p
    library.nft_ctx_new.argtypes, library.nft_ctx_new.restype = [ctypes.c_uint32], pointer
    library.nft_ctx_free.argtypes, library.nft_ctx_free.restype = [pointer], None
    library.nft_ctx_buffer_output.argtypes = library.nft_ctx_buffer_error.argtypes = [pointer]
    library.nft_ctx_get_error_buffer.argtypes, library.nft_ctx_get_error_buffer.restype = (
        [pointer],
        ctypes.c_char_p,
    )
    library.nft_run_cmd_from_buffer.argtypes = [pointer, ctypes.c_char_p]
    return cast(_Library, library)


class Nft:
    """Loads texts into the network namespace in which it was made."""

    def __init__(self, library: _Library) -> None:
        self._library = library
        context = library.nft_ctx_new(0)
        if context is None:
            raise MemoryError
        self._context = context
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)

    def load(self, text: str) -> str:
        """Loads ``text`` in one transaction; returns its error, or "" if it was loaded."""
        if not self._library.nft_run_cmd_from_buffer(self._context, text.encode()):
            return ""
        return self._library.nft_ctx_get_error_buffer(self._context).decode(errors="replace") or "refused"

    def close(self) -> None:
        self._library.nft_ctx_free(self._context)


def open_nft() -> Nft | None:
    """Returns a loader; None if this machine has no libnftables."""
    library = _library()
    return Nft(library) if library else None
