"""Clusters of whole nodes with instant workers on loopback: jobs a second, steals, a join, a crash.

Each node is a process of its own with its ledger, its gossip and its calls over mutual TLS; `bench-cluster` puts an
executor of fixed duration in the place of the worker processes. All nodes share the cores and the disk of one machine:
the rates tell what the work between nodes costs, not how a cluster of machines scales.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness import (Failed, Report, Row, Scratch, Settings, Unavailable, end_process, free_port, last_words, median,
                     process_times, product_binary, rate_text, recogniser_environment, run, say, spawn)

SIZES = (1, 2, 4)
COPIES = (1, 3)
JOIN_TARGET_SECONDS = 2
SLOTS = 2
POLL_SECONDS = 0.02


class Cluster:
    """`with Cluster(...) as cluster`: nodes that know each other. Ends all of them."""

    def __init__(self, settings: Settings, replicas: int) -> None:
        self.settings, self.replicas = settings, replicas
        self.binary = product_binary(settings, "bench-cluster")
        self.node_binary = product_binary(settings, "node")
        self.environment = recogniser_environment()
        for name in ("NODE_DATA_DIR", "NODE_CONFIG"):
            self.environment.pop(name, None)
        self.processes: dict[int, subprocess.Popen] = {}
        self.addresses: dict[int, str] = {}

    def __enter__(self) -> "Cluster":
        self.scratch = Scratch()
        self.folder = self.scratch.__enter__()
        self.key = self.folder / "key"
        run([self.node_binary, "keygen", str(self.key)], 30, env=self.environment, cwd=self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self.processes):
            end_process(self.processes.pop(number), signal.SIGKILL, 0)
        self.scratch.__exit__()

    def data(self, number: int) -> Path:
        return self.folder / f"n{number}"

    def log(self, number: int) -> Path:
        return self.folder / f"n{number}.log"

    def start(self, number: int, *flags: str) -> float:
        """Starts a node that joins those which run. Returns when that was, on the monotonic clock."""
        self.addresses[number] = f"127.0.0.1:{free_port()}"
        seeds = [flag for other in self.processes for flag in ("--seed", self.addresses[other])]
        begin = time.monotonic()
        with open(self.log(number), "ab") as log:
            self.processes[number] = spawn(
                [self.binary, "node", "--data-dir", str(self.data(number)), "--name", f"n{number}", "--listen",
                 self.addresses[number], "--key", str(self.key), "--replicas", str(self.replicas), "--workers",
                 str(SLOTS), *seeds, *flags],
                cwd=self.folder, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return begin

    def start_all(self, count: int, *flags: str) -> None:
        for number in range(1, count + 1):
            self.start(number, *flags)
            self.wait_until(f"n{number} is ready", 60, lambda: self.stamps(number, r"is ready"))
        self.wait_until("all nodes know each other", 60, self.is_whole)
        # The first node hears of shards that are not its own any more, and hands nothing over: they are empty.
        self.wait_until("each shard has its nodes", 60, self.is_settled)

    def status(self, number: int) -> dict:
        asked = run([self.node_binary, "status", "--json", "--data-dir", str(self.data(number))], 60,
                    accept=tuple(range(256)), cwd=self.folder, env=self.environment)
        return json.loads(asked.out) if asked.code == 0 else {}

    def nodes(self) -> list[dict]:
        return self.status(next(iter(self.processes))).get("nodes", [])

    def is_whole(self) -> bool:
        return all(sum(node["state"] == "alive" for node in self.status(number).get("nodes", []))
                   == len(self.processes) for number in self.processes)

    def is_settled(self) -> bool:
        status = self.status(next(iter(self.processes)))
        shards = [node.get("shards_primary") or 0 for node in status.get("nodes", [])]
        return len(shards) == len(self.processes) and all(shards) and sum(shards) == status["cluster"]["shards"]

    def work(self, jobs: int, *flags: str, through: int = 1) -> dict:
        ran = run([self.binary, "work", "--data-dir", str(self.data(through)), "--jobs", str(jobs), *flags],
                  self.settings.limit_seconds, env=self.environment, cwd=self.folder)
        try:
            return json.loads(ran.out)
        except ValueError:
            raise Failed(f"bench-cluster printed no figures: {ran.out[:200]!r}") from None

    def cpu_seconds(self) -> float:
        return sum(process_times(process.pid).own for process in self.processes.values())

    def stamps(self, number: int, pattern: str) -> list[tuple[float, str]]:
        """Lines of a node's log with their times."""
        found = []
        for line in self.log(number).read_text(errors="replace").splitlines():
            stamp, _, text = line.partition(" ")
            if re.search(pattern, text):
                try:
                    found.append((float(stamp), text))
                except ValueError:
                    continue
        return found

    def wait_until(self, what: str, limit_seconds: float, condition, pause_seconds: float = POLL_SECONDS):
        end = time.monotonic() + limit_seconds
        while True:
            found = condition()
            if found:
                return found
            for number, process in self.processes.items():
                if process.poll() is not None:
                    with open(self.log(number), "rb") as log:
                        raise Failed(f"n{number} ended with code {process.returncode}: {last_words(log)}")
            if time.monotonic() > end:
                raise Failed(f"{what}: not within {limit_seconds:.0f} s")
            time.sleep(pause_seconds)


