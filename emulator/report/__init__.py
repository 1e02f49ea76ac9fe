"""Makes the files and texts of a run's results: pcapng, tables, JSON, YAML, JUnit, bundles.

Everything here is pure and made from ``model.results.Report`` and raw frames, except ``files``, which writes,
and ``output``, which prints.
"""
