"""carboy's own processes: the zygote that forks them, the session holder, and how a process is known for certain."""
