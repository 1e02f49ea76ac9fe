"""The fast way to the rules of iptables and nftables mode: ten thousand Services, and a change of one of them.

What the rules are stands in :mod:`emulator.proxy.iptables` and :mod:`emulator.proxy.nftables`. Here the same
rules are made at less cost; tests/unit/proxy/test_incremental.py holds one way against the other. The doors
are ``iptables.rules`` and ``nftables.rules``.
"""
