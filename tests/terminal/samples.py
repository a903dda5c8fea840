"""Terminal output made by us: what a coding agent's interface prints, and the corners that vttest looks at."""

import random

WORDS = ("the", "quick", "fox", "reads", "a", "file", "and", "writes", "tests", "while", "thinking", "about", "edges")


def claude_like(frames: int = 400, seed: int = 1) -> bytes:
    """An interface in the style of Claude Code: a growing text, a spinner and an input box, redrawn in place inside
    synchronized updates, true colour, box drawing, some wide characters."""
    chance = random.Random(seed)
    out: list[str] = ["\x1b[?2004h\x1b[?1004h\x1b[?25l"]
    accent, grey = "\x1b[38;2;215;119;87m", "\x1b[38;2;136;136;136m"
    box = (
        f"{grey}╭{'─' * 98}╮\x1b[39m\r\n{grey}│\x1b[39m > {' ' * 94} {grey}│\x1b[39m\r\n{grey}╰{'─' * 98}╯\x1b[39m\r\n"
    )
    out.append(box)
    for frame in range(frames):
        out.append("\x1b[?2026h" + "\x1b[2K\x1b[1A" * 3 + "\x1b[2K\x1b[G")
        kind = chance.random()
        text = " ".join(chance.choice(WORDS) for _ in range(14))
        if kind < 0.5:
            out.append(f"{accent}⏺\x1b[39m {text}\r\n")
        elif kind < 0.8:
            out.append(
                f"  \x1b[38;5;246m⎿ \x1b[39m \x1b[1mRead\x1b[22m {chance.randint(1, 999)} lines "
                "\x1b[2m(ctrl+r)\x1b[22m\r\n"
            )
        else:
            out.append(
                f"  \x1b[48;2;34;92;43m+ {frame:4} 中文 {text[:40]}\x1b[49m\r\n"
                "  \x1b[48;2;122;41;54m- old\x1b[49m\x1b[K\r\n"
            )
        out.append(
            f"{accent}{'·✢✳∗✻✽'[frame % 6]}\x1b[39m \x1b[1mThinking…\x1b[22m {grey}({frame}s · esc)\x1b[39m\r\n"
            "\x1b[1A\x1b[2K"
        )
        out.append(box + "\x1b[?2026l")
    return "".join(out).encode()


def corners() -> bytes:
    """Wrapping, margins, insertion, deletion, erasure, tabs, charsets, colours, wide characters."""
    out = ["\x1b[2J\x1b[H", "x" * 80, "y\r\n", "\x1b[5;10r\x1b[5;1H"]
    out += [f"region {number}\r\n" for number in range(9)]
    out += ["\x1b[6;1H\x1b[2L\x1b[31mtwo inserted\x1b[0m\x1b[8;1H\x1b[M\x1b[5;1H\x1bMreversed\x1b[r"]
    out += [
        "\x1b[12;1Habcdefghij\x1b[12;4H\x1b[2@\x1b[41m\x1b[3P\x1b[0m\x1b[13;1Habcdefghij\x1b[13;3H\x1b[44m\x1b[4X\x1b[0m"
    ]
    out += [
        "\x1b[14;1H",
        "left\x1b[14;70Hright\x1b[14;20H\x1b[1K",
        "\x1b[15;1Hgone\x1b[2K",
        "\x1b[16;1H1\t2\t3\x1b[Z\x1b[Zb",
    ]
    out += [
        "\x1b[17;1H\x1b(0lqqwqqk\x1b(B \x1b)0\x0exjtux\x0f",
        "\x1b[18;1H\x1b[4mA\x1b[4:3mB\x1b[24mC\x1b[7mD\x1b[27m\x1b[9mE\x1b[0m",
    ]
    out += [
        "".join(f"\x1b[{code}m#" for code in (*range(30, 38), *range(90, 98), *range(40, 48), *range(100, 108))),
        "\x1b[0m",
    ]
    out += ["\x1b[19;1H", "".join(f"\x1b[38;5;{code}m█" for code in range(0, 256, 4)), "\x1b[0m"]
    out += [
        "\x1b[20;1H",
        "".join(f"\x1b[48;2;{n * 3};{255 - n * 3};{n}m \x1b[38:2::{n}:9:{n}m." for n in range(30)),
        "\x1b[m",
    ]
    out += [
        "\x1b[21;1H中文字符ｱｲ e\u0301 한글 | ",
        "\x1b[21;2Hx\x1b[21;6H\x1b[K",
        "\x1b[22;77H中文中文",
        "\x1b[23;1Hab\x1b[5b \x1b[?7l",
    ]
    out += ["z" * 200, "\x1b[?7h\x1b[4h\x1b[23;3Hins\x1b[4l", "\x1b7\x1b[1;33m\x1b[24;70Hend\x1b8still"]
    return "".join(out).encode()


def edges() -> bytes:
    """Movements that stop at margins and at the screen's edges, wide characters that do not fit, origin mode."""
    out = ["\x1b[4;12r", *(f"\x1b[{y};{y * 2}H{y}" for y in range(1, 25))]
    out += [
        "\x1b[8;10H\x1b[99BB\x1b[8;12H\x1b[99AA",
        "\x1b[20;14H\x1b[99BC\x1b[2;16H\x1b[99AD",
        "\x1b[9;18H\x1b[99EE\x1b[9;1H\x1b[99FF",
    ]
    out += ["\x1b[?6h\x1b[1;30Ho1\x1b[99;34Ho2\x1b[2;38Ho3\x1b[2;42H\x1bDd\x1bMm\x1bEn", "\x1b[?6l\x1b[14;1H"]
    out += ["\x1b[16;80H中\x1b[18;79H中文", "\x1b[19;77Habcd\x1b[K!\x1b[20;80Hz\x1b[1K", "\x1b[21;78H中中\x1b[21;79Hx"]
    out += ["\x1b[?7l\x1b[22;79Habcdef\x1b[?7h", "\x1b[23;79Hab\bc\x1b[22;1H中文字\x1b[22;2H\x1b[X\x1b[22;5H\x1b[P"]
    out += ["\x1b[12;1H\n\n\x1b[4;1H\x1bM\x1bMtop\x1b[2S\x1b[T", "\x1b[r\x1b[24;1Hend\n\x1b[1;1H\x1bMstart"]
    return "".join(out).encode()


def scrolling() -> bytes:
    """Text that scrolls through coloured backgrounds, an alternate screen in between, and back."""
    out = [f"\x1b[4{number % 8}mline {number}\x1b[K\x1b[0m\r\n" for number in range(60)]
    out += [
        "\x1b[?1049h\x1b[42m\x1b[2J\x1b[10;10Halt\x1b[0m",
        "\x1b[3;20r\x1b[20;1H",
        *(f"{n}\r\n" for n in range(30)),
        "\x1b[2S\x1b[3T",
    ]
    out += [
        "\x1b[r\x1b[?1049l",
        "after\r\n",
        "\x1b[5A\x1b[3M\x1b[2L\x1b[1Jx",
        "\x1b[5B\x1b[0J\r\nlast",
        "\x1b[24;1H\n\n\x1b[A!",
    ]
    return "".join(out).encode()
