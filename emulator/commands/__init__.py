"""Holds the commands: their arguments and their effects, each importing what it needs when it is called."""
