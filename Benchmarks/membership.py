"""Measures how fast ten nodes learn of a crash, whom they suspect wrongly under load and what that costs, beside ten
agents of serf on the same machine in the same run. Prints one table.

    make bench-membership        or        Benchmarks/run.sh --membership

Settings come from the environment, see docs/benchmarks.md. All of it happens on the loopback of a network namespace of
its own. Exit codes: 0 measured (serf's side may be missing) · 1 ours could not be, or with BENCH_STRICT=1 a target is
missed.
"""

from __future__ import annotations

import os
import random
import sys
import time
from dataclasses import dataclass, field

from harness import (ROOT, Failed, Report, Row, Scratch, Settings, Unavailable, bytes_text, environment_number,
                     exit_on_signals, machine_facts, median, product_binary, say)
from membership_clusters import AGENTS, Cluster, NodeCluster, SerfCluster, name
from membership_meters import BusyLoops, Idle, enter_own_network, measure_idle

DETECTION_LIMIT_SECONDS = 120
IDLE_TARGET_BITS_PER_SECOND = 10_000
# Victims and the moments of their deaths are the same on both sides; another round has others.
SEED = 20_261_125


@dataclass
class Extent:
    """How much is done in one round of one side."""

    crashes: int
    settle_seconds: float
    idle_seconds: float
    load_seconds: float
    busy_loops: int

    @staticmethod
    def from_environment(quick: bool) -> "Extent":
        def number(name: str, usual: float, short: float) -> float:
            return environment_number(name, short if quick else usual)

        return Extent(crashes=int(number("BENCH_MEMBERSHIP_CRASHES", 4, 1)),
                      settle_seconds=number("BENCH_MEMBERSHIP_SETTLE", 10, 3),
                      idle_seconds=number("BENCH_MEMBERSHIP_IDLE", 60, 10),
                      load_seconds=number("BENCH_MEMBERSHIP_LOAD", 90, 15),
                      busy_loops=int(number("BENCH_MEMBERSHIP_LOOPS", 16, 16)))


@dataclass
class Measured:
    """One side, over all rounds."""

    first: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)
    all_under_load: list[float] = field(default_factory=list)
    idle: list[Idle] = field(default_factory=list)
    false_deaths: int = 0
    suspicions: int = 0
    refutations: int = 0

    def mean_idle(self, figure: str) -> float:
        return median(getattr(entry, figure) for entry in self.idle)


def crash(cluster: Cluster, chance: random.Random) -> tuple[float, float]:
    """Kills one at a moment that has nothing to do with the beat of the probes. Never the first, through which it
    comes back."""
    victim = chance.randrange(2, AGENTS + 1)
    time.sleep(chance.uniform(0, 1))
    cluster.read_logs()
    before = time.monotonic()
    first, last = cluster.time_until_known(victim, cluster.kill(victim), DETECTION_LIMIT_SECONDS)
    wrong = [entry for entry in cluster.deaths_since(before) if entry[1] != name(victim)]
    if wrong:
        raise Failed(f"{cluster.side}: while {name(victim)} was dead, others were declared dead: {wrong}")
    # The log is not believed blindly: one of the others is asked.
    asked = next(iter(cluster.processes))
    if cluster.view(asked).get(name(victim)) == "alive":
        raise Failed(f"{cluster.side}: {name(asked)} said that {name(victim)} is dead and reports it alive")
    say(f"{cluster.side}: crash of {name(victim)} known to the first after {first:.2f} s, to all after {last:.2f} s")
    cluster.start(victim)
    cluster.await_agreement()
    return first, last


def one_round(cluster: Cluster, extent: Extent, chance: random.Random, measured: Measured) -> None:
    time.sleep(extent.settle_seconds)
    idle = measure_idle(cluster, extent.idle_seconds)
    measured.idle.append(idle)
    say(f"{cluster.side}: idle {idle.bytes_per_second * 8 / 1000:.2f} kbit/s, {idle.cpu_ms_per_second:.2f} ms CPU a "
        f"second, {bytes_text(idle.resident_bytes)}")
    for _ in range(extent.crashes):
        first, last = crash(cluster, chance)
        measured.first.append(first)
        measured.all.append(last)
    time.sleep(extent.settle_seconds)

    refuted, start = cluster.refutations(), time.monotonic()
    limit = extent.load_seconds + DETECTION_LIMIT_SECONDS
    with BusyLoops(extent.busy_loops, limit) as loops:
        time.sleep(extent.load_seconds)
        cluster.read_logs()
        cluster.check_processes()
        suspicions, refuted = cluster.suspicions_since(start), cluster.refutations() - refuted
        before, victim = cluster.deaths_since(start), chance.randrange(2, AGENTS + 1)
        killed = cluster.kill(victim)
        measured.all_under_load.append(cluster.time_until_known(victim, killed, DETECTION_LIMIT_SECONDS)[1])
        deaths = before + [entry for entry in cluster.deaths_since(killed) if entry[1] != name(victim)]
    measured.false_deaths += len(deaths)
    measured.suspicions += suspicions
    measured.refutations += refuted
    say(f"{cluster.side}: {extent.load_seconds:.0f} s beside {loops.count} busy loops: {len(deaths)} false deaths, "
        f"{suspicions} suspicions, {refuted} refutations; then the crash of {name(victim)} known to all after "
        f"{measured.all_under_load[-1]:.2f} s")


# --- The table -------------------------------------------------------------------------------------------------------


