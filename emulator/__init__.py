"""podwire: a packet-level emulator of the Kubernetes network.

Data goes one way: ``objects`` (load) → ``control`` (what a cluster fills in) → ``podnet``, ``proxy`` and
``plan`` (what each kernel must hold) → ``kernel`` (apply) → ``probe`` (send, capture, correlate, judge)
→ ``evidence`` (tables, JSON, pcapng). The README has the map.
"""

__version__ = "0.1.0"
