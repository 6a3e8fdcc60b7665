"""A queue of jobs: first in, first out; failed ones again; and the four conditions.

Run it: `python jobs.py` starts a server of its own; `python jobs.py ENDPOINT` uses another one.

An acknowledgement commits the job's result with it: both are in the store, or none.
"""

from __future__ import annotations

import sys

import handfast


def work(queue: handfast.Queue, items: int) -> list[str]:
    """Take so many items, and tell in which order they came."""
    done = []
    for claim in queue.consume(timeout=30):
        with claim:
            claim.ack(put={f"results/{claim.id}": claim.text.upper()})
        done.append(claim.id)
        if len(done) == items:
            break
    return done


def in_order(hf: handfast.Client) -> None:
    queue = hf.queue("jobs")
    for name in ["a", "b", "c"]:
        queue.push(f"job {name}", id=name)
    print("pushed again:", queue.push("job a", id="a").duplicate)
    print("first in, first out:", *work(queue, 3))
    result = hf.get("results/b")
    print("result:", result.text if result is not None else None)


def failing(hf: handfast.Client) -> None:
    queue = hf.queue("failing")
    queue.push("1/0", id="bad")
    for claim in queue.consume(max_attempts=2, timeout=30):
        try:
            with claim:
                raise ZeroDivisionError(f"attempt {claim.attempt}")
        except ZeroDivisionError as error:
            print("failed:", error)
        if queue.dead():
            break
    print("dead letter:", queue.dead()[0].said)


def conditions(hf: handfast.Client) -> None:
    counted = hf.queue("counted")
    counted.wait_for(count=3)
    counted.push("x", id="x")
    counted.push("y", id="y")
    print("two of three:", counted.why("x").reasons[0])
    counted.push("z", id="z")
    print("three of three:", *work(counted, 3))

    gated = hf.queue("gated")
    gated.push("behind the gate", id="behind", gate="ready")
    gated.push("opens it", id="prepare", opens="ready")
    print("the gate's task first:", *work(gated, 2))

    ordered = hf.queue("ordered")
    ordered.push("link", id="link", after=["compile a", "compile b"])
    ordered.push("a", id="compile a")
    ordered.push("b", id="compile b")
    print("in order of dependence:", *work(ordered, 3))

    steered = hf.queue("steered")
    steered.wait_for(start=True)
    steered.push("x", id="x")
    print("not started:", steered.why("x").reasons[0])
    steered.run()
    print("started:", *work(steered, 1))


def main(endpoint: str) -> None:
    with handfast.connect(endpoint) as hf:
        in_order(hf)
        failing(hf)
        conditions(hf)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with handfast.Server() as server:
            main(server.endpoint)
