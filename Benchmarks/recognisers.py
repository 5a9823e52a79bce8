"""The tools that images go through: the node and the three it is compared with. Each returns a Measured or raises;
a run whose texts are not all there is never counted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness import (ROOT, Failed, Settings, Unavailable, product_binary, recogniser_environment, run, say,
                     system_tool)
from images import Image, write_list, write_manifest
from node_process import Node


@dataclass
class Measured:
    """One run over one set. `cpu_seconds` is all that the run cost, commands included; what stands below it is known of
    the node only."""

    seconds: float
    pages: int
    cpu_seconds: float
    start_seconds: float | None = None
    node_cpu_seconds: float | None = None
    worker_cpu_seconds: float | None = None
    client_cpu_seconds: float | None = None

    @property
    def pages_per_second(self) -> float:
        return self.pages / self.seconds


def page_count(images: list[Image]) -> int:
    return sum(image.pages for image in images)


class BareLoop:
    """A plain C loop over Tesseract's API in N processes that keep their handles."""

    name = "bare loop"

    def __init__(self, settings: Settings, tessdata: str) -> None:
        self.settings, self.tessdata = settings, tessdata
        self.binary = product_binary(settings, "bare-loop")

    def measure(self, images: list[Image], scratch: Path) -> Measured:
        lines = write_list(images, scratch / "lines")
        out = scratch / "texts"
        ran = run([self.binary, "--tessdata", self.tessdata, "--jobs", str(self.settings.cores), "--null"],
                  self.settings.limit_seconds, stdin=lines, stdout=out, env=recogniser_environment())
        # With --null a text ends in NUL; a build that prints none vouches with its exit code alone.
        texts = out.read_bytes().count(b"\0")
        if texts not in (0, len(images), page_count(images)):
            raise Failed(f"bare-loop gave {texts} texts for {len(images)} images")
        return Measured(ran.seconds, page_count(images), ran.cpu_seconds)


class ParallelTesseract:
    """`parallel -j N tesseract`: a process, a start of the library and a load of the models for each image."""

    name = "parallel tesseract"

    def __init__(self, settings: Settings, tessdata: str) -> None:
        self.settings, self.tessdata = settings, tessdata
        self.tesseract = system_tool("tesseract", "tesseract-ocr")
        self.parallel = system_tool("parallel", "parallel")
        version = subprocess.run([self.parallel, "--version"], capture_output=True, timeout=30).stdout
        if not version.startswith(b"GNU parallel"):
            raise Unavailable(f"{self.parallel} is not GNU parallel: install the Debian package parallel")

    def measure(self, images: list[Image], scratch: Path) -> Measured:
        lines = write_list(images, scratch / "lines")
        out, log = scratch / "texts", scratch / "joblog"
        log.unlink(missing_ok=True)
        ran = run([self.parallel, "--will-cite", "-j", str(self.settings.cores), "--joblog", str(log), "--colsep",
                   "\t", self.tesseract, "{2}", "stdout", "-l", "{1}"],
                  self.settings.limit_seconds, stdin=lines, stdout=out,
                  env={**recogniser_environment(), "TESSDATA_PREFIX": self.tessdata,
                       "PARALLEL_HOME": str(scratch / "parallel")})
        finished = sum(line.split("\t")[6] == "0" for line in log.read_text("utf-8", "replace").splitlines()[1:]
                       if line.count("\t") >= 8)
        # Tesseract 5.3 writes a form feed between the pages of a file; other versions after each page.
        feeds = out.read_bytes().count(b"\f")
        if finished != len(images) or feeds not in (page_count(images) - len(images), page_count(images)):
            raise Failed(f"tesseract gave {finished} texts, {feeds} form feeds for {len(images)} images of "
                         f"{page_count(images)} pages")
        return Measured(ran.seconds, page_count(images), ran.cpu_seconds)


