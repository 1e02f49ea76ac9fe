"""Sends flows by real sockets and as crafted packets, and awaits answers."""
