"""Makes the files and texts of a run's results: pcapng, tables, JSON, YAML, JUnit, bundles.

A run's results come as ``model.results.Report`` and raw frames; what commands print of a cluster comes as its
state and its plan. Everything here is pure, except ``files``, which writes files, and ``output``, which
writes the standard streams.
"""
