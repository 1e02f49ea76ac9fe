"""Defines the operations that a plan is made of. Each is a frozen value with a reason (``why``), and can be
printed, compared and applied.

A new kind of operation is a module here, and a handler in ``kernel.operations``; nothing else changes
(:mod:`emulator.plan.operations.operation` lists its declarations). MACs are ``aa:bb:cc:dd:ee:ff``; addresses
and prefixes are values of ``net``. Invariant: a plan of a whole cluster only adds, and may be applied twice;
the plan of a change (:mod:`emulator.plan.difference`) also deletes, and is applied once.
"""

from __future__ import annotations

from .addresses import AddAddress, DelAddress
from .conntrack import DelConnections
from .ipvs import LoadIpset, LoadIpvs
from .links import AddBridge, AddDummy, AddVeth, DelLink
from .namespaces import AddNetns, DelNetns
from .neighbours import AddNeighbour, DelNeighbour, SetNeighbourDefaults
from .operation import Addition, Deletion, Operation, Stage
from .plan import Plan
from .routes import AddRoute, DelRoute
from .rules import ChangeRules, LoadRules
from .sysctls import ResetDevices, SetSysctl

__all__ = [
    "AddAddress",
    "AddBridge",
    "AddDummy",
    "AddNeighbour",
    "AddNetns",
    "AddRoute",
    "AddVeth",
    "Addition",
    "ChangeRules",
    "DelAddress",
    "DelConnections",
    "DelLink",
    "DelNeighbour",
    "DelNetns",
    "DelRoute",
    "Deletion",
    "LoadIpset",
    "LoadIpvs",
    "LoadRules",
    "Operation",
    "Plan",
    "ResetDevices",
    "SetNeighbourDefaults",
    "SetSysctl",
    "Stage",
]
