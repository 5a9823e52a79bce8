"""`node submit` of a manifest of a million lines: the rate, the node's memory, the size of the database.

A million distinct absolute paths cost little: 1,000 hard links of one tiny image in a folder, and 1,000 symbolic links
to that folder.
"""

from __future__ import annotations

import json
import math
import os
import time
import zlib
from pathlib import Path

from harness import (Failed, Report, Row, Scratch, Settings, Unavailable, bytes_text, median, rate_text,
                     say)
from images import tessdata_folder
from node_process import Node

MEMORY_TARGET_BYTES = 200_000_000
NAMES_PER_FOLDER = 1_000


def tiny_png() -> bytes:
    """A white page of 32 × 32 pixels."""
    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
    header = (32).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress((b"\0" + b"\xff" * 32) * 32))
            + chunk(b"IEND", b""))


def write_paths(folder: Path, lines: int, manifest: Path) -> None:
    real = folder / "real"
    real.mkdir(parents=True)
    names = [f"{index:04d}.png" for index in range(min(lines, NAMES_PER_FOLDER))]
    (real / names[0]).write_bytes(tiny_png())
    for name in names[1:]:
        os.link(real / names[0], real / name)
    with open(manifest, "w", encoding="utf-8") as file:
        file.write("source,language\n")
        left = lines
        for index in range(math.ceil(lines / NAMES_PER_FOLDER)):
            link = folder / f"{index:04d}"
            link.symlink_to(real.name, target_is_directory=True)
            file.writelines(f"{link}/{name},eng\n" for name in names[:left])
            left -= min(left, len(names))


def submit(settings: Settings, lines: int) -> dict:
    """Submits `lines` lines to a paused node. Raises when they are not all new jobs of it."""
    with Scratch() as folder, Node(settings, workers=1, tessdata=tessdata_folder()) as node:
        manifest = folder / "m.csv"
        write_paths(folder / "p", lines, manifest)
        node.command("pause")
        ran = node.command("submit", "--manifest", str(manifest), "--batch", "million", "--json",
                           limit_seconds=settings.limit_seconds, follow_memory=True)
        try:
            answer = json.loads(ran.out)
            new = int(answer["new"])
        except (ValueError, KeyError, TypeError) as error:
            raise Failed(f"node submit --json printed something else ({error}): {ran.out[:200]!r}") from None
        if new != lines:
            raise Failed(f"{new:,} of {lines:,} lines became jobs; skipped: {str(answer.get('skipped'))[:300]}")
        waits = []
        for _ in range(5):
            start = time.monotonic()
            status = node.status()
            waits.append((time.monotonic() - start) * 1000)
        total = status["work"]["total"]
        if total is not None and total != lines:
            raise Failed(f"node status counts {total:,} jobs after {lines:,} were submitted")
        peak = node.memory_peak_bytes()
        if peak is None:
            raise Failed(f"the node ended: {node.last_log_lines()}")
        return {"seconds": ran.seconds, "node_bytes": peak, "client_bytes": ran.memory_peak_bytes,
                "database_bytes": node.data_bytes(), "status_milliseconds": median(waits)}


def add_rows(settings: Settings, report: Report) -> None:
    lines = settings.submit_lines
    row = f"memory of a node given {lines:,} manifest lines"
    few = min(1_000, lines)
    try:
        say(f"node submit of {few:,} lines, then of {lines:,}")
        small = submit(settings, few)
        large = submit(settings, lines)
    except (Unavailable, Failed) as error:
        say(str(error))
        report.unmeasured(row, "≤", 1, str(error))
        return
    report.rows.append(Row(row, bytes_text(large["node_bytes"]), bytes_text(MEMORY_TARGET_BYTES),
                           large["node_bytes"] / MEMORY_TARGET_BYTES, "≤", 1))
    report.rows.append(Row(f"the same against {few:,} lines", bytes_text(large["node_bytes"]),
                           bytes_text(small["node_bytes"]), large["node_bytes"] / small["node_bytes"]))
    report.notes.append(
        f"{lines:,} lines: submitted in {large['seconds']:.1f} s, {rate_text(lines / large['seconds'], 'lines/s')}; "
        f"client's memory {bytes_text(large['client_bytes'])}; data directory {bytes_text(large['database_bytes'])} "
        f"({large['database_bytes'] / lines:,.0f} bytes a job); `node status --json` "
        f"{large['status_milliseconds']:.0f} ms, start of the command included")
