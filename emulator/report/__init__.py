"""The files and texts that show what a run found: pcapng, tables, JSON, YAML, JUnit, bundles.

Everything here is pure and made from ``model.results.Report`` and raw frames, except ``files``, which writes.
"""
