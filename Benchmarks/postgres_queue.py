"""The queue to compare with: PostgreSQL, `FOR UPDATE SKIP LOCKED`, claim and complete, each durable.

    python3 postgres_queue.py [--jobs 10000] [--clients 16] [--result-bytes 3000] [--json]

Starts a private cluster on a Unix socket in a temporary folder (no TCP at all), fills a table, lets pgbench's clients
claim and complete every job, checks that all are done, and takes everything away again. Durability as shipped:
fsync, synchronous_commit and full_page_writes on.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from harness import (Failed, Scratch, Unavailable, end_process, exit_on_signals, last_words, run, spawn)

CLAIM = """UPDATE jobs SET state = 'running', attempts = attempts + 1
 WHERE id = (SELECT id FROM jobs WHERE state = 'pending' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
 RETURNING id \\gset
UPDATE jobs SET state = 'done', result = '{result}' WHERE id = :id;
"""

SCHEMA = """CREATE TABLE jobs (id bigserial PRIMARY KEY, state text NOT NULL DEFAULT 'pending',
 attempts integer NOT NULL DEFAULT 0, payload text NOT NULL, result text);
INSERT INTO jobs (payload) SELECT '/scans/folder/' || i || '.tif' FROM generate_series(1, {jobs}) AS i;
CREATE INDEX jobs_pending ON jobs (id) WHERE state = 'pending';
"""


def server_folder() -> Path:
    """The newest installed server's programs; Debian keeps them out of PATH."""
    def version(path: Path) -> float:
        try:
            return float(path.parent.name)
        except ValueError:
            return 0
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if found:
        return max(found, key=version)
    initdb = shutil.which("initdb")
    if initdb:
        return Path(initdb).resolve().parent
    raise Unavailable("PostgreSQL's server is not installed: run scripts/install-packages.sh bench (Debian package "
                      "postgresql)")


def result_text(count: int) -> str:
    """Words of a fixed seed: compresses like a page of text, unlike one letter repeated."""
    random_words = random.Random(3000)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words: list[str] = []
    length = 0
    while length < count:
        word = "".join(random_words.choices(letters, weights=range(26, 0, -1), k=random_words.randint(2, 10)))
        words.append(word)
        length += len(word) + 1
    return " ".join(words)[:count]


@contextmanager
def private_cluster(limit_seconds: float):
    """A new cluster, running; yields (folder of programs, arguments of its clients, settings in force)."""
    programs = server_folder()
    pgbench = programs / "pgbench"
    if not pgbench.exists():
        raise Unavailable(f"{pgbench} is not there: install the Debian package postgresql-contrib or postgresql")
    identity: dict = {}
    if os.geteuid() == 0:
        # The server refuses to run as root.
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            raise Unavailable("there is no user postgres to run the server as") from None
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    environment["LC_ALL"] = "C.UTF-8"
    with Scratch() as folder:
        if identity:
            os.chown(folder, identity["user"], identity["group"])
        data = folder / "data"
        common = {"env": environment, "cwd": folder, **identity}
        run([str(programs / "initdb"), "-D", str(data), "-U", "bench", "-A", "trust", "-E", "UTF8",
             "--no-instructions"], limit_seconds, **common)
        # The socket's folder is closed to everybody else: that is what makes "trust" safe.
        log = open(folder / "log", "w+b")
        server = spawn([str(programs / "postgres"), "-D", str(data), "-c", "listen_addresses=", "-c",
                        f"unix_socket_directories={folder}", "-c", "shared_buffers=256MB", "-c", "fsync=on", "-c",
                        "synchronous_commit=on", "-c", "full_page_writes=on"],
                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, **common)
        try:
            address = ["-h", str(folder), "-U", "bench"]
            begin = time.monotonic()
            while run([str(programs / "pg_isready"), *address, "-d", "postgres", "-q"], 10, accept=(0, 1, 2),
                      **common).code != 0:
                if server.poll() is not None or time.monotonic() - begin > 60:
                    raise Failed(f"the PostgreSQL server did not start: {last_words(log)}")
                time.sleep(0.1)
            yield programs, address, common
        finally:
            end_process(server, signal.SIGINT, 20)
            log.close()


def measure(jobs: int, clients: int = 16, result_bytes: int = 3000, limit_seconds: float = 600) -> dict:
    """Jobs a second from the first claim to the last completion. Raises when not every job ended as done."""
    per_client = max(1, jobs // clients)
    jobs = per_client * clients
    with private_cluster(limit_seconds) as (programs, address, common):
        def sql(text: str) -> str:
            return run([str(programs / "psql"), *address, "-d", "postgres", "-X", "-q", "-A", "-t", "-v",
                        "ON_ERROR_STOP=1", "-c", text], limit_seconds, **common).out.decode().strip()

        for statement in SCHEMA.format(jobs=jobs).split(";\n"):
            if statement.strip():
                sql(statement)
        sql("VACUUM ANALYZE jobs")
        sql("CHECKPOINT")
        with Scratch(mode=0o755) as folder:
            script = folder / "claim.sql"
            script.write_text(CLAIM.format(result=result_text(result_bytes)))
            script.chmod(0o644)
            ran = run([str(programs / "pgbench"), *address, "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-t",
                       str(per_client), "-f", str(script), "postgres"], limit_seconds, **common)
        done = int(sql("SELECT count(*) FROM jobs WHERE state = 'done' AND length(result) = "
                       f"{result_bytes} AND attempts = 1"))
        if done != jobs:
            raise Failed(f"PostgreSQL finished {done} of {jobs} jobs")
        rate = next((float(line.split("=")[1].split()[0]) for line in ran.out.decode().splitlines()
                     if line.startswith("tps =")), jobs / ran.seconds)
        in_force = {name: sql(f"SHOW {name}") for name in ("server_version", "fsync", "synchronous_commit",
                                                          "full_page_writes", "shared_buffers")}
        return {"jobs_per_second": rate, "jobs": jobs, "clients": clients, "seconds": ran.seconds,
                "database_bytes": int(sql("SELECT pg_database_size('postgres')")), "settings": in_force}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--result-bytes", type=int, default=3000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    exit_on_signals()
    try:
        figures = measure(arguments.jobs, arguments.clients, arguments.result_bytes)
    except Unavailable as error:
        print(f"bench: {error}", file=sys.stderr)
        return 69
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(figures) if arguments.json else
          f"{figures['jobs_per_second']:,.0f} jobs/s ({figures['jobs']} jobs, {figures['clients']} clients, "
          f"PostgreSQL {figures['settings']['server_version']})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
