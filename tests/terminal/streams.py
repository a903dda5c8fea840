"""Terminal input for the tests: random mixtures of everything a program may print, and random garbage."""

from hypothesis import strategies as st

TEXTS = [
    "a",
    "hello world",
    "x" * 50,
    "中文",
    "é",
    "e\u0301",
    "─│╭",
    "🙂",
    "👨\u200d👩\u200d👧",
    "🇩🇪",
    "❤\ufe0f",
    " ",
    "ｱ",
]
CONTROLS = [
    "\r\n",
    "\n",
    "\r",
    "\b",
    "\t",
    "\x0e",
    "\x0f",
    "\x07",
    "\x1bM",
    "\x1bD",
    "\x1bE",
    "\x1bH",
    "\x1b7",
    "\x1b8",
]
MODES = [1, 4, 5, 6, 7, 12, 25, 45, 47, 66, 1000, 1003, 1004, 1006, 1015, 1047, 1048, 1049, 2004, 2026, 2027, 9999]
FIXED = [
    *(
        "\x1b(0",
        "\x1b(B",
        "\x1b)0",
        "\x1b*A",
        "\x1b=",
        "\x1b>",
        "\x1bc",
        "\x1b#8",
        "\x1b[!p",
        '\x1b[1"q',
        '\x1b[0"q',
        "\x1b[4h",
    ),
    *(
        "\x1b[4l",
        "\x1b[20h",
        "\x1b[?1u",
        "\x1b[>5u",
        "\x1b[<u",
        "\x1b[=3;2u",
        "\x1b[>4;2m",
        "\x1b[>4m",
        "\x1b[3 q",
        "\x1b[3g",
    ),
    *(
        "\x1b]0;a title\x07",
        "\x1b]2;an\x1b\\",
        "\x1b]52;c;aGk=\x07",
        "\x1b]8;;http://x\x1b\\",
        "\x1bPq#0\x1b\\",
        "\x1b_Gi=1;AA\x1b\\",
    ),
    *(
        "\x1b[2\bJ",
        "\x1b[1\x18A",
        "\x9b5C",
        "\x9d0;t\x9c",
        "\x1b[",
        "\x1b]",
        "\x1b",
        "\x1b[ 1q",
        "\x1bX",
        "\x7f",
        "\x00",
    ),
]
SGRS = [
    "",
    "0",
    "1",
    "2;3",
    "4:3",
    "21",
    "31;42",
    "38;5;99",
    "48;2;1;2;3",
    "38:2::9:8:7",
    "7",
    "27",
    "39;49",
    "58;5;1",
    "38;5",
]


def _csi() -> st.SearchStrategy[str]:
    numbers = st.sampled_from(["", "0", "1", "2", "3", "5", "7", "12", "80", "9999", "99999999999999"])
    return st.tuples(
        st.sampled_from(["", "", "", "?", ">", "="]),
        st.lists(numbers, max_size=3).map(";".join),
        st.sampled_from(list("@ABCDEFGHIJKLMPSTXZ`abcdefghlmnrsut")),
    ).map(lambda part: f"\x1b[{part[0]}{part[1]}{part[2]}")


def fragments() -> st.SearchStrategy[bytes]:
    """One thing a program may print."""
    mode = st.tuples(st.sampled_from(MODES), st.sampled_from("hl")).map(lambda part: f"\x1b[?{part[0]}{part[1]}")
    margins = st.tuples(st.integers(1, 9), st.integers(1, 12)).map(lambda part: f"\x1b[{part[0]};{part[1]}r")
    place = st.tuples(st.integers(1, 9), st.integers(1, 30)).map(lambda part: f"\x1b[{part[0]};{part[1]}H")
    text = st.one_of(
        st.sampled_from(TEXTS),
        st.sampled_from(CONTROLS),
        st.sampled_from(FIXED),
        st.sampled_from(SGRS).map(lambda codes: f"\x1b[{codes}m"),
        mode,
        margins,
        place,
        _csi(),
    )
    return text.map(lambda found: found.encode("utf-8", "surrogatepass"))


def streams(most: int = 60) -> st.SearchStrategy[list[bytes]]:
    return st.lists(fragments(), max_size=most)