# --- Measurements ----------------------------------------------------------------------------------------------------


@dataclass
class Rate:
    """One run of instant jobs."""

    copies: int
    submit_per_second: float
    done_per_second: float
    durable_per_second: float
    # Of all nodes, for a job, its submission included.
    cpu_milliseconds: float


def rate(settings: Settings, size: int, replicas: int, jobs: int) -> Rate:
    """Jobs are submitted to a paused cluster; the clock runs from `resume` until all are done, and until `wait` ends."""
    with Cluster(settings, replicas) as cluster:
        cluster.start_all(size)
        before = cluster.cpu_seconds()
        figures = cluster.work(jobs)
        spent = cluster.cpu_seconds() - before
    done = figures.get("done_seconds") or figures["durable_seconds"]
    return Rate(figures["copies"], jobs / figures["submit_seconds"], jobs / done, jobs / figures["durable_seconds"],
                spent / jobs * 1000)


def steals(settings: Settings) -> list[dict]:
    """A slow node among three fast ones, which steal from it when their own shares are done: their round trips."""
    with Cluster(settings, 3) as cluster:
        cluster.start(1, "--job-milliseconds", "200")
        for number in range(2, 5):
            cluster.wait_until("the node before it is ready", 60, lambda: cluster.stamps(number - 1, "is ready"))
            cluster.start(number, "--job-milliseconds", "10")
        cluster.wait_until("all nodes know each other", 60, cluster.is_whole)
        cluster.wait_until("each shard has its nodes", 60, cluster.is_settled)
        cluster.work(4_000 if settings.quick else 12_000)
        found = [node for node in cluster.nodes() if node.get("steal_answers")]
    if not found:
        raise Failed("no node has asked another for work")
    return found


@dataclass
class Join:
    """Seconds from the start of the process, and from its ports being open, to its first job."""

    from_exec: float
    from_listening: float


def join(settings: Settings, size: int = 2) -> Join:
    """A node comes to a cluster that is at work, with jobs of 50 ms."""
    flags = ("--job-milliseconds", "50", "--trace")
    with Cluster(settings, 3) as cluster:
        cluster.start_all(size, *flags)
        cluster.work(20_000, "--submit-only")
        cluster.wait_until("the cluster works", 30, lambda: all(cluster.stamps(n, "^began") for n in cluster.processes))
        number = size + 1
        began = cluster.start(number, *flags)
        first = cluster.wait_until("the new node works", 60, lambda: cluster.stamps(number, "^began"))[0][0]
        return Join(first - began, first - cluster.stamps(number, "listening at")[0][0])


@dataclass
class Crash:
    """Seconds from `kill -9` until another node knows, and until the first and the last of its running jobs run there."""

    known: float
    first: float
    last: float


def crash(settings: Settings, size: int = 4) -> Crash:
    """A node dies while its slots run jobs of 5 s and nothing else is pending."""
    flags = ("--job-milliseconds", "5000", "--trace")
    with Cluster(settings, 3) as cluster:
        cluster.start_all(size, *flags)
        cluster.work(size * SLOTS, "--submit-only")
        victim = size
        cluster.wait_until("the slots of the victim are full", 30,
                           lambda: len(cluster.stamps(victim, "^began")) == SLOTS)
        # Well before the end of these jobs, and so late that the others' slots are free before the death is known: else
        # it would be the wait for them that is measured.
        time.sleep(3)
        keys = {text.split()[1] for _, text in cluster.stamps(victim, "^began")}
        killed = time.monotonic()
        end_process(cluster.processes.pop(victim), signal.SIGKILL, 0)

        def elsewhere() -> dict[str, float] | None:
            found: dict[str, float] = {}
            for number in cluster.processes:
                for stamp, text in cluster.stamps(number, "^began"):
                    if text.split()[1] in keys and stamp > killed:
                        found[text.split()[1]] = min(stamp, found.get(text.split()[1], stamp))
            return found if len(found) == len(keys) else None

        found = cluster.wait_until("the jobs of the dead node run elsewhere", 120, elsewhere)
        known = min(stamp for number in cluster.processes
                    for stamp, _ in cluster.stamps(number, rf"n{victim}\b.* is dead"))
        return Crash(known - killed, min(found.values()) - killed, max(found.values()) - killed)


