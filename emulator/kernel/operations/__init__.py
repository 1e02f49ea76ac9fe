"""Does each kind of operation in the kernel: one module for each of ``plan.operations``, with the handlers
and the netlink encoding. All modules of this package are imported with it, so that a new one needs no other
edit.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
