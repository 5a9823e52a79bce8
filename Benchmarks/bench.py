"""Measures the product against other ways to do the same, and prints one table of ratios with their targets.

    Benchmarks/run.sh [--only images,smallest,engine,cluster,submit,pages,s3,reuse] [FOLDER]

FOLDER holds the images (default ../shared/corpus, else Samples). Settings come from the environment, see
docs/benchmarks.md.
Exit codes: 0 all measured · 1 something could not be measured, or with BENCH_STRICT=1 a target is missed.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

import cluster_jobs
import engine_jobs
import page_jobs
import reuse_jobs
import s3_jobs
import submit_lines
from harness import (ROOT, Failed, Report, Row, Scratch, Settings, Unavailable, exit_on_signals, machine_facts, median,
                     rate_text, say)
from images import (Image, copies, installed_languages, load_images, smallest, tessdata_folder, warm_page_cache,
                    within_budget)
from recognisers import BareLoop, Measured, OurNode, ParallelTesseract, Tesserocr, available, page_count

NODE_CPU_TARGET = 0.02
# tool: (target on the corpus, target on the ten smallest images)
TARGETS = {BareLoop.name: (0.97, 0.97), ParallelTesseract.name: (1.05, 1.5), Tesserocr.name: (None, None)}


def repetitions(tools: list, images: list[Image], settings: Settings, scratch: Path) -> int:
    """How often the images are repeated so that the fastest tool's run lasts as long as asked for."""
    rest = [tool for tool in tools if tool.name in (BareLoop.name, Tesserocr.name)]
    tool = (rest or tools)[0]
    times = 2
    while True:
        folder = scratch / f"try{times}"
        seconds = tool.measure(copies(images, times, folder), scratch).seconds
        if seconds >= min(3, settings.smallest_seconds) or times >= 4096:
            return max(1, math.ceil(times * settings.smallest_seconds / seconds))
        times = max(times + 1, math.ceil(times * min(8, 4 / seconds)))


def rounds_of(tools: list, images: list[Image], settings: Settings, scratch: Path, label: str
              ) -> tuple[dict[str, list[Measured]], dict[str, str]]:
    """All tools in turn, several rounds, each round beginning with another tool: slow minutes of the machine hit all
    alike. A tool that fails is left out from there on, with its reason."""
    measured: dict[str, list[Measured]] = {tool.name: [] for tool in tools}
    failed: dict[str, str] = {}
    for index in range(settings.rounds):
        shift = index % len(tools)
        for tool in tools[shift:] + tools[:shift]:
            if tool.name in failed:
                continue
            try:
                result = tool.measure(images, scratch)
            except (Failed, Unavailable) as error:
                failed[tool.name] = str(error)
                measured[tool.name] = []
                say(f"{label}: {tool.name}: {error}")
                continue
            measured[tool.name].append(result)
            say(f"{label}, round {index + 1} of {settings.rounds}: {tool.name} {result.seconds:.1f} s, "
                f"{rate_text(result.pages_per_second, 'pages/s')}")
    return measured, failed


def ratio_rows(label: str, measured: dict[str, list[Measured]], why: dict[str, str], column: int,
               report: Report) -> None:
    """A row for each tool compared with: the median over the rounds of the ratio within a round."""
    ours = measured.get(OurNode.name) or []
    for name, targets in TARGETS.items():
        what, target = f"{label}: node against {name}", targets[column]
        theirs = measured.get(name) or []
        if not ours or not theirs:
            reason = why.get(OurNode.name) if not ours else why.get(name)
            told = rate_text(median(run.pages_per_second for run in theirs), "pages/s") if theirs else "–"
            report.rows.append(Row(what, "–", told, None, "≥", target, reason or "not run"))
            continue
        ratios = [mine.pages_per_second / other.pages_per_second for mine, other in zip(ours, theirs)]
        note = f"{min(ratios):.3f} to {max(ratios):.3f} over {len(ratios)} rounds" if len(ratios) > 1 else ""
        report.rows.append(Row(what, rate_text(median(run.pages_per_second for run in ours), "pages/s"),
                               rate_text(median(run.pages_per_second for run in theirs), "pages/s"), median(ratios),
                               "≥" if target is not None else "", target, note))
    # CPU does not see idle slots while the last page is awaited, nor other work on the machine: it tells a loss that
    # comes from the order of the pages from one that comes from doing more.
    for name in TARGETS:
        theirs = measured.get(name) or []
        if ours and theirs:
            spent = [median(run.cpu_seconds / run.pages for run in runs) for runs in (ours, theirs)]
            report.rows.append(Row(f"{label}: CPU a page, node against {name}", f"{spent[0]:.3f} s",
                                   f"{spent[1]:.3f} s",
                                   median(mine.cpu_seconds / other.cpu_seconds
                                          for mine, other in zip(ours, theirs))))
    what = f"{label}: CPU of the node itself, of all"
    if not ours:
        report.unmeasured(what, "≤", NODE_CPU_TARGET, why.get(OurNode.name, "not run"))
        return
    shares = [run.node_cpu_seconds / (run.node_cpu_seconds + run.worker_cpu_seconds) for run in ours]
    own, workers = (median(getattr(run, name) for run in ours) for name in ("node_cpu_seconds", "worker_cpu_seconds"))
    report.rows.append(Row(what, f"{own:.2f} s", f"{own + workers:.2f} s", median(shares), "≤", NODE_CPU_TARGET))
    report.notes.append(
        f"{label}: not in the node's figures: start of the node {median(run.start_seconds for run in ours):.2f} s; CPU "
        f"of the commands submit and wait {median(run.client_cpu_seconds for run in ours):.2f} s")


