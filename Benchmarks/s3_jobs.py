"""Images from an object store that answers late: do slots wait for bytes, what do requests cost, how fast is a listing?"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

from harness import Failed, Report, Row, Scratch, Settings, Unavailable, median, rate_text, say
from images import installed_languages, load_images, tessdata_folder, within_budget
from node_process import Node

BUSY_TARGET = 0.98
REQUESTS_TARGET = 1.01
NODE_CPU_TARGET = 0.02
DELAYS = (0.05, 0.2)
LEAST_IMAGES = 200


class SmallStore:
    """`with SmallStore(...) as store`: s3_store.py in a process of its own."""

    def __init__(self, folder: Path, delay_seconds: float = 0, synthetic: int = 0) -> None:
        self.command = [sys.executable, "-B", str(Path(__file__).with_name("s3_store.py")), str(folder),
                        str(delay_seconds), str(synthetic)]

    def __enter__(self) -> "SmallStore":
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline().strip()
        if not line.isdigit():
            self.__exit__()
            raise Failed("the store of the benchmark did not start")
        self.address = f"http://127.0.0.1:{line}"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def counts(self) -> dict[str, int]:
        with urllib.request.urlopen(self.address + "/counts", timeout=10) as answer:
            return json.load(answer)


def node_for(settings: Settings, store: SmallStore, workers: int, tessdata: str) -> Node:
    node = Node(settings, workers, tessdata)
    node.environment.update({"AWS_ENDPOINT_URL_S3": store.address, "AWS_ACCESS_KEY_ID": "bench",
                             "AWS_SECRET_ACCESS_KEY": "bench", "AWS_EC2_METADATA_DISABLED": "true"})
    return node


def recognise(settings: Settings, folder: Path, count: int, delay_seconds: float, tessdata: str) -> dict:
    with SmallStore(folder, delay_seconds) as store, node_for(settings, store, settings.cores, tessdata) as node:
        before = node.times()
        node.command("submit", "--batch", "bench", "s3://bench/in/")
        waited = node.command("wait", "--batch", "bench", limit_seconds=settings.limit_seconds, accept=(0, 1, 2))
        if waited.code != 0:
            raise Failed(f"node wait ended with {waited.code}: {waited.errors}; log: {node.last_log_lines()}")
        after = node.times()
        own = node.status()["nodes"][0]
        node_seconds, worker_seconds = after.own - before.own, after.children - before.children
        # Both slots have jobs until the last second, which counts as waiting for nothing.
        return {"busy": 1 - own["waiting_seconds"] / (settings.cores * waited.seconds),
                "requests": store.counts()["get"] / count,
                "cpu": node_seconds / (node_seconds + worker_seconds), "seconds": waited.seconds}


def list_and_submit(settings: Settings, keys: int, tessdata: str) -> dict:
    with Scratch() as folder:
        with SmallStore(folder, 0, keys) as store, node_for(settings, store, 1, tessdata) as node:
            node.command("pause")
            ran = node.command("submit", "--json", "--batch", "many", "s3://bench/many/",
                               limit_seconds=settings.limit_seconds, follow_memory=True)
            new = json.loads(ran.out)["new"]
            if new != keys:
                raise Failed(f"{new:,} of {keys:,} keys became jobs")
            return {"seconds": ran.seconds, "client_bytes": ran.memory_peak_bytes, "pages": store.counts()["list"]}


def add_rows(settings: Settings, report: Report) -> None:
    what = "busy share of slots"
    try:
        tessdata = tessdata_folder()
        _, everything = load_images(settings, installed_languages(tessdata))
        chosen = [image for image in within_budget(everything, settings.corpus_cpu_seconds) if image.language == "eng"]
        if not chosen:
            raise Unavailable("no image in English")
        with Scratch() as scratch:
            folder = scratch / "objects"
            folder.mkdir()
            # The first images of a run are waited for: few would show little else.
            chosen *= -(-LEAST_IMAGES // len(chosen))
            for index, image in enumerate(chosen):
                shutil.copyfile(image.path, folder / f"{index:05d}{image.path.suffix}")
            for delay_seconds in DELAYS:
                say(f"{len(chosen)} images from a store that answers after {delay_seconds * 1000:.0f} ms")
                runs = [recognise(settings, folder, len(chosen), delay_seconds, tessdata)
                        for _ in range(settings.rounds)]
                late = f", {delay_seconds * 1000:.0f} ms added to each GET"
                busy, requests, cpu = (median(run[name] for run in runs) for name in ("busy", "requests", "cpu"))
                report.rows.append(Row(what + late, f"{busy:.2%}", "100 %", busy, "≥", BUSY_TARGET))
                report.rows.append(
                    Row("S3 requests for an image" + late, f"{requests:.3f}", "1", requests, "≤", REQUESTS_TARGET))
                report.rows.append(
                    Row("CPU of the node itself" + late, f"{cpu:.2%}", f"{NODE_CPU_TARGET:.0%}", cpu / NODE_CPU_TARGET,
                        "≤", 1))
            keys = settings.s3_keys
            say(f"{keys:,} keys listed and submitted")
            listed = list_and_submit(settings, keys, tessdata)
            report.notes.append(
                f"{keys:,} keys listed in {listed['pages']:,} requests and submitted in {listed['seconds']:.1f} s, "
                f"{rate_text(keys / listed['seconds'], 'keys/s')}; client's memory {listed['client_bytes'] / 1e6:.0f} MB")
    except (Unavailable, Failed, OSError, KeyError, ValueError) as error:
        say(str(error))
        report.unmeasured(what, "≥", BUSY_TARGET, str(error))
