"""Defines the operations that a plan is made of. Each is a frozen value with a reason (``why``), and can be
printed, compared and applied.

A new kind of operation is a module here, and a handler in ``kernel.operations``; nothing else changes
(:mod:`emulator.plan.operations.operation` lists its declarations). MACs are ``aa:bb:cc:dd:ee:ff``; addresses
and routes are CIDR strings. Invariant: a plan of a whole cluster only adds, and may be applied twice; the
plan of a change (:mod:`emulator.plan.difference`) also deletes, and is applied once.
"""

from __future__ import annotations

from emulator.plan.operations.addresses import AddAddress, DelAddress
from emulator.plan.operations.conntrack import DelConnections
from emulator.plan.operations.ipvs import LoadIpset, LoadIpvs
from emulator.plan.operations.links import AddBridge, AddDummy, AddVeth, DelLink
from emulator.plan.operations.namespaces import AddNetns, DelNetns
from emulator.plan.operations.neighbours import AddNeighbour, DelNeighbour, SetNeighbourDefaults
from emulator.plan.operations.operation import Addition, Deletion, Operation, Stage
from emulator.plan.operations.plan import Plan
from emulator.plan.operations.routes import AddRoute, DelRoute
from emulator.plan.operations.rules import ChangeRules, LoadRules
from emulator.plan.operations.sysctls import ResetDevices, SetSysctl

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
