"""podwire: a packet-level emulator of the Kubernetes network.

Data goes one way. ``load`` reads what the user wrote as ``objects``; the ``store`` keeps them, ``controllers``
fill in what a cluster would, and the result is a ``cluster``. ``schedule`` plans a run: what each kernel must hold (``hostnet``,
``podnet``, ``proxy``, as operations of ``plan``) and which ``flows`` to send, with what the ``oracle``
expects of them. ``run`` builds it (``kernel``, ``workload``), sends (``traffic``), captures (``capture``),
joins frames to ``journeys``, judges (``verdicts``) and tells (``report``). docs/architecture.md has the map.
"""

__version__ = "0.1.0"