def add_rows(ours: Measured | None, serf: Measured | None, why: dict[str, str], extent: Extent, report: Report) -> None:
    def compare(what: str, figure, text, target: float | None = None) -> None:
        mine, theirs = (figure(side) if side else None for side in (ours, serf))
        told = [text(value) if value is not None else "–" for value in (mine, theirs)]
        reason = "" if ours and serf else why.get("ours") or why.get("serf", "")
        ratio = mine / theirs if mine is not None and theirs else None
        report.rows.append(Row(what, *told, ratio, "≤" if target is not None else "", target, reason))

    def count(what: str, figure, target) -> None:
        mine, theirs = (figure(side) if side else None for side in (ours, serf))
        told = ["–" if value is None else str(value) for value in (mine, theirs)]
        report.rows.append(Row(what, *told, mine, "≤" if target is not None else "", target,
                               "" if ours else why.get("ours", "")))

    def seconds(value: float) -> str:
        return f"{value:.2f} s"

    compare("crash known to all, median", lambda side: median(side.all), seconds, 1)
    compare("crash known to all, slowest", lambda side: max(side.all), seconds, 1)
    compare("crash known to the first, median", lambda side: median(side.first), seconds)
    loops = f"beside {extent.busy_loops} busy loops"
    compare(f"crash known to all {loops}, median", lambda side: median(side.all_under_load), seconds)
    count(f"false deaths {loops} (a count)", lambda side: side.false_deaths, 0)
    count(f"suspicions raised {loops} (a count)", lambda side: side.suspicions, serf.suspicions if serf else None)
    count(f"refutations {loops} (a count)", lambda side: side.refutations, None)

    def kilobits(value: float) -> str:
        return f"{value * 8 / 1000:.2f} kbit/s"

    compare("idle: sent by a node", lambda side: side.mean_idle("bytes_per_second"), kilobits)
    if ours:
        rate = ours.mean_idle("bytes_per_second") * 8
        report.rows.append(Row("idle: sent by a node, against 10 kbit/s", f"{rate / 1000:.2f} kbit/s", "10 kbit/s",
                               rate / IDLE_TARGET_BITS_PER_SECOND, "≤", 1))
    compare("idle: CPU of a node", lambda side: side.mean_idle("cpu_ms_per_second"), lambda value: f"{value:.2f} ms/s")
    compare("idle: memory of a node", lambda side: side.mean_idle("resident_bytes"), bytes_text)
    for label, side in (("ours", ours), ("serf", serf)):
        if side:
            report.notes.append(
                f"{label}: known to all after " + ", ".join(f"{value:.2f}" for value in side.all) + " s; "
                + loops + " after " + ", ".join(f"{value:.2f}" for value in side.all_under_load)
                + f" s; idle, of what is sent, by TCP {kilobits(side.mean_idle('stream_bytes_per_second'))}")


def measure(settings: Settings, extent: Extent, wanted: list[str]
            ) -> tuple[dict[str, Measured], dict[str, str], str]:
    """Both sides in turn, each round beginning with the other one. A side that fails is out, with its reason."""
    makers, version = {}, ""
    why = {side: "not asked for" for side in ("ours", "serf") if side not in wanted}
    if "ours" in wanted:
        try:
            product_binary(settings, "node")
            makers["ours"] = lambda scratch: NodeCluster(settings, scratch)
        except Unavailable as error:
            why["ours"] = str(error)
    if "serf" in wanted:
        try:
            serf, version = SerfCluster.find()
            makers["serf"] = lambda scratch: SerfCluster(scratch, serf)
        except (Unavailable, Failed, OSError) as error:
            why["serf"] = str(error)
    for side, reason in why.items():
        say(f"{side}: not measured: {reason}")
    measured = {side: Measured() for side in makers}
    for index in range(settings.rounds):
        sides = [side for side in makers if side in measured]
        for side in sides[::-1] if index % 2 else sides:
            say(f"round {index + 1} of {settings.rounds}: {AGENTS} of {side}")
            try:
                with Scratch() as scratch, makers[side](scratch) as cluster:
                    one_round(cluster, extent, random.Random(SEED + index), measured[side])
            except (Failed, Unavailable, OSError) as error:
                say(f"{side}: {error}")
                why[side] = str(error)
                del measured[side]
    return measured, why, version


def main() -> int:
    exit_on_signals()
    try:
        enter_own_network()
    except (Failed, Unavailable) as error:
        say(str(error))
        return 1
    settings = Settings.from_environment()
    extent = Extent.from_environment(settings.quick)
    wanted = [side.strip() for side in os.environ.get("BENCH_ONLY", "").split(",") if side.strip()] or ["ours", "serf"]
    facts = machine_facts(settings)
    measured, why, version = measure(settings, extent, wanted)
    report = Report()
    add_rows(measured.get("ours"), measured.get("serf"), why, extent, report)
    facts.append(("agents", f"{AGENTS} on loopback; serf {version or 'not there'}, default profile; {extent.crashes} "
                            f"crashes, {extent.idle_seconds:.0f} s idle and {extent.load_seconds:.0f} s beside "
                            f"{extent.busy_loops} busy loops in each round"))
    text = report.markdown(facts)
    print(text, end="", flush=True)
    target = ROOT / ".build" / "bench-membership.md"
    try:
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
        say(f"also in {target}")
    except OSError as error:
        say(f"not written to {target}: {error.strerror}")
    missed = any("missed" in row.verdict for row in report.rows)
    strict = os.environ.get("BENCH_STRICT", "") not in ("", "0")
    return 1 if ("ours" in wanted and "ours" not in measured) or (missed and strict) else 0


if __name__ == "__main__":
    sys.exit(main())
