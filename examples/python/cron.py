"""Two processes contend for one job; the work goes on elsewhere when the worker dies.

Run it: `python cron.py` starts a server of its own and two workers. With `python cron.py ENDPOINT`
the workers use that server, handfast or etcd.

Each worker does, in one transaction: if `/cron/jobs/job02` does not exist, put it on a lease of
5 seconds, else read it. One of them works, the other one prints who does. Then the worker is
killed. Nobody deletes its key: the lease runs out, and the other one takes over.
"""

from __future__ import annotations

import subprocess
import sys

import handfast
from handfast import Compare, Op

JOB = "/cron/jobs/job02"
LEASE_SECONDS = 5


def worker(endpoint: str, name: str) -> None:
    """Take the job as soon as nobody has it, and work until killed."""
    with handfast.connect(endpoint, app=name) as hf, hf.lease(LEASE_SECONDS) as lease:
        while True:
            claim = hf.txn(
                when=[Compare.create_revision(JOB, "==", 0)],
                then=[Op.put(JOB, name, lease=lease.id)],
                otherwise=[Op.get(JOB)],
            )
            if claim.succeeded:
                say(f"{name}: works")
                lease.lost_event.wait()
                return
            holder = claim.kv()
            if holder is None:
                continue
            say(f"{name}: {holder.text} has it")
            # From the next revision on, so that no delete is missed.
            with hf.watch(JOB, start_revision=claim.revision + 1) as events:
                next(event for event in events if event.kind == "delete")
            say(f"{name}: it is free")


def contend(endpoint: str) -> None:
    """Start two workers, kill the one that works, and wait until the other one does."""
    workers = {name: start(endpoint, name) for name in ["worker-1", "worker-2"]}
    try:
        with handfast.connect(endpoint) as hf, hf.watch(JOB) as events:
            first = hf.get(JOB) or next(event for event in events if event.kind == "put").kv
            waiting = next(name for name in workers if name != first.text)
            # The other one has looked once it says so.
            expect(workers[waiting], f"{waiting}: {first.text} has it")
            say(f"killing {first.text}")
            workers[first.text].kill()
            expect(workers[waiting], f"{waiting}: works")
            say("done")
    finally:
        for process in workers.values():
            process.kill()
            process.wait()


def start(endpoint: str, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, endpoint, name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def expect(process: subprocess.Popen[str], words: str) -> None:
    """Print what the process says, up to `words`."""
    assert process.stdout is not None
    for line in process.stdout:
        say(line.rstrip())
        if line.rstrip() == words:
            return
    raise SystemExit(f"the worker ended without saying {words!r}")


def say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case [endpoint, name]:
            worker(endpoint, name)
        case [endpoint]:
            contend(endpoint)
        case _:
            with handfast.Server() as server:
                contend(server.endpoint)
