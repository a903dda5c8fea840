"""Between a program's terminal and its readers: what a hostile program cannot make it hold."""

import contextlib
import os
import pty
import socket
import tty

from app.processes.relay import INPUT_HIGH, RawReplay, Relay
from app.terminal.emulator import Emulator
from tests.conftest import until

QUESTIONS = b"\x1b[6n" * 1000


async def test_questions_of_a_program_that_never_reads_are_not_heaped_up() -> None:
    """And what the operator types still has room: a ctrl+c must arrive."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(slave, False)
    emulator = Emulator(80, 24, lambda data: relay.reply(data))
    relay = Relay(master, RawReplay(), on_output=emulator.feed, on_end=lambda: None, tty=True)
    asked = answered = 0

    def asks() -> bool:
        nonlocal asked
        with contextlib.suppress(BlockingIOError):
            asked += os.write(slave, QUESTIONS)
        return asked > 256 * 1024

    def reads() -> bool:
        nonlocal answered
        try:
            answered += len(os.read(slave, 65536))
        except BlockingIOError:
            return True
        return False

    await until(asks)
    assert not relay.input_full
    await until(reads)
    assert 0 < answered < INPUT_HIGH
    relay.finish(0)
    os.close(slave)


async def test_a_flood_waits_for_its_reader() -> None:
    """What is on its way to a reader is drawn before the answer to its next key."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(slave, False)
    printed = quiet = 0
    relay = Relay(master, RawReplay(), on_output=lambda data: None, on_end=lambda: None, tty=True)
    here, there = socket.socketpair()
    relay.attach(here, b"", 24, 80)

    def still() -> bool:
        nonlocal printed, quiet
        try:
            printed += os.write(slave, b"y\r\n" * 1000)
            quiet = 0
        except BlockingIOError:
            quiet += 1
        return quiet > 10

    await until(still)
    assert printed < 256 * 1024
    relay.finish(0)
    there.close()
    os.close(slave)
