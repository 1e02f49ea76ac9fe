"""Measures in user-mode Linux what this kernel lacks: a module of this package runs there, and prints its
measurements as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmark.clusters import ROOT
from emulator.errors import PodwireError
from emulator.kernel.environment import UML
from emulator.run.guest import KERNEL, MEMORY

IPTABLES = "iptables-legacy-restore"  # the guest has no nf_tables


def run_in_guest(module: str, *words: str) -> Any:
    """Returns the result of ``python -m MODULE WORD…`` in a guest."""
    command = [sys.executable, str(UML), "--memory", MEMORY, sys.executable, "-m", module, *words]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise PodwireError(f"in {KERNEL}: {result.stderr}")
    return json.loads(result.stdout)
