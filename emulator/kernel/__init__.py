"""The only room that touches Linux: namespaces, netlink, rule loading, sysctls, packet rings. It decides
nothing.
"""
