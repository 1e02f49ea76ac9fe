"""Describes operations as values: the state that each kernel must hold, and why. Pure; ``kernel`` applies
them, ``shell`` prints them.
"""
