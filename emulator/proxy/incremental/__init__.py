"""Makes the rules of iptables and nftables mode at speed: for ten thousand Services, and for a change of one
of them.

:mod:`emulator.proxy.iptables` and :mod:`emulator.proxy.nftables` define the rules. Here the same rules are
made at less cost; tests/unit/proxy/test_incremental.py holds one way against the other. The entry points are
``iptables.rules`` and ``nftables.rules``.
"""
