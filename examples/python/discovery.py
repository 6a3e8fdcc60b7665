"""Services find each other: registered with a session, picked with load balancing.

Run it: `python discovery.py` starts a server of its own; `python discovery.py ENDPOINT` uses
another one.

Three backends register. A client spreads its calls over them, keeps the calls of one user at one
backend, and leaves out the one that is drained. A backend that leaves is gone at once.
"""

from __future__ import annotations

import sys
from collections import Counter

import handfast

SERVICE = "api"


def call(picked: handfast.Picked) -> str:
    """Stands for a call over the network. Leaving the `with` block tells how it went."""
    with picked:
        return picked.instance.id


def main(endpoint: str) -> None:
    with handfast.connect(endpoint) as backends, handfast.connect(endpoint) as hf:
        service = backends.service(SERVICE)
        registrations = {
            name: service.register(name, f"10.0.0.{number}:80", weight=number)
            for number, name in enumerate(["n1", "n2", "n3"], start=1)
        }
        with hf.discover(SERVICE) as api, api.changes() as changes:
            print("listed:", *[f"{one.id}={one.addr}" for one in api.list()])
            spread = Counter(call(api.pick("weighted")) for _ in range(60))
            print("by weight:", *[f"{name}={spread[name]}" for name in sorted(spread)])
            homes = {call(api.pick("hash", key="user 7")) for _ in range(10)}
            print("backends of user 7:", len(homes))
            api.at_least(registrations["n1"].update(status="draining"))
            left = {call(api.pick("round_robin")) for _ in range(10)}
            print("n1 drains, calls go to:", *sorted(left))
            registrations["n2"].unregister()
            for change in changes:
                print(f"{change.instance.id} {change.kind}")
                if change.kind == "left":
                    break
            print("still there:", api.pick().addr)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with handfast.Server() as server:
            main(server.endpoint)
