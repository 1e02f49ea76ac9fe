"""Sets a stopped process's extended state from a buffer of SIZE bytes, as user-mode Linux does:
state_setter.py SIZE

Prints as JSON the error number, and what the process's state is then. With LD_PRELOAD the ptrace of
``scripts/uml.d/ptrace.c`` is tried.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

TRACEME, GETREGSET, SETREGSET, NT_X86_XSTATE = 0, 0x4204, 0x4205, 0x202
XMM0, XSTATE_BV, YMM0_HIGH = 160, 512, 576  # byte offsets in the image (Intel's manual, volume 1, chapter 13)
SSE, AVX = 1 << 1, 1 << 2


class IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long


def regset(request: int, process: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
    """Returns how many bytes went over; a negative number is the error."""
    state = IoVec(ctypes.addressof(buffer), len(buffer))
    failed = libc.ptrace(request, process, NT_X86_XSTATE, ctypes.addressof(state))
    return -ctypes.get_errno() if failed else int(state.length)


def main() -> None:
    child = os.fork()
    if not child:
        libc.ptrace(TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    try:
        whole = ctypes.create_string_buffer(1 << 16)
        size = regset(GETREGSET, child, whole)
        given = ctypes.create_string_buffer(whole.raw[: int(sys.argv[1]) or size], int(sys.argv[1]) or size)
        given[XMM0 : XMM0 + 16] = b"sse state here.."
        if len(given) >= YMM0_HIGH + 16:
            given[YMM0_HIGH : YMM0_HIGH + 16] = b"avx state here.."
        given[XSTATE_BV] = (SSE | AVX).to_bytes(1, "little")
        error = min(0, regset(SETREGSET, child, given))
        regset(GETREGSET, child, whole)
        components = whole.raw[XSTATE_BV]
        found = {
            "error": -error,
            "size": size,
            "sse": whole.raw[XMM0 : XMM0 + 16].decode("latin-1") if components & SSE else "",
            "avx": whole.raw[YMM0_HIGH : YMM0_HIGH + 16].decode("latin-1") if components & AVX else "",
        }
        print(json.dumps(found))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
