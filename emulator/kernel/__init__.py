"""Calls Linux: namespaces, netlink, rule loading, sysctls, limits. It decides nothing."""
