#!/usr/bin/env python3
"""Decides from a cluster's own outputs whether a run has kept its promises. Reads nothing but what the CLI has printed.

usage: check-export.py --submitted SUBMIT.json... --export EXPORT.jsonl --expected EXPECTED.jsonl [--status STATUS.json]

SUBMIT.json    what `node submit --json` printed (one or more)
EXPORT.jsonl   what `node export --format jsonl` printed, from any node
EXPECTED.jsonl the export of the same sources from a single node, or of an earlier run
STATUS.json    what `node status --json` printed after the run

Ends with 0 when every job that was accepted is in the export exactly once with the expected text, else with 1 and the
list of what is wrong.
"""
import argparse
import collections
import json
import sys


def lines(path):
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except ValueError as error:
                sys.exit(f"{path}:{number}: not JSON: {error}")


def pages(path):
    """Rows by (source, page)."""
    rows = collections.defaultdict(list)
    for row in lines(path):
        rows[(row["source"], row["page"])].append(row)
    return rows


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--submitted", nargs="+", required=True)
    arguments.add_argument("--export", required=True)
    arguments.add_argument("--expected", required=True)
    arguments.add_argument("--status")
    options = arguments.parse_args()

    wrong = []
    accepted = 0
    for path in options.submitted:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
        accepted += report["new"]
        if report["skipped"]:
            wrong.append(f"{path}: {len(report['skipped'])} sources were skipped")

    actual = pages(options.export)
    expected = pages(options.expected)
    jobs = {row["job"] for rows in actual.values() for row in rows}
    if len(jobs) != accepted:
        wrong.append(f"{accepted} jobs were accepted, {len(jobs)} are in the export")
    for key, rows in sorted(actual.items(), key=str):
        if len(rows) != 1:
            wrong.append(f"{key[0]} page {key[1]}: {len(rows)} times in the export")
    for key in sorted(set(expected) - set(actual), key=str):
        wrong.append(f"{key[0]} page {key[1]}: missing")
    for key in sorted(set(actual) - set(expected), key=str):
        wrong.append(f"{key[0]} page {key[1]}: not among the expected ones")
    compared = 0
    for key in set(actual) & set(expected):
        mine, theirs = actual[key][0], expected[key][0]
        compared += 1
        if mine["outcome"] != theirs["outcome"]:
            wrong.append(f"{key[0]} page {key[1]}: {mine['outcome']}, not {theirs['outcome']} ({mine['reason']})")
        elif mine["text"] != theirs["text"]:
            wrong.append(f"{key[0]} page {key[1]}: another text")

    duplicates = divergent = None
    if options.status:
        with open(options.status, encoding="utf-8") as file:
            work = json.load(file)["work"]
        duplicates, divergent = work["duplicates"], work["divergent"]
        if not work["complete"]:
            wrong.append(f"the status is not complete: {work.get('unknown_shards')} shards unknown")
        if work["pending"] or work["running"]:
            wrong.append(f"{work['pending']} jobs are pending and {work['running']} are running")
        if divergent:
            wrong.append(f"{divergent} jobs have two different results")

    for line in wrong[:50]:
        print(f"WRONG: {line}")
    print(
        f"{accepted} accepted, {len(jobs)} in the export, {compared} pages compared, "
        f"duplicates {duplicates}, divergent {divergent}, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
