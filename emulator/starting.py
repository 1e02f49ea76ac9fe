"""Ends podwire with one line and the usual exit code by a signal that comes while it is still being imported.

Imported before anything else of ours, and imports only what Python has imported by then, or has built in.
``main`` takes over (:mod:`emulator.kernel.signals`).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # built in; the module signal takes long to import
import gc
import os

# Containers that are made before the collector looks at the new ones (Python's own: 700 or 2,000). A cluster
# of 1,000 Pods makes some two million while it is loaded and planned, and nearly all of them stay.
_NEW_CONTAINERS = 200_000


def _end(number: int, _: object) -> None:
    """Exits at once: an exception would be lost in an import, and nothing is to be cleaned up yet."""
    # the terminal may have written ^C into the line
    line = ("\n" if os.isatty(2) else "") + "podwire: interrupted; everything is cleaned up\n"
    try:
        os.write(2, line.encode())
    finally:
        os._exit(128 + number)


def prepare() -> None:
    """Handles the signals that ask for an end, except those that are inherited ignored."""
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        if _signal.getsignal(number) in (_signal.SIG_DFL, _signal.default_int_handler):
            _signal.signal(number, _end)


def collect_rarely() -> None:
    """Lets the garbage collector look for cycles after many more new objects than Python's own setting:
    loading and planning make millions of objects that stay.
    """
    gc.set_threshold(_NEW_CONTAINERS, 20, 20)
