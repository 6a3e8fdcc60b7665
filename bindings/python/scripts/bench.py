"""How long a lock and an unlock take from asyncio, 64 at once, each on a name of its own.

The same of the Rust client is bindings/common/examples/lock_cycles.rs, and of Node
bindings/node/scripts/bench.mjs. Build all of them with --release, then let them take turns:

    python scripts/bench.py ENDPOINT [SECONDS]
    python scripts/bench.py ENDPOINT [SECONDS] --rounds 7
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from handfast import aio

AT_ONCE = 64
ROOT = Path(__file__).resolve().parents[3]


async def measure(endpoint: str, seconds: float) -> None:
    took: list[float] = []
    async with aio.connect(endpoint) as hf:
        until = time.perf_counter() + seconds

        async def cycle(name: str) -> None:
            lock = hf.lock(name)
            while (begun := time.perf_counter()) < until:
                held = await lock.acquire()
                await held.release()
                took.append(time.perf_counter() - begun)

        begun = time.perf_counter()
        await asyncio.gather(*(cycle(f"bench/{number}") for number in range(AT_ONCE)))
        rate = len(took) / (time.perf_counter() - begun)
    took.sort()
    p50, p99 = (took[int(share * (len(took) - 1))] * 1000 for share in (0.5, 0.99))
    print(f"{rate:.0f} lock+unlock/s at {AT_ONCE} at once; p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def take_turns(endpoint: str, seconds: float, rounds: int) -> None:
    """Run the three programs in turn; medians, and the wall time of a cycle beside Rust's."""
    programs = {
        "Rust": [str(ROOT / "target/release/examples/lock_cycles")],
        "Python": [sys.executable, __file__],
        "Node": ["node", str(ROOT / "bindings/node/scripts/bench.mjs")],
    }
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in programs}
    for number in range(rounds):
        # Another one begins each time.
        turn = number % len(programs)
        for name in [*programs, *programs][turn : turn + len(programs)]:
            command = [*programs[name], endpoint, str(seconds)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            figures = re.search(r"(\d+) lock.* p50 ([\d.]+) ms, p99 ([\d.]+) ms", said)
            if figures is None:
                raise SystemExit(f"{name} said: {said}")
            found[name].append(tuple(map(float, figures.groups())))
    medians = {
        name: [statistics.median(column) for column in zip(*measured)]
        for name, measured in found.items()
    }
    print(f"{'':8}{'lock+unlock/s':>14}{'p50 ms':>9}{'p99 ms':>9}{'wall time':>11}")
    for name, (rate, p50, p99) in medians.items():
        times = medians["Rust"][0] / rate
        print(f"{name:8}{rate:14.0f}{p50:9.2f}{p99:9.2f}{times:10.2f}x")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("endpoint", nargs="?", default="127.0.0.1:2379")
    arguments.add_argument("seconds", nargs="?", type=float, default=5)
    arguments.add_argument("--rounds", type=int, help="beside Rust and Node, in turns")
    given = arguments.parse_args()
    if given.rounds is None:
        asyncio.run(measure(given.endpoint, given.seconds))
    else:
        take_turns(given.endpoint, given.seconds, given.rounds)


if __name__ == "__main__":
    main()
