"""The smallest program that stays: an ELF file of some 130 bytes that waits for ever. What a probe runs, since no
image can be counted on and no registry is asked. Pure data, for the machines we run on.
"""

import io
import struct
import tarfile

PATH = "/wait"
_BASE = 0x400000
_HEADERS = 64 + 56
_MACHINES = {
    # mov eax, 34 (pause); syscall; jmp back
    "x86_64": (62, bytes.fromhex("b822000000 0f05 ebf7")),
    # mov x0..x4, 0; mov x8, 73 (ppoll); svc 0; b back
    "aarch64": (183, b"".join(struct.pack("<I", word) for word in (
        0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800004, 0xD2800928, 0xD4000001, 0x17FFFFF9,
    ))),
}  # fmt: skip
_MACHINES["arm64"] = _MACHINES["aarch64"]


def program(machine: str) -> bytes:
    """The file. Raises KeyError for an unknown machine."""
    number, code = _MACHINES[machine]
    size = _HEADERS + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return ident + header + segment + code


def image(machine: str) -> bytes:
    """A file system with nothing but the program, as a tar archive."""
    data = program(machine)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo(PATH.lstrip("/"))
        entry.size, entry.mode = len(data), 0o755
        archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()
