"""Whose account a sandbox runs under on the host, and what it is called inside. Pure but for asking who we are."""

import os
from dataclasses import dataclass

AGENT_UID = 1000
"""The agent's uid and gid as it sees them."""
AGENT_NAME = "agent"
UNUSED_UID = 60878
"""Where root starts bottles: real root must never run an agent (a process with root's uid may write
/proc/sys/kernel/core_pattern whatever its capabilities). systemd's UIDS-GIDS.md lists 60578-61183 as unused, and it
is below 65536, so that it exists in a container's id map too."""


@dataclass(frozen=True)
class Account:
    """Host uid and gid of everything in the sandbox. `dropped`: we are root, and it is not us."""

    uid: int
    gid: int
    dropped: bool

    @classmethod
    def of_this_process(cls) -> "Account":
        if os.geteuid() == 0:
            return cls(UNUSED_UID, UNUSED_UID, dropped=True)
        return cls(os.getuid(), os.getgid(), dropped=False)

    def become(self) -> None:
        """Turn this process into that account for good; nothing to do for an ordinary user."""
        if self.dropped:
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)
