"""Reads what a user wrote: targets, YAML documents, their schema and rules, and the Python builder."""
