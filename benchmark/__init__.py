"""Measures podwire for ``scripts/bench``: seconds, packets and memory, each beside a reference of the same
run.

Data goes one way: ``clusters`` (what is measured on) → ``runs``, ``services``, ``first_packets``,
``throughput`` (the measurements, which yield values of ``figures``) → ``tables``, ``charts``, ``document``
(what is shown); ``cli`` wires them together. Nothing of podwire imports this package.
"""
