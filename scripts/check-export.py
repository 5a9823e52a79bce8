#!/usr/bin/env python3
"""Decides from a cluster's own outputs whether a run has kept its promises. Reads nothing but what the CLI has printed.

usage: check-export.py --submitted SUBMIT.json... --export EXPORT.jsonl... --expected EXPECTED.jsonl
                       [--sources SOURCES.txt] [--status STATUS.json] [--copies]

SUBMIT.json    what `node submit --json` printed (one or more; of a batch that was submitted again, all of it)
EXPORT.jsonl   what `node export --format jsonl` printed, from any node; one for each batch
EXPECTED.jsonl the export of the same sources from a single node, or of an earlier run
SOURCES.txt    what was given to `node submit`, a source a line: each must be in the export
STATUS.json    what `node status --json` printed after the run
--copies       sources are named N__FILE and are copies of a FILE each: all of these must have the text of the one
               that is among the expected

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


def pages(paths):
    """Rows by (source, page)."""
    rows = collections.defaultdict(list)
    for path in paths:
        for row in lines(path):
            rows[(row["source"], row["page"])].append(row)
    return rows


def original(source):
    """The file of which a source is a copy: what follows its number."""
    return source.rsplit("/", 1)[-1].split("__", 1)[-1]


def expectations(rows, sources, copies):
    """What each page of each source should be: by (source, page)."""
    if not copies:
        return {key: found[0] for key, found in rows.items()}
    by_name = collections.defaultdict(list)
    for (source, page), found in rows.items():
        by_name[original(source)].append((page, found[0]))
    return {(source, page): row for source in sources for page, row in by_name[original(source)]}


def accepted_jobs(paths, wrong):
    """Jobs that somebody was told are accepted."""
    by_batch = collections.Counter()
    for path in paths:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
        # A submission that broke off was given again: what the first try brought in is known to the last one.
        by_batch[report["batch"]] = max(by_batch[report["batch"]], report["new"] + report["known"])
        if report["skipped"]:
            wrong.append(f"{path}: {len(report['skipped'])} sources were skipped, as {report['skipped'][0]}")
    return sum(by_batch.values())


def code(reason):
    return reason.split(":", 1)[0] if reason else reason


def check_status(path, wrong):
    with open(path, encoding="utf-8") as file:
        work = json.load(file)["work"]
    if not work["complete"]:
        wrong.append(f"the status is not complete: {work.get('unknown_shards')} shards unknown")
    if work["pending"] or work["running"]:
        wrong.append(f"{work['pending']} jobs are pending and {work['running']} are running")
    if work["divergent"]:
        wrong.append(f"{work['divergent']} jobs have two different results")
    return work["duplicates"], work["divergent"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--submitted", nargs="+", required=True)
    arguments.add_argument("--export", nargs="+", required=True)
    arguments.add_argument("--expected", required=True)
    arguments.add_argument("--sources")
    arguments.add_argument("--status")
    arguments.add_argument("--copies", action="store_true")
    options = arguments.parse_args()

    wrong = []
    accepted = accepted_jobs(options.submitted, wrong)
    actual = pages(options.export)
    sources = {source for source, _ in actual}
    if options.sources:
        with open(options.sources, encoding="utf-8") as file:
            given = {line.rstrip("\n") for line in file if line.strip()}
        wrong += [f"{source}: was submitted and is not in the export" for source in sorted(given - sources)]
        wrong += [f"{source}: was never submitted" for source in sorted(sources - given)]
        sources = given
    expected = expectations(pages([options.expected]), sources, options.copies)
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
    outcomes = collections.Counter()
    for key in sorted(set(actual) & set(expected), key=str):
        mine, theirs = actual[key][0], expected[key]
        compared += 1
        outcomes[mine["outcome"]] += 1
        if mine["outcome"] != theirs["outcome"]:
            wrong.append(f"{key[0]} page {key[1]}: {mine['outcome']}, not {theirs['outcome']} ({mine['reason']})")
        elif mine["text"] != theirs["text"]:
            wrong.append(f"{key[0]} page {key[1]}: another text")
        elif code(mine["reason"]) != code(theirs["reason"]):
            wrong.append(f"{key[0]} page {key[1]}: {mine['reason']}, not {theirs['reason']}")

    duplicates = divergent = None
    if options.status:
        duplicates, divergent = check_status(options.status, wrong)

    for line in wrong[:50]:
        print(f"WRONG: {line}")
    again = len({row["job"] for rows in actual.values() for row in rows if (row["attempts"] or 0) > 1})
    print(
        f"{accepted} accepted, {len(jobs)} in the export, {compared} pages compared, "
        + "".join(f"{count} {outcome}, " for outcome, count in sorted(outcomes.items()))
        + f"{again} jobs begun more than once, duplicates {duplicates}, divergent {divergent}, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
