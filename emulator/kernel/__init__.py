"""Touches Linux, as the only room: namespaces, netlink, rule loading, sysctls, packet rings. It decides
nothing.
"""