def add_image_rows(settings: Settings, report: Report, parts: list[str]) -> None:
    try:
        tessdata = tessdata_folder()
        folder, everything = load_images(settings, installed_languages(tessdata))
    except (Unavailable, Failed) as error:
        say(str(error))
        for part in parts:
            for name, targets in TARGETS.items():
                report.rows.append(Row(f"{part}: node against {name}", "–", "–", None, "≥",
                                       targets[part == "smallest"], str(error)))
        return
    tools, missing = available(settings, tessdata)
    warm_page_cache(everything, tessdata)
    for part in parts:
        with Scratch() as scratch:
            label = part
            try:
                if part == "images":
                    chosen = within_budget(everything, settings.corpus_cpu_seconds)
                    if settings.corpus_repeat > 1:
                        chosen = copies(chosen, settings.corpus_repeat, scratch / "set")
                        warm_page_cache(chosen, tessdata)
                    label = f"{folder}, {len(chosen)} images, {page_count(chosen)} pages"
                elif tools:
                    ten = smallest(everything)
                    times = repetitions(tools, ten, settings, scratch)
                    chosen = copies(ten, times, scratch / "set")
                    label = f"{len(ten)} smallest images × {times}"
                    warm_page_cache(chosen[:len(ten)], tessdata)
                measured, failed = rounds_of(tools, chosen, settings, scratch, label) if tools else ({}, {})
            except (Failed, OSError) as error:
                say(f"{label}: {error}")
                measured, failed = {}, {name: str(error) for name in [OurNode.name, *TARGETS]}
        ratio_rows(label, measured, {**missing, **failed}, 0 if part == "images" else 1, report)
        shortest = min((run.seconds for runs in measured.values() for run in runs), default=math.inf)
        if part == "smallest" and shortest < 0.8 * settings.smallest_seconds:
            report.notes.append(f"{label}: the shortest run took {shortest:.1f} s, less than asked for")


PARTS = ["images", "smallest", "engine", "cluster", "submit", "pages", "s3", "reuse"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="Benchmarks/run.sh", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="folder of images (default: ../shared/corpus, else Samples)")
    parser.add_argument("--only", default=os.environ.get("BENCH_ONLY", ""),
                        help="parts, with commas: " + ", ".join(PARTS))
    arguments = parser.parse_args()
    parts = [part.strip() for part in arguments.only.split(",") if part.strip()] or PARTS
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    exit_on_signals()
    settings = Settings.from_environment(arguments.folder)
    if settings.corpus and not settings.corpus.is_dir():
        parser.error(f"{settings.corpus} is not a folder")
    facts = machine_facts(settings)
    report = Report()
    image_parts = [part for part in PARTS[:2] if part in parts]
    if image_parts:
        add_image_rows(settings, report, image_parts)
    if "engine" in parts:
        engine_jobs.add_rows(settings, report)
    if "cluster" in parts:
        cluster_jobs.add_rows(settings, report)
    if "submit" in parts:
        submit_lines.add_rows(settings, report)
    if "pages" in parts:
        page_jobs.add_rows(settings, report)
    if "s3" in parts:
        s3_jobs.add_rows(settings, report)
    if "reuse" in parts:
        reuse_jobs.add_rows(settings, report)
    text = report.markdown(facts)
    print(text, end="", flush=True)
    target = ROOT / ".build" / "bench.md"
    try:
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
        say(f"also in {target}")
    except OSError as error:
        say(f"not written to {target}: {error.strerror}")
    verdicts = [row.verdict for row in report.rows]
    missed = any("missed" in verdict for verdict in verdicts) and os.environ.get("BENCH_STRICT", "") not in ("", "0")
    return 1 if missed or "not measured" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
