"""Bottles on this machine without a daemon or root: Linux namespaces, seccomp, Landlock and rlimits."""
