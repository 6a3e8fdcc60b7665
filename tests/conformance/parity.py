"""Makes the page of the book that says which scenarios each language passes.

    python3 tests/conformance/parity.py            write docs/book/src/parity.md
    python3 tests/conformance/parity.py --check    fail if the page is not what would be written

Reads the scenarios beside it, and from target/conformance (or the folder in HANDFAST_CONFORMANCE)
what the runners wrote: the ids that passed, a line each. A language without such a file keeps what
the page says of it, and that is said aloud. Knows nothing of how a scenario is played.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "book" / "src" / "parity.md"
LANGUAGES = {"rust": "Rust", "python": "Python", "node": "Node"}
HEADINGS = {
    "client": "Keys and connections",
    "lock": "Lock",
    "multi": "Several locks at once",
    "election": "Election",
    "once": "Work that is done once",
    "queue": "Queue",
    "service": "Services",
    "config": "Configuration",
}
YES = "yes"
INTRODUCTION = """\
<!-- Made by tests/conformance/parity.py from the results of the tests; do not edit. -->

# What each language can do

The recipes are written once, in Rust, and the packages for Python and Node stand on them. What all
have in common is written down as data, in
[`tests/conformance`](https://github.com/handfast/handfast/tree/main/tests/conformance): scenarios
with a server and its faults, which each language plays through its own public interface. This page
is made from what passed, and the tests fail when it is out of date.
"""

Recipes = dict[str, list[dict]]


def recipes() -> Recipes:
    """The scenarios of each recipe, in the order of the headings."""
    files = [json.loads(path.read_text()) for path in sorted(HERE.glob("*.json"))]
    found = {file["recipe"]: file["scenarios"] for file in files}
    if unknown := found.keys() - HEADINGS.keys():
        raise SystemExit(f"parity.py has no heading for {', '.join(sorted(unknown))}")
    return {name: found[name] for name in HEADINGS if name in found}


def on_page(language: str) -> set[str]:
    """What the page says that this language passes; nothing, if it has no column there."""
    if not PAGE.exists():
        return set()
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines()]
    head = next((row for row in rows if row[0] == "Scenario"), [])
    if LANGUAGES[language] not in head:
        return set()
    column = head.index(LANGUAGES[language])
    rows = [row for row in rows if row[0].startswith("`") and len(row) == len(head)]
    return {row[0].strip("`") for row in rows if row[column] == YES}


def results() -> dict[str, set[str]]:
    """The ids that passed, by language."""
    folder = Path(os.environ.get("HANDFAST_CONFORMANCE") or ROOT / "target" / "conformance")
    passed = {}
    for language, title in LANGUAGES.items():
        file = folder / f"{language}.txt"
        if file.exists():
            passed[language] = set(file.read_text().split())
        else:
            print(f"parity: no results of {title} ({file}): its column is left as it is")
            passed[language] = on_page(language)
    return passed


def cell(scenario: dict, language: str, passed: set[str]) -> str:
    if scenario["id"] in passed:
        return YES
    return "no" if language in scenario.get("not_for", {}) else "**fails**"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page(passed: dict[str, set[str]]) -> str:
    """The whole page."""
    titles = list(LANGUAGES.values())
    found = recipes()
    sums = [
        [HEADINGS[name]]
        + [f"{sum(one['id'] in passed[of] for one in all_)} of {len(all_)}" for of in LANGUAGES]
        for name, all_ in found.items()
    ]
    parts = [INTRODUCTION, table(["Recipe", *titles], sums)]
    for name, all_ in found.items():
        rows = [
            [f"`{one['id']}`", one["title"], *(cell(one, of, passed[of]) for of in LANGUAGES)]
            for one in all_
        ]
        parts.append(f"## {HEADINGS[name]}\n\n" + table(["Scenario", "What holds", *titles], rows))
        reasons = [
            f"- `{one['id']}`, {LANGUAGES[of]}: {reason}.\n"
            for one in all_
            for of, reason in one.get("not_for", {}).items()
        ]
        if reasons:
            parts.append("Why not:\n\n" + "".join(reasons))
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    made = page(results())
    if not arguments:
        PAGE.write_text(made)
        return 0
    if PAGE.exists() and PAGE.read_text() == made:
        return 0
    print(
        f"{PAGE.relative_to(ROOT)} is not what the tests say; run "
        "`python3 tests/conformance/parity.py` and commit it",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
