"""Holds the commands beside a run: their arguments and their effects, each importing what it needs when it is
called.
"""
