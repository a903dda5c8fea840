"""Numbers as people read them: sizes, durations, times of day. Pure; the present time is always handed in."""

import time

_STEPS = ((1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))
_BINARY = ((2**40, "Ti"), (2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki"))
MINUTE, HOUR, DAY = 60, 3600, 86400


def count(value: float) -> str:
    """`18200` as `18.2k`: three digits at most, so that columns stay narrow."""
    return _scaled(value, _STEPS)


def _scaled(value: float, steps: tuple[tuple[int, str], ...]) -> str:
    for step, unit in steps:
        if value >= step * 0.9995:
            scaled = value / step
            return f"{scaled:.0f}{unit}" if scaled >= 99.95 else f"{scaled:.1f}{unit}"
    return f"{value:.0f}"


def size(value: float) -> str:
    """Bytes, in decimal units: `1.2MB`."""
    return f"{count(value)}B"


def room(value: float) -> str:
    """Bytes beside a limit, as people write limits (`app.core.amounts.size`): `38.0GiB` of `40GiB`."""
    return f"{_scaled(value, _BINARY).replace('.0', '')}B"


def plural(noun: str, number: float) -> str:
    """The noun as it stands after that number."""
    return noun if number == 1 else f"{noun}s"


def took(ms: float) -> str:
    """A request's or a step's time: `96 ms`, `1.4 s`, `2 m 05`."""
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 59_950:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), MINUTE)
    return f"{minutes} m {seconds:02d}"


def elapsed(seconds: float) -> str:
    """A running time as `00:12:31`, with days in front where there are any."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, left = divmod(rest, MINUTE)
    return (f"{days}d " if days else "") + f"{hours:02d}:{minutes:02d}:{left:02d}"


def ago(seconds: float) -> str:
    """How long something has been so, roughly: `now`, `40s`, `3m`, `2h`, `5d`."""
    if seconds < 1:
        return "now"
    for step, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")):
        if seconds >= step:
            return f"{int(seconds // step)}{unit}"
    return f"{int(seconds)}s"


def time_of_day(at: float) -> str:
    """The local time of a unix time, `12:01:07`; dashes for one that no clock could have."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return "--:--:--"


def date_and_time(at: float) -> str:
    """The local date and time of a unix time, to the millisecond."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03d}"
    except (OverflowError, ValueError, OSError):
        return "unknown"
