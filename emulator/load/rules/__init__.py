"""Checks single objects by Kubernetes' rules, kind by kind. ``load.validate`` documents the rules and calls
them.
"""
