"""What the Linux kernel offers to lock a process in, called without any library: seccomp and Landlock. Also used by the
local backend; imports nothing of the rest of carboy."""
