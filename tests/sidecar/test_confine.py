"""What a sidecar gives up: each is tried by a process that has."""

import asyncio
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="confinement is Linux only")


async def test_what_the_sidecar_may_not_do_any_more():
    code = (
        "import os,socket,sys\n"
        "from sidecar import confine\n"
        "missing = confine.isolate() + confine.lock_down(os.open(sys.argv[1], os.O_RDONLY), [])\n"
        "def tried(name, f):\n"
        "    try: f()\n"
        "    except (OSError, PermissionError): print(name, 'held')\n"
        "    else: print(name, 'ESCAPED')\n"
        "tried('fork', os.fork)\n"
        "tried('exec', lambda: os.execv('/bin/true', ['true']))\n"
        "tried('kill', lambda: os.kill(os.getppid(), 0))\n"
        "tried('read', lambda: open('/etc/passwd').read())\n"
        "tried('write', lambda: open('/tmp/x-carboy', 'w'))\n"
        "tried('bind', lambda: socket.socket().bind(('127.0.0.1', 0)))\n"
        "tried('raw', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))\n"
        "tried('unix', lambda: socket.socket(socket.AF_UNIX))\n"
        "import ctypes, resource\n"
        "mine = sys.argv[2]\n"
        "tried('mode', lambda: os.chmod(mine, 0o777))\n"
        "tried('owner', lambda: os.chown(mine, os.geteuid(), os.getegid()))\n"
        "tried('times', lambda: os.utime(mine))\n"
        "tried('attributes', lambda: os.setxattr(mine, 'user.x', b'x'))\n"
        "tried('limits', lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0)))\n"
        "tried('priority', lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 0))\n"
        "tried('processors', lambda: os.sched_setaffinity(os.getppid(), os.sched_getaffinity(0)))\n"
        "def shared():\n"
        "    if ctypes.CDLL(None, use_errno=True).shmget(0, 4096, 0o1600) < 0: raise OSError\n"
        "tried('shared memory', shared)\n"
        "def call(*given):\n"
        "    if ctypes.CDLL(None, use_errno=True).syscall(*given) < 0 and ctypes.get_errno() == 1: raise OSError\n"
        "tried('watching', lambda: call({'x86_64': 254}.get(os.uname().machine, 27), 0, b'/root', 0xFFF))\n"
        "tried('shortening', lambda: call({'x86_64': 76}.get(os.uname().machine, 45), mine.encode(), 0))\n"
        "tried('flags', lambda: call(469, -100, mine.encode(), b'', 24, 0))\n"
        "tried('mounts', lambda: call(467, -100, mine.encode(), 0, 0, 0))\n"
        "tried('what attributes say', lambda: os.listxattr(mine))\n"
        "resource.prlimit(0, resource.RLIMIT_CORE, (0, 0))\n"
        "tried('datagrams', lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))\n"
        "[end.close() for end in socket.socketpair()]\n"
        "open(sys.argv[1] + '/own', 'w').write('x')\n"
        "socket.getaddrinfo('localhost', 80)\n"
        "import threading; t = threading.Thread(target=print, args=('thread runs',)); t.start(); t.join()\n"
        "print(missing)\n"
    )
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as mine:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, folder, mine.name), cwd=Path(__file__).parents[2], stdout=-1, stderr=-1
        )
        out, err = (data.decode() for data in await process.communicate())
    assert "thread runs" in out, err
    missing = out.strip().splitlines()[-1]
    if "seccomp" in missing or "Landlock" in missing:
        pytest.skip(f"this kernel lacks: {missing}")
    assert "ESCAPED" not in out, out
    assert out.count("held") == 22


async def test_the_sidecar_signals_nobody_by_way_of_what_comes_in():
    """Landlock holds it from Linux 6.12 on; this is what holds before."""
    code = (
        "import fcntl,os,socket,struct,sys\n"
        "from sidecar import confine\n"
        "print(confine.isolate())\n"
        "other, (one, two) = int(sys.argv[1]), socket.socketpair()\n"
        "for owner in (\n"
        "    lambda: fcntl.fcntl(one, 10, 9),\n"
        "    lambda: fcntl.fcntl(one, 8, other),\n"
        "    lambda: fcntl.fcntl(one, 15, struct.pack('ii', 1, other)),\n"
        "    lambda: fcntl.ioctl(one, 0x8901, struct.pack('i', other)),\n"
        "    lambda: fcntl.ioctl(one, 0x8902, struct.pack('i', other)),\n"
        "):\n"
        "    try: owner()\n"
        "    except PermissionError: print('held')\n"
        "fcntl.fcntl(one, fcntl.F_SETFL, os.O_NONBLOCK | fcntl.FASYNC)\n"
        "two.send(b'x')\n"
    )
    victim = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, str(victim.pid)), cwd=Path(__file__).parents[2], stdout=-1
        )
        said = (await process.communicate())[0].decode()
        if "seccomp" in said:
            pytest.skip(f"this kernel lacks: {said}")
        assert said.count("held") == 5, said
        victim.send_signal(15)  # it can still be told to end, and by nothing else
        assert await victim.wait() == -15
    finally:
        if victim.returncode is None:
            victim.kill()
            await victim.wait()
