"""The examples do what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[3] / "examples" / "python"


def run(example: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_cron():
    lines = run("cron.py")
    waiting, _, first = lines[0].removesuffix(" has it").partition(": ")
    assert {waiting, first} == {"worker-1", "worker-2"}
    assert lines == [
        f"{waiting}: {first} has it",
        f"killing {first}",
        f"{waiting}: it is free",
        f"{waiting}: works",
        "done",
    ]


def test_lock():
    lines = run("lock.py")
    assert lines[0].startswith("busy: held under token ")
    assert lines[1:] == [
        "tokens grow: True",
        "refused: a late write under the old token",
        "ledger: begin end",
    ]


def test_election():
    *leads, last = run("election.py")
    assert sorted(leads) == ["n1 leads", "n2 leads", "n3 leads"]
    assert last == "last: " + leads[-1].removesuffix(" leads")
