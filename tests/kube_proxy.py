"""Finds a real kube-proxy for the tests that need one: the file that PODWIRE_KUBE_PROXY names, or
``real/kube-proxy`` of this checkout, where ``scripts/kube-proxy real`` puts it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PATH = Path(os.environ.get("PODWIRE_KUBE_PROXY") or ROOT / "real" / "kube-proxy")
needs_kube_proxy = pytest.mark.skipif(
    not os.access(PATH, os.X_OK), reason=f"no kube-proxy at {PATH} (scripts/kube-proxy DIR builds one)"
)
