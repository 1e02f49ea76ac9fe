"""Kubernetes' rules over single objects, kind by kind. ``load.validate`` says what they are and gives each
object to its own.
"""
