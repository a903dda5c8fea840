"""What git, ssh and gitleaks may do: the confinement of the process that starts them, and of each of them.

The starter encloses itself once (`enclose`), and all it starts inherits that. Before a program is executed it gives up
more (`before_exec`): time, memory, and for everything that reads a bottle's bytes the network as a whole.
"""

import errno
import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from sidecar import confine
from sidecar.gitgate import limits
from sidecar.kernel import landlock, libc, seccomp
from sidecar.kernel.seccomp import Argument, Filter, Rule

_NEEDED = frozenset(
    {
        *("execve", "fork", "vfork", "kill", "tkill", "rt_sigqueueinfo"),
        # git's own files are read-only, and packs that are used are made young again
        *("chmod", "fchmod", "fchmodat", "fchmodat2", "utime", "utimes", "utimensat", "futimesat"),
    }
)
_NAMESPACES = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME (linux/sched.h)."""
_UNIX = 1
_STREAMS = tuple(1 | flags for flags in (0, 0x80000, 0x800, 0x80800))
"""SOCK_STREAM with CLOEXEC and NONBLOCK."""
_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/nix/store")
_ETC = (
    "passwd",
    "nsswitch.conf",
    "resolv.conf",
    "hosts",
    "host.conf",
    "gai.conf",
    "services",
    "ssl",
    "pki",
    "localtime",
)
_MORE_ETC = ("ld.so.cache", "ca-certificates", "gnutls", "crypto-policies", "alternatives")
_RESOLVERS = ("/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf")
PROGRAMS = ("git", "gitleaks", "ssh")


def programs() -> dict[str, str]:
    """The programs that are here, with their paths."""
    path = os.environ.get("PATH", os.defpath)
    return {name: found for name in PROGRAMS if (found := shutil.which(name, path=path))}


def enclose(folder: str) -> list[str]:
    """Lock this process in, with all it will start: its own `folder`, the system's programs, no namespaces, nothing
    of other processes. Returns what this kernel lacks."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return ["git's confinement: Linux only"]
    steps: list[tuple[str, Callable[[], None]]] = [
        ("no new privileges", libc.no_new_privileges),
        ("user namespace", confine.own_user_namespace),
        ("capabilities", libc.drop_capabilities),
        ("not dumpable", lambda: libc.set_dumpable(False)),
        ("Landlock", lambda: _files(folder)),
        ("seccomp", _calls),
    ]
    return [f"git: {missing}" for missing in confine.attempt(steps)]


def _files(folder: str) -> None:
    rules = landlock.Ruleset(net=landlock.BIND_TCP, scoped=landlock.SCOPE_ABSTRACT_UNIX | landlock.SCOPE_SIGNAL)
    rules.allow_existing(_SYSTEM, landlock.READ_EXECUTE)
    homes = {str(Path(os.path.realpath(program)).parent.parent) for program in programs().values()}
    rules.allow_existing(homes - {"/"}, landlock.READ_EXECUTE)
    rules.allow_existing({sys.prefix, sys.base_prefix}, landlock.READ)
    rules.allow_existing((f"/etc/{name}" for name in (*_ETC, *_MORE_ETC)), landlock.READ)
    rules.allow_existing(_RESOLVERS, landlock.READ)
    rules.allow_existing(
        ("/dev/null", "/dev/urandom", "/dev/random", "/dev/tty", "/proc/self"), landlock.READ | landlock.WRITE_FILE
    )
    rules.allow(folder, landlock.READ_WRITE)
    rules.enforce()


def _calls() -> None:
    refuse = seccomp.refuse(errno.EPERM)
    denied = tuple(call for call in (*confine.NEVER, *confine.BEYOND) if call not in _NEEDED)
    rules = (
        Rule("clone", (((Argument(0, mask=_NAMESPACES),), refuse),)),
        # to the relay on this host's loopback, by TCP: no look-ups of names, no datagrams
        Rule(
            "socket",
            (
                ((Argument(0, values=(_UNIX, 16)),), seccomp.ALLOW),
                ((Argument(0, values=(2,)), Argument(1, values=_STREAMS)), seccomp.ALLOW),
            ),
            refuse,
        ),
        confine.own_limits(),
    )
    seccomp.install(Filter(denied=denied, missing=confine.MISSING, rules=rules).assemble())


def before_exec(*, online: bool, ssh: bool = False) -> None:
    """In the child, right before its program. `ssh`: it dials the agent that signs, and the connection that is shared.
    All else opens no unix socket: behind those that lie about, the user's bus or an engine's, is what trusts whoever
    has the user's id."""
    for what, most in (
        (resource.RLIMIT_AS, limits.MAX_MEMORY),
        (resource.RLIMIT_FSIZE, limits.MAX_FILE),
        (resource.RLIMIT_CPU, int(limits.FETCH_SECONDS)),
        (resource.RLIMIT_NOFILE, 1024),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    if not sys.platform.startswith("linux"):
        return
    libc.prctl(libc.PR_SET_PDEATHSIG, 9)
    if not online:
        offline = tuple(Rule(call, (), seccomp.refuse(errno.EACCES)) for call in ("socket", "connect", "socketpair"))
        seccomp.install(Filter(rules=offline).assemble())
    elif not ssh:
        inside = Rule("socket", (((Argument(0, values=(_UNIX,)),), seccomp.refuse(errno.EACCES)),))
        seccomp.install(Filter(rules=(inside,)).assemble())
