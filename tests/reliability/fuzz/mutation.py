"""Random changes to bytes, texts and plain data."""

import random
from typing import Any

from tests.reliability.fuzz.case import chance

NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 8, 28, 255, 256, 1000, 8192, 8193, 100_000, 10**6, 10**7, 10**10, 2**31, 2**32, 2**53),
    *(2**63 - 1, 2**63, 2**64, -(2**63), 10**18, 0.5, 1.0, 1.5, -0.5, 1e-9, 1e-300, 1e300, float("inf"), float("nan")),
)
TEXTS = (
    *("", " ", "~", "null", "true", "no", "same", "auto", "none", "conv", "relu", "batch", "x", "$x", "$", "-"),
    *(
        "0x1f",
        "1_000",
        "1e400",
        "a b",
        "a.b",
        "a/b",
        "../x",
        "/",
        "/etc/passwd",
        ".",
        "a\nb",
        "a\tb",
        "\x1b[31m",
        "\r",
        "\x00",
    ),
    *(
        "\u202e",
        "é",
        "卷积",
        "\ud800",
        "a" * 300,
        "a" * 5000,
        "1" * 5000,
        "{",
        "[",
        "*",
        "&a",
        "!!python/object:os.system",
    ),
)
TOKENS = (
    *(
        "\t",
        "\n",
        "  ",
        ":",
        ": ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "#",
        "&a ",
        "*a",
        "!!int ",
        "!!python/name:os.system ",
    ),
    *("|", ">", "'", '"', "?", "---\n", "...\n", "%YAML 1.1\n", "<<: *a", "\x00", "\x85", "\u2028", "\ufeff", "\x1b"),
)


def value(r: random.Random, depth: int = 0) -> Any:
    """Any value that YAML and JSON can hold, an odd one more often than not."""
    choice = r.random()
    if choice < 0.45:
        return r.choice(NUMBERS)
    if choice < 0.75:
        return r.choice(TEXTS)
    if choice < 0.85:
        return r.choice((None, True, False))
    if depth > 2:
        return []
    if choice < 0.93:
        return [value(r, depth + 1) for _ in range(r.randrange(4))]
    return {str(r.choice(TEXTS[:20])): value(r, depth + 1) for _ in range(r.randrange(3))}


def mutate_bytes(r: random.Random, content: bytes) -> bytes:
    """A few bytes changed, inserted, removed, repeated, or the end cut off."""
    changed = bytearray(content)
    for _ in range(r.choice((1, 1, 1, 2, 4, 16))):
        at = r.randrange(len(changed) + 1)
        match r.randrange(6):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << r.randrange(8)
            case 1 if changed:
                changed[at % len(changed)] = r.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                changed[at:at] = bytes(r.choice((0, 0xFF, r.randrange(256))) for _ in range(r.choice((1, 4, 100))))
            case 3:
                del changed[at : at + r.choice((1, 2, 8, 100))]
            case 4:
                changed[at:at] = changed[at : at + r.choice((1, 8, 100))]
            case _ if chance(r, 0.3):
                del changed[at:]
    return bytes(changed)


def mutate_text(r: random.Random, text: str) -> bytes:
    """Lines swapped, repeated, indented or removed; tokens of YAML inserted; numbers replaced; sometimes any bytes."""
    for _ in range(r.choice((1, 1, 2, 3, 6))):
        lines = text.split("\n")
        at = r.randrange(len(lines))
        match r.randrange(8):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, r.choice(lines))
            case 2:
                lines[at] = "  " + lines[at] if chance(r, 0.5) else lines[at].removeprefix("  ")
            case 3:
                place = r.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + r.choice(TOKENS) + lines[at][place:]
            case 4:
                words = lines[at].split(" ")
                words[r.randrange(len(words))] = str(r.choice((*NUMBERS, *TEXTS[:20])))
                lines[at] = " ".join(words)
            case 5:
                place = r.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + lines[at][place + 1 :]
            case 6:
                other = r.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case _:
                words = [word for line in lines for word in line.replace(":", " ").split()] or ["x"]
                lines[at] = lines[at].replace(r.choice(words), r.choice(words), 1)
        text = "\n".join(lines)
    content = text.encode(errors="surrogatepass")
    return mutate_bytes(r, content) if chance(r, 0.1) else content


def mutate_data(r: random.Random, data: Any) -> Any:
    """Plain data with one value replaced, removed, repeated or added."""
    route = _route(r, data)
    if not route:
        return value(r)
    parent = data
    for step in route[:-1]:
        parent = parent[step]
    last = route[-1]
    match r.randrange(5):
        case 0 | 1:
            parent[last] = value(r)
        case 2:
            del parent[last]
        case 3 if isinstance(parent, list):
            parent.insert(last, parent[last])
        case 3:
            parent[str(last)[:-1] or "x"] = parent[last]
        case _ if isinstance(parent, dict):
            parent[str(r.choice(TEXTS[:20]))] = value(r)
        case _:
            parent.append(value(r))
    return data


def _route(r: random.Random, data: Any) -> tuple[Any, ...]:
    """The keys and positions that lead to a random value."""
    route: tuple[Any, ...] = ()
    while isinstance(data, dict | list) and data:
        step = r.choice([*data]) if isinstance(data, dict) else r.randrange(len(data))
        route, data = (*route, step), data[step]
        if chance(r, 0.25):
            break
    return route


def routes(data: Any, route: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The routes to all values of plain data."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [route, *(each for step, inner in items for each in routes(inner, (*route, step)))]
