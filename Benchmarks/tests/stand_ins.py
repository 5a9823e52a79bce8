"""Stand-ins for the product's binaries, so that the harness can be tested without building it. They obey the command
line's contract as far as the harness leans on it, recognise nothing, and can be told to misbehave by files in their
folder."""

import os
from pathlib import Path

NODE = r'''#!/usr/bin/env python3
import csv, json, os, signal, subprocess, sys, time
bin_folder = os.path.dirname(os.path.abspath(__file__))
def told(name): return os.path.exists(os.path.join(bin_folder, name))
arguments = sys.argv[1:]
def value(flag): return arguments[arguments.index(flag) + 1]
data = value("--data-dir")
jobs = os.path.join(data, "jobs.csv")
def alive():
    try: os.kill(int(open(os.path.join(data, "pid")).read()), 0); return True
    except (OSError, ValueError): return False
def rows():
    return list(csv.DictReader(open(jobs, newline=""))) if os.path.exists(jobs) else []
command = arguments[0]
if command == "start":
    if told("no-start"): sys.exit("address in use")
    os.makedirs(data)
    spinner = subprocess.Popen([sys.executable, "-c", "while True:\n if __import__('os').getppid() == 1: break"])
    def leave(*_): spinner.kill(); spinner.wait(); sys.exit(0)
    signal.signal(signal.SIGTERM, leave)
    open(os.path.join(data, "pid"), "w").write(str(os.getpid()))
    while True: time.sleep(1)
if not alive(): sys.exit(69)
if command == "submit":
    lines = list(csv.DictReader(open(value("--manifest"), newline="")))
    with open(jobs, "w", newline="") as file:
        out = csv.DictWriter(file, ["source", "language"]); out.writeheader(); out.writerows(lines)
    print(json.dumps({"batch": value("--batch"), "submitted": len(lines), "new": len(lines), "known": 0,
                      "skipped": []}))
elif command == "wait":
    time.sleep(0.5)
elif command == "status":
    print(json.dumps({"work": {"total": len(rows())}}))
elif command == "export":
    for row in rows()[1 if told("lose-one") else 0:]:
        print(json.dumps({"source": row["source"], "page": 1, "outcome": "failed" if told("fail") else "done",
                          "reason": "x"}))
'''

BARE_LOOP = r'''#!/usr/bin/env python3
import sys, time
for line in sys.stdin:
    language, path = line.rstrip("\n").split("\t")
    open(path, "rb").close(); time.sleep(0.01)
    sys.stdout.write("text\0")
'''

ENGINE = r'''#!/usr/bin/env python3
import json, sys
pending = int(sys.argv[sys.argv.index("--pending") + 1])
print(json.dumps({"jobs_per_second": 12000 if pending < 100000 else 6000, "submit_per_second": 1,
                  "status_milliseconds": 5, "database_bytes": 10, "rss_bytes": 10}))
'''

# A member of a cluster that sees the others by their process ids, in its working directory instead of on a network.
MEMBER = r'''#!/usr/bin/env python3
import glob, json, os, sys, time
bin_folder = os.path.dirname(os.path.abspath(__file__))
def told(name): return os.path.exists(os.path.join(bin_folder, name))
arguments = sys.argv[1:]
def value(flag): return arguments[arguments.index(flag) + 1]
def members(folder):
    found = {}
    for path in glob.glob(os.path.join(folder, "*.member")):
        try:
            with open(path) as file: pid = int(file.read())
        except ValueError: continue
        name = os.path.basename(path).rpartition(".")[0]
        found[name] = "alive" if os.path.exists(f"/proc/{pid}") else "dead"
    return found
command = arguments[0]
if command == "keygen": open(arguments[1], "w").close()
elif command == "status":
    folder, own = os.path.split(value("--data-dir"))
    print(json.dumps({"nodes": [{"name": name, "state": state, "suspicions_refuted": 2}
                                for name, state in members(folder).items()]}))
else:
    if told("no-start") and command == "join": sys.exit("address in use")
    own, dead = value("--name"), set()
    with open(own + ".member", "w") as file: file.write(str(os.getpid()))
    while True:
        for name, state in members(".").items():
            if state == "alive": dead.discard(name)
            elif name not in dead:
                dead.add(name)
                victim = "n1" if told("false-death") and own == "n1" else name
                print(f"2026-11-25T00:00:00+0000 info {own}: {victim} (127.0.0.1:7400) is dead", file=sys.stderr,
                      flush=True)
        time.sleep(0.05)
'''


def write_member(folder: Path) -> None:
    (folder / "node").write_text(MEMBER)
    os.chmod(folder / "node", 0o755)


def write(folder: Path) -> None:
    for name, text in (("node", NODE), ("bare-loop", BARE_LOOP), ("bench-engine", ENGINE)):
        (folder / name).write_text(text)
        os.chmod(folder / name, 0o755)
