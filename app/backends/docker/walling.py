"""The system call filter in a kernel of a container's own, which does not heed the engine's profile: the agent's first
program, and each that is started beside it, puts itself under it and then turns into what it is for. The same policy.
"""

import base64

from app.backends.docker.carrier import PYTHON
from app.backends.local import seccomp
from sidecar.kernel.seccomp import Argument, Rule, refuse

_PROGRAM = """
import base64, ctypes, os, signal, sys
class Filter(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ushort), ("code", ctypes.c_char_p)]
code = base64.b64decode(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
whole = Filter(len(code) // 8, code)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(whole), 0, 0):
    sys.exit("carboy: no system call filter: " + os.strerror(ctypes.get_errno()))
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""prctl(2): PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP with SECCOMP_MODE_FILTER. Python ignores two signals; what it turns
into must not."""
_NO_HASTE = Rule("setpriority", (((Argument(2, mask=1 << 31),), refuse()),))
"""gVisor lets anyone ask for a priority below zero."""


def words(*, ptrace: bool = False) -> tuple[str, ...]:
    """What stands before a command line. Raises CarboyError for a machine without a table."""
    return (*PYTHON, _PROGRAM, base64.b64encode(seccomp.program(ptrace=ptrace, more=(_NO_HASTE,))).decode())
