"""Emulates the Kubernetes network at the level of packets.

Data goes one way. ``load`` reads the user's input as ``objects``; the ``store`` keeps them, ``controllers``
fill in what a cluster would, and the result is a ``cluster``. ``schedule`` plans a run: the state of each
kernel (``hostnet``, ``podnet``, ``proxy``, as operations of ``plan``) and the ``flows`` to send, with the
expectations of the ``oracle``. ``run`` builds it (``kernel``, ``workload``), sends (``traffic``), captures
(``capture``), joins frames to ``journeys``, judges (``verdicts``) and writes (``report``).
docs/architecture.md has the map.
"""

__version__ = "0.1.0"
