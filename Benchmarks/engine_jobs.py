"""Jobs with an instant worker: the node's engine and ledger, beside a PostgreSQL queue, in the same minutes."""

from __future__ import annotations

import json
from dataclasses import dataclass

import postgres_queue
from harness import (Failed, Report, Row, Scratch, Settings, Unavailable, bytes_text, median, product_binary,
                     rate_text, run, say)

RATE_TARGET = 10_000
POSTGRES_TARGET = 3
BACKLOG_TARGET = 0.8
STATUS_TARGET_MILLISECONDS = 100


@dataclass
class Figures:
    jobs_per_second: float
    submit_per_second: float | None
    status_milliseconds: float | None
    database_bytes: float | None
    rss_bytes: float | None


def engine(settings: Settings, jobs: int, pending: int) -> Figures:
    """One run of bench-engine in a folder of its own."""
    binary = product_binary(settings, "bench-engine")
    with Scratch() as folder:
        ran = run([binary, "--jobs", str(jobs), "--pending", str(pending), "--result-bytes",
                   str(settings.result_bytes), "--data-dir", str(folder / "d"), "--json"],
                  settings.limit_seconds, cwd=folder)
    try:
        found = json.loads(ran.out)
        return Figures(float(found["jobs_per_second"]), found.get("submit_per_second"),
                       found.get("status_milliseconds"), found.get("database_bytes"), found.get("rss_bytes"))
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"bench-engine printed no figures ({error}): {ran.out[:200]!r}") from None


def add_rows(settings: Settings, report: Report) -> None:
    few, many = settings.engine_few, settings.engine_many
    # With a few pending, no more than those can be worked off.
    few_jobs, many_jobs = min(settings.engine_jobs, few), min(settings.engine_jobs, many)
    rate_row = f"instant jobs, {few:,} pending"
    against_row = "instant jobs against PostgreSQL SKIP LOCKED"
    backlog_row = f"instant jobs, {many:,} pending against {few:,}"
    status_row = f"status at {many:,} jobs"

    small: list[Figures] = []
    large: list[Figures] = []
    postgres: list[float] = []
    why_engine = why_postgres = ""
    for index in range(settings.rounds):
        if not why_engine:
            try:
                say(f"instant jobs, round {index + 1} of {settings.rounds}: {few:,} pending")
                small += [engine(settings, few_jobs, few) for _ in range(1 if settings.quick else 3)]
            except (Unavailable, Failed) as error:
                why_engine = str(error)
                say(why_engine)
        if not why_postgres:
            try:
                say(f"PostgreSQL queue, round {index + 1} of {settings.rounds}")
                postgres.append(postgres_queue.measure(settings.postgres_jobs, settings.clients,
                                                       settings.result_bytes,
                                                       settings.limit_seconds)["jobs_per_second"])
            except (Unavailable, Failed) as error:
                why_postgres = str(error)
                say(why_postgres)
        # Filling millions takes minutes: once is enough, in the middle of the small ones.
        if not why_engine and not large and index == settings.rounds // 2:
            try:
                say(f"instant jobs: {many:,} pending")
                large.append(engine(settings, many_jobs, many))
            except Failed as error:
                why_engine = str(error)
                say(why_engine)

    if postgres:
        report.notes.append(f"PostgreSQL queue: {rate_text(median(postgres), 'jobs/s')} (median of {len(postgres)}), "
                            f"{settings.clients} clients, {settings.result_bytes}-byte results")
    if not small:
        report.unmeasured(rate_row, "≥", 1, why_engine)
        told = rate_text(median(postgres), "jobs/s") if postgres else "–"
        report.rows.append(Row(against_row, "–", told, None, "≥", POSTGRES_TARGET, why_engine))
    else:
        rate = median(figures.jobs_per_second for figures in small)
        report.rows.append(Row(rate_row, rate_text(rate, "jobs/s"), rate_text(RATE_TARGET, "jobs/s"),
                               rate / RATE_TARGET, "≥", 1))
        if postgres:
            report.rows.append(Row(against_row, rate_text(rate, "jobs/s"), rate_text(median(postgres), "jobs/s"),
                                   rate / median(postgres), "≥", POSTGRES_TARGET))
        else:
            report.unmeasured(against_row, "≥", POSTGRES_TARGET, why_postgres)
    if not (small and large):
        report.unmeasured(backlog_row, "≥", BACKLOG_TARGET, why_engine)
        report.unmeasured(status_row, "≤", 1, why_engine)
        return
    first = large[0]
    report.rows.append(Row(backlog_row, rate_text(first.jobs_per_second, "jobs/s"), rate_text(rate, "jobs/s"),
                           first.jobs_per_second / rate, "≥", BACKLOG_TARGET))
    if first.status_milliseconds is None:
        report.unmeasured(status_row, "≤", 1, "bench-engine gave no status_milliseconds")
    else:
        report.rows.append(Row(status_row, f"{first.status_milliseconds:.1f} ms", f"{STATUS_TARGET_MILLISECONDS} ms",
                               first.status_milliseconds / STATUS_TARGET_MILLISECONDS, "≤", 1))
    told = [f"{name} {shown}" for name, shown in (
        ("submitted at", first.submit_per_second and rate_text(first.submit_per_second, "jobs/s")),
        ("database", first.database_bytes and bytes_text(first.database_bytes)),
        ("memory", first.rss_bytes and bytes_text(first.rss_bytes))) if shown]
    if told:
        report.notes.append(f"engine at {many:,} pending: " + ", ".join(told))