class Tesserocr:
    """tesserocr in N processes that keep their handles."""

    name = "tesserocr"

    def __init__(self, settings: Settings, tessdata: str) -> None:
        self.settings, self.tessdata = settings, tessdata
        wanted = run([system_tool("tesseract", "tesseract-ocr"), "--version"], 30).out.decode().split()[1]
        self.python, seen = None, []
        for candidate in dict.fromkeys([sys.executable, shutil.which("python3"), "/usr/bin/python3"]):
            if not candidate or not Path(candidate).exists():
                continue
            asked = subprocess.run(
                [candidate, "-c", "import tesserocr; print(tesserocr.tesseract_version().split()[1])"],
                capture_output=True, timeout=60)
            version = asked.stdout.decode().strip()
            # A wheel from PyPI carries a Tesseract of its own: another engine is no baseline.
            if asked.returncode == 0 and version == wanted:
                self.python = candidate
                break
            if asked.returncode == 0:
                seen.append(f"{candidate} has one of Tesseract {version}")
        if self.python is None:
            raise Unavailable(f"no tesserocr of Tesseract {wanted} ({'; '.join(seen) or 'none at all'}): run "
                              "scripts/install-packages.sh bench (Debian package python3-tesserocr)")

    def measure(self, images: list[Image], scratch: Path) -> Measured:
        lines = scratch / "lines-with-pages"
        lines.write_text("".join(f"{image.language}\t{image.pages}\t{image.path}\n" for image in images), "utf-8")
        ran = run([self.python, "-B", str(ROOT / "Benchmarks" / "tesserocr_pool.py"), "--tessdata", self.tessdata,
                   "--jobs", str(self.settings.cores), "--directory", str(scratch)],
                  self.settings.limit_seconds, stdin=lines, env=recogniser_environment())
        found = json.loads(ran.out)
        if found["images"] != len(images) or found["pages"] != page_count(images):
            raise Failed(f"tesserocr gave {found['images']} texts of {found['pages']} pages for {len(images)} images "
                         f"of {page_count(images)} pages")
        return Measured(ran.seconds, page_count(images), ran.cpu_seconds)


class OurNode:
    """The product. A new node for every run, started and idle before the clock runs, with no model loaded yet: the
    others load theirs inside their time, so must it."""

    name = "node"

    def __init__(self, settings: Settings, tessdata: str) -> None:
        self.settings, self.tessdata = settings, tessdata
        product_binary(settings, "node")

    def measure(self, images: list[Image], scratch: Path) -> Measured:
        with Node(self.settings, self.settings.cores, self.tessdata) as node:
            return self.measure_with(node, images, scratch)

    def measure_with(self, node: Node, images: list[Image], scratch: Path) -> Measured:
        manifest = write_manifest(images, scratch / "manifest.csv")
        before = node.times()
        start = time.monotonic()
        submitted = node.command("submit", "--manifest", str(manifest), "--batch", "bench", "--json")
        waited = node.command("wait", "--batch", "bench", limit_seconds=self.settings.limit_seconds,
                              accept=(0, 1, 2))
        seconds = time.monotonic() - start
        after = node.times()
        if waited.code != 0:
            raise Failed(f"node wait ended with {waited.code}: {waited.errors}; log: {node.last_log_lines()}")
        self.check_complete(node, images, scratch)
        own, workers = after.own - before.own, after.children - before.children
        clients = submitted.cpu_seconds + waited.cpu_seconds
        return Measured(seconds, page_count(images), own + workers + clients, start_seconds=node.start_seconds,
                        node_cpu_seconds=own, worker_cpu_seconds=workers, client_cpu_seconds=clients)

    def check_complete(self, node: Node, images: list[Image], scratch: Path) -> None:
        """Every page of every image once in the export, and each of them done."""
        path = scratch / "export.jsonl"
        node.command("export", "--batch", "bench", "--format", "jsonl", stdout=path)
        sources, pages = set(), 0
        with open(path, encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                if record["outcome"] != "done":
                    raise Failed(f"{record['source']}: {record['outcome']} ({record.get('reason')})")
                sources.add(record["source"])
                pages += 1
        if len(sources) != len(images) or pages not in (len(images), page_count(images)):
            raise Failed(f"the node gave {pages} texts of {len(sources)} sources for {len(images)} images of "
                         f"{page_count(images)} pages")


def available(settings: Settings, tessdata: str) -> tuple[list, dict[str, str]]:
    """The tools that can run here, and why the others cannot."""
    tools, missing = [], {}
    for kind in (OurNode, BareLoop, ParallelTesseract, Tesserocr):
        try:
            tools.append(kind(settings, tessdata))
        except Unavailable as error:
            missing[kind.name] = str(error)
            say(f"{kind.name}: {error}")
    return tools, missing
