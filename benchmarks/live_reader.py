"""Read what the page of `cnncli train --live` reads, until the training ends: `python live_reader.py ADDRESS`."""

import json
import sys
from urllib.request import urlopen


def follow(address: str) -> int:
    """Read the events, and fetch the weights whenever there are newer ones; returns how many copies there were.

    It prints `connected` after the first event.
    """
    copies, newest = 0, -1
    with urlopen(f"{address}events/1") as events:
        for line in events:
            if not line.startswith(b"data: "):
                continue
            status = json.loads(line.removeprefix(b"data: "))
            if status["first"]:
                print("connected", flush=True)
            has_ended = status["state"] in ("complete", "interrupted", "failed")
            if has_ended or status["weights"] > newest:
                with urlopen(f"{address}weights/1") as answer:
                    newest = int(answer.headers["X-Step"])
                    answer.read()
                copies += 1
            if has_ended:
                break
    return copies


if __name__ == "__main__":
    print(f"  the reader fetched {follow(sys.argv[1])} copies of the weights", file=sys.stderr)
