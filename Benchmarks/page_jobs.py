"""Files of 200 pages on three nodes with one worker each: wall time against the ideal split, and the order of the pages.

The ideal is the sum of what the parts took in their workers, divided by the slots. The pages say their number: those of the
PDF by their text, those of the TIFF by their height.
"""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import time
from pathlib import Path

from harness import (ROOT, Failed, Report, Row, Scratch, Settings, Unavailable, end_process, free_port, product_binary,
                     recogniser_environment, run, say, spawn)

NODES = 3
PAGES = 200
# The wall time may exceed the ideal by 15 %.
TARGET = 1.15
WORDS = "the quick brown fox jumps over a lazy dog while seven wizards mix strong potions near quiet rivers".split()
FIRST_HEIGHT = 600


def pdf(pages: int, lines: int = 12) -> bytes:
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for number in range(1, pages + 1):
        rows = [" ".join(WORDS[(number * 7 + row * 5 + word * 3) % len(WORDS)] for word in range(7))
                for row in range(lines)]
        shown = "".join(f"({text}) Tj T* " for text in [f"Page number {number} of the document", *rows])
        content = f"BT /F1 16 Tf 40 360 Td 24 TL {shown}ET".encode()
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
        objects.append(b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 480 400] /Contents %d 0 R"
                       b" /Resources << /Font << /F1 3 0 R >> >> >>" % len(objects))
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (pages, b" ".join(kids))
    data, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    data += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(data)


def tiff(pages: int) -> bytes:
    """The two pages of a sample in turns, each cut to one row more than the one before."""
    data = bytearray((ROOT / "Samples" / "eng_two_pages.tif").read_bytes())
    directories, offset = [], struct.unpack_from("<I", data, 4)[0]
    while offset:
        end = offset + 2 + 12 * struct.unpack_from("<H", data, offset)[0]
        directories.append(bytes(data[offset:end + 4]))
        offset = struct.unpack_from("<I", data, end)[0]
    pointer = 4
    for page in range(pages):
        data += bytes(len(data) % 2)
        start = len(data)
        data += directories[page % len(directories)]
        struct.pack_into("<I", data, pointer, start)
        pointer = len(data) - 4
        struct.pack_into("<I", data, pointer, 0)
        for entry in range(start + 2, pointer, 12):
            if struct.unpack_from("<H", data, entry)[0] == 257:
                struct.pack_into("<HII", data, entry + 2, 4, 1, FIRST_HEIGHT + page)
    return bytes(data)


class Cluster:
    """`with Cluster(...) as cluster`: nodes that know each other."""

    def __init__(self, settings: Settings) -> None:
        self.binary = product_binary(settings, "node")
        self.environment = recogniser_environment()
        for name in ("NODE_DATA_DIR", "NODE_CONFIG"):
            self.environment.pop(name, None)
        self.processes: list[subprocess.Popen] = []

    def __enter__(self) -> "Cluster":
        self.scratch = Scratch()
        self.folder = self.scratch.__enter__()
        try:
            run([self.binary, "keygen", str(self.folder / "key")], 30, env=self.environment, cwd=self.folder)
            seed: list[str] = []
            for number in range(NODES):
                address = f"127.0.0.1:{free_port()}"
                words = ["join", *seed] if seed else ["start"]
                self.processes.append(spawn(
                    [self.binary, *words, "--data-dir", str(self.folder / f"n{number}"), "--workers", "1", "--name",
                     f"n{number}", "--listen", address, "--key", str(self.folder / "key")],
                    cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    stdin=subprocess.DEVNULL))
                seed = seed or [address]
            limit = time.monotonic() + 90
            while not all(self.alive(number) == NODES for number in range(NODES)):
                if time.monotonic() > limit:
                    raise Failed("the nodes do not find each other")
                time.sleep(0.1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            end_process(process, signal.SIGKILL, 0)
        self.scratch.__exit__()

    def command(self, number: int, *arguments: str, limit_seconds: float = 1_200, accept=(0,)):
        return run([self.binary, *arguments, "--data-dir", str(self.folder / f"n{number}")], limit_seconds,
                   accept=accept, cwd=self.folder, env=self.environment)

    def alive(self, number: int) -> int:
        ran = self.command(number, "status", "--json", limit_seconds=30, accept=tuple(range(256)))
        return json.loads(ran.out)["cluster"]["nodes_alive"] if ran.code == 0 else 0


def check_order(rows: list[dict], kind: str) -> None:
    pages = [page for row in rows for page in row.get("page_results", [row])]
    if [page["page"] for page in pages] != list(range(1, PAGES + 1)):
        raise Failed(f"{kind}: the pages are not in order")
    for number, page in enumerate(pages, 1):
        says = page["text"].startswith(f"Page number {number} of") if kind == "PDF" else \
            page["height"] == FIRST_HEIGHT + number - 1
        if not says:
            raise Failed(f"{kind}: page {number} is another one")


def measure(settings: Settings, kind: str, content: bytes) -> tuple[float, float, int, int]:
    """Wall time, ideal time, parts, nodes that took part."""
    with Cluster(settings) as cluster:
        # Each worker loads its model before it is measured.
        for number in range(NODES):
            warm = cluster.folder / f"warm{number}.pdf"
            # Not the same file: the second node would take over the text of the first.
            warm.write_bytes(pdf(8, 3 + number))
            cluster.command(number, "submit", str(warm), "--batch", f"warm{number}")
        for number in range(NODES):
            cluster.command(number, "wait", "--batch", f"warm{number}")
        path = cluster.folder / f"pages.{kind.lower()}"
        path.write_bytes(content)
        begin = time.monotonic()
        cluster.command(0, "submit", str(path), "--batch", "pages")
        cluster.command(0, "wait", "--batch", "pages")
        wall = time.monotonic() - begin
        out = cluster.command(0, "export", "--batch", "pages", "--format", "jsonl").out
        rows = [json.loads(line) for line in out.splitlines()]
        check_order(rows, kind)
        return (wall, sum(row["milliseconds"] for row in rows) / 1_000 / NODES, len(rows),
                len({row["node"] for row in rows}))


def add_rows(settings: Settings, report: Report) -> None:
    for kind, make in (("TIFF", tiff), ("PDF", pdf)):
        what = f"{kind} of {PAGES} pages on {NODES} nodes: wall time against the ideal split"
        try:
            wall, ideal, parts, nodes = measure(settings, kind, make(PAGES))
        except (Unavailable, Failed, OSError) as error:
            report.unmeasured(what, "≤", TARGET, str(error))
            continue
        say(f"{kind}: {wall:.1f} s, ideal {ideal:.1f} s, {parts} parts, {nodes} nodes")
        report.rows.append(Row(what, f"{wall:.1f} s", f"{ideal:.1f} s", wall / ideal, "≤", TARGET,
                               f"{parts} parts, {nodes} nodes took part"))