# --- Rows ------------------------------------------------------------------------------------------------------------


def add_rows(settings: Settings, report: Report) -> None:
    try:
        add_rates(settings, report)
        add_times(settings, report)
    except (Unavailable, Failed) as error:
        say(str(error))
        report.unmeasured("cluster", "≤", 1, str(error))


def add_rates(settings: Settings, report: Report) -> None:
    measured: dict[tuple[int, int], list[Rate]] = {}
    for index in range(settings.rounds):
        for size in SIZES:
            for replicas in COPIES:
                found = rate(settings, size, replicas, settings.cluster_jobs)
                measured.setdefault((size, replicas), []).append(found)
                say(f"cluster, round {index + 1} of {settings.rounds}: {size} nodes, R={replicas}: "
                    f"{rate_text(found.durable_per_second, 'jobs/s')}, {found.cpu_milliseconds:.3f} ms CPU a job, "
                    f"submitted at {rate_text(found.submit_per_second, 'jobs/s')}")
    one = measured[(1, 1)]
    for (size, replicas), runs in measured.items():
        # Within each round: what slows the machine slows both.
        ratios = [mine.durable_per_second / other.durable_per_second for mine, other in zip(runs, one)]
        report.rows.append(Row(
            f"cluster: {size} {'node' if size == 1 else 'nodes'}, R={replicas}",
            rate_text(median(run.durable_per_second for run in runs), "jobs/s"),
            rate_text(median(run.durable_per_second for run in one), "jobs/s"), median(ratios)))
        spent = [mine.cpu_milliseconds / other.cpu_milliseconds for mine, other in zip(runs, one)]
        report.rows.append(Row(
            f"cluster: {size} {'node' if size == 1 else 'nodes'}, R={replicas}, CPU a job, all nodes",
            f"{median(run.cpu_milliseconds for run in runs):.3f} ms",
            f"{median(run.cpu_milliseconds for run in one):.3f} ms", median(spent)))
    report.notes.append(
        f"cluster: all nodes share this machine's {settings.cores} cores and one disk, so that more nodes are not more "
        f"machines; {settings.cluster_jobs:,} jobs from `resume` until `wait` ends, against one node with R=1")
    for key, runs in measured.items():
        report.notes.append(
            f"cluster, {key[0]} nodes, R={key[1]}: submitted at "
            f"{rate_text(median(run.submit_per_second for run in runs), 'jobs/s')} ({runs[0].copies} copies), all done "
            f"at {rate_text(median(run.done_per_second for run in runs), 'jobs/s')}")


def add_times(settings: Settings, report: Report) -> None:
    say("cluster: steals")
    thieves = steals(settings)
    middle = median(node["steal_ms_median"] for node in thieves)
    slowest = max(node["steal_ms_p99"] for node in thieves)
    report.rows.append(Row("cluster: steal, request to answer", f"{middle:.1f} ms", f"{slowest:.1f} ms",
                           middle / slowest,
                           note=f"median of the nodes' medians, against the slowest 99th percentile of a node; "
                                f"{sum(node['steal_answers'] for node in thieves)} answers to {len(thieves)} nodes"))
    joins: list[Join] = []
    crashes: list[Crash] = []
    for index in range(settings.rounds):
        joins.append(join(settings))
        crashes.append(crash(settings))
        say(f"cluster, round {index + 1} of {settings.rounds}: joined and at work {joins[-1].from_exec:.2f} s after the "
            f"start, {joins[-1].from_listening:.2f} s after listening; a dead node known after {crashes[-1].known:.2f} s, "
            f"its jobs elsewhere after {crashes[-1].first:.2f} to {crashes[-1].last:.2f} s")
    first = median(run.from_listening for run in joins)
    report.rows.append(Row("cluster: from joining to the first job", f"{first:.2f} s", f"{JOIN_TARGET_SECONDS} s",
                           first / JOIN_TARGET_SECONDS, "≤", 1,
                           f"from the start of the process {median(run.from_exec for run in joins):.2f} s"))
    last, known = median(run.last for run in crashes), median(run.known for run in crashes)
    report.rows.append(Row("cluster: from a crash until all its jobs run elsewhere", f"{last:.2f} s", f"{known:.2f} s",
                           last / known, note="against: until another node knows of the death"))
