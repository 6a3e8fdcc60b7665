"""A lock with a fencing token: what was written under a newer token is never overwritten.

Run it: `python lock.py` starts a server of its own; `python lock.py ENDPOINT` uses another one.
"""

from __future__ import annotations

import sys

import handfast

NAME = "jobs/nightly"


class Ledger:
    """Something outside the store that several machines write to. It remembers the last token."""

    def __init__(self) -> None:
        self.token = 0
        self.lines: list[str] = []

    def append(self, line: str, token: int) -> None:
        if token < self.token:
            raise PermissionError(f"token {token} is older than {self.token}")
        self.token = token
        self.lines.append(line)


def nightly(hf: handfast.Client, ledger: Ledger) -> int:
    with hf.lock(NAME, timeout=30) as lock:
        if lock.previous_died:
            print("the last run did not end well: look for half done work first")
        for line in ["begin", "end"]:
            lock.check()
            ledger.append(line, lock.token)
        # The store itself refuses this one when the lock is not held any more.
        lock.put("jobs/nightly.done", "yes")
        return lock.token


def main(endpoint: str) -> None:
    ledger = Ledger()
    with handfast.connect(endpoint) as hf, handfast.connect(endpoint) as rival:
        with hf.lock(NAME) as lock:
            if busy := rival.try_lock(NAME):
                busy.release()
            else:
                print(f"busy: held under token {busy.holder.token}")
            old = lock.token
        new = nightly(rival, ledger)
        print(f"tokens grow: {new > old}")
        try:
            ledger.append("late", old)
        except PermissionError:
            print("refused: a late write under the old token")
        print("ledger:", *ledger.lines)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with handfast.Server() as server:
            main(server.endpoint)
