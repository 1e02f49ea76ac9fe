"""Captures frames in every network namespace, records and decodes them."""
