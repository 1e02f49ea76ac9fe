"""Runs ``podwire up`` for tests that talk to a cluster that lives."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# two workers, and a Pod to dial from
CLUSTER = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: control-plane}, {role: worker}, {role: worker}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: worker-1, containers: [{name: c, image: client}]}
"""


@contextmanager
def cluster_up(target: Path, kubeconfig: Path) -> Iterator[subprocess.Popen[str]]:
    """Runs a cluster of ``target`` as long as the context lasts; its kubeconfig is written when it serves."""
    words = [sys.executable, "-m", "emulator", "up", str(target), "--kubeconfig", str(kubeconfig)]
    up = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (kubeconfig.exists() and kubeconfig.read_text()):
            assert up.poll() is None, up.communicate()[0]
            assert time.monotonic() < deadline, "no kubeconfig after 60 s"
            time.sleep(0.05)
        yield up
    finally:
        up.terminate()
        up.communicate(timeout=30)
