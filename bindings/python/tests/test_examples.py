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


def test_discovery():
    assert run("discovery.py") == [
        "listed: n1=10.0.0.1:80 n2=10.0.0.2:80 n3=10.0.0.3:80",
        "by weight: n1=10 n2=20 n3=30",
        "backends of user 7: 1",
        "n1 drains, calls go to: n2 n3",
        "n1 updated",
        "n2 left",
        "still there: 10.0.0.3:80",
    ]


def test_config():
    lines = run("config.py")
    assert lines[0] == "in force: 200"
    assert lines[1].startswith("in force: 200, refused: ") and "requests" in lines[1]
    assert lines[2].startswith("in force: 200, refused: ") and "one machine" in lines[2]
    assert lines[3:] == [
        "somebody else has published since",
        "web: 300 requests at 3 hosts",
        "batch: 300 requests at 3 hosts",
        lines[-1],
    ]
    assert lines[-1].startswith("by console") and lines[-1].endswith(": the real thing")


def test_jobs():
    assert run("jobs.py") == [
        "pushed again: True",
        "first in, first out: a b c",
        "result: JOB B",
        "failed: attempt 1",
        "failed: attempt 2",
        "dead letter: ZeroDivisionError: attempt 2",
        "two of three: 2 items are ready, and work begins at 3",
        "three of three: x y z",
        "the gate's task first: prepare behind",
        "in order of dependence: compile a compile b link",
        "not started: the queue was not started; `queue start` does",
        "started: x",
    ]


def test_monitor():
    assert run("monitor.py") == [
        "n1 joined",
        "n2 joined",
        "n3 joined",
        "n1 left",
        "n2 died",
        "left over: n3",
    ]


def test_index():
    assert run("index.py") == [
        "3 led, 1 built the index",
        "and:one,two",
        "lease:one,two",
        "lock:one",
        "watch:two",
    ]


def test_shared_log():
    assert run("shared_log.py") == [
        "waiting: 3",
        "written by: ada bob cyd",
        "no deadlock",
    ]
