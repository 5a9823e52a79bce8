"""A node of the product under measurement: started in a folder of its own, on loopback, and stopped again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from harness import (Failed, ProcessTimes, Ran, Scratch, Settings, end_process, free_port, last_words,
                     memory_peak_bytes, process_times, product_binary, recogniser_environment, run, spawn)

USAGE = 64


class Node:
    """`with Node(...) as node`: a running, idle node. It runs in the foreground, so that its process id is known."""

    def __init__(self, settings: Settings, workers: int, tessdata: str | None = None,
                 start_limit_seconds: float = 60, reuses: bool = False) -> None:
        self.settings, self.workers = settings, workers
        # Sets hold copies of images: with reuse, most of a run would be answers that are there already.
        self.reuses = reuses
        self.binary = product_binary(settings, "node")
        self.start_limit_seconds = start_limit_seconds
        self.environment = recogniser_environment()
        # A node takes these from its surroundings; here it must not.
        for name in ("NODE_DATA_DIR", "NODE_CONFIG"):
            self.environment.pop(name, None)
        if tessdata:
            self.environment["TESSDATA_PREFIX"] = tessdata

    def __enter__(self) -> "Node":
        self.scratch = Scratch()
        self.folder = self.scratch.__enter__()
        self.data = self.folder / "d"
        self.log = tempfile.TemporaryFile()
        (self.folder / "cluster.conf").write_text(f'[work]\nreuse = "{"on" if self.reuses else "off"}"\n')
        try:
            self._start(["--listen", f"127.0.0.1:{free_port()}"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if getattr(self, "process", None) is not None:
            end_process(self.process, signal.SIGTERM, 20)
        self.log.close()
        self.scratch.__exit__()

    def _start(self, flags: list[str]) -> None:
        begin = time.monotonic()
        # Its own folder as working directory: its cluster.conf is picked up, and none of the checkout.
        self.process = spawn([self.binary, "start", "--data-dir", str(self.data), "--workers", str(self.workers),
                              *flags],
                             cwd=self.folder, env=self.environment, stdout=self.log, stderr=self.log,
                             stdin=subprocess.DEVNULL)
        while True:
            code = self.process.poll()
            if code == USAGE and flags:
                return self._start([])
            if code is not None:
                raise Failed(f"node start ended with exit code {code}: {self.last_log_lines()}")
            if self.command("status", "--json", accept=tuple(range(256)), limit_seconds=15).code == 0:
                self.start_seconds = time.monotonic() - begin
                return None
            if time.monotonic() - begin > self.start_limit_seconds:
                raise Failed(f"the node is not ready after {self.start_limit_seconds:.0f} s: {self.last_log_lines()}")
            time.sleep(0.1)

    def last_log_lines(self) -> str:
        return last_words(self.log)

    def command(self, *arguments: str, limit_seconds: float = 600, accept: tuple[int, ...] = (0,), **options) -> Ran:
        return run([self.binary, *arguments, "--data-dir", str(self.data)], limit_seconds, accept=accept,
                   cwd=self.folder, env=self.environment, **options)

    def status(self) -> dict:
        return json.loads(self.command("status", "--json").out)

    def times(self) -> ProcessTimes:
        return process_times(self.process.pid)

    def memory_peak_bytes(self) -> int | None:
        return memory_peak_bytes(self.process.pid)

    def data_bytes(self) -> int:
        total = 0
        for folder, _, names in os.walk(self.data):
            for name in names:
                try:
                    total += os.lstat(Path(folder, name)).st_size
                except OSError:
                    continue
        return total
