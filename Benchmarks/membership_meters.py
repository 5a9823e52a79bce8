"""What the agents cost: bytes on loopback, CPU and memory; and the busy loops that take their CPU away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness import Failed, end_process, process_times, run, spawn, system_tool
from membership_clusters import Cluster, bound_to_us

INSIDE = "BENCH_MEMBERSHIP_INSIDE"
GROUP = "bench-membership"


def enter_own_network() -> None:
    """Starts this program again in a network namespace of its own: there is loopback and nothing else, all ports are
    free, and it vanishes with the last process in it. Where only root may make one, a user namespace goes with it."""
    if os.environ.get(INSIDE):
        run([system_tool("ip", "iproute2", GROUP), "link", "set", "lo", "up"], 10)
        return
    ways = [["unshare", "--net"], ["unshare", "--map-root-user", "--net"]]
    for way in ways if os.geteuid() == 0 else ways[1:]:
        if subprocess.run([*way, "true"], capture_output=True, timeout=10).returncode == 0:
            os.environ[INSIDE] = "1"
            os.execvp(way[0], [*way, sys.executable, "-B", *sys.argv])
    raise Failed("no network namespace can be made here: run as root, or allow user namespaces")


class Traffic:
    """Bytes of IP packets to and from a port, sent on this namespace's loopback, counted by the kernel."""

    RULES = """
table inet bench {
    counter datagrams {}
    counter streams {}
    chain sent {
        type filter hook output priority 0
        udp dport %(port)d counter name datagrams
        tcp dport %(port)d counter name streams
        tcp sport %(port)d counter name streams
    }
}
"""

    def __init__(self, port: int) -> None:
        self.nft = system_tool("nft", "nftables", GROUP)
        self.port = port

    def __enter__(self) -> "Traffic":
        subprocess.run([self.nft, "-f", "-"], input=self.RULES % {"port": self.port}, text=True, check=True, timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([self.nft, "delete", "table", "inet", "bench"], timeout=10)

    def read(self) -> tuple[int, int]:
        """(bytes by UDP, bytes by TCP)"""
        listed = json.loads(run([self.nft, "-j", "list", "counters"], 10).out)["nftables"]
        found = {entry["counter"]["name"]: entry["counter"]["bytes"] for entry in listed if "counter" in entry}
        return found["datagrams"], found["streams"]


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise Failed(f"process {pid} ended while it was measured")


@dataclass
class Idle:
    """Means over the agents, while nothing happens."""

    datagram_bytes_per_second: float
    stream_bytes_per_second: float
    cpu_ms_per_second: float
    resident_bytes: float

    @property
    def bytes_per_second(self) -> float:
        return self.datagram_bytes_per_second + self.stream_bytes_per_second


def measure_idle(cluster: Cluster, seconds: float) -> Idle:
    pids = cluster.pids()

    def cpu() -> float:
        times = [process_times(pid) for pid in pids]
        return sum(entry.own + entry.children for entry in times)

    with Traffic(cluster.port) as traffic:
        cpu_before, sent_before, start = cpu(), traffic.read(), time.monotonic()
        time.sleep(seconds)
        sent_after, cpu_after = traffic.read(), cpu()
        share = (time.monotonic() - start) * len(pids)
    return Idle((sent_after[0] - sent_before[0]) / share, (sent_after[1] - sent_before[1]) / share,
                (cpu_after - cpu_before) * 1000 / share, sum(map(resident_bytes, pids)) / len(pids))


class BusyLoops:
    """Processes that use all CPU they can get, at the same priority as the agents, and end by themselves in time."""

    LOOP = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass\n"

    def __init__(self, count: int, limit_seconds: float) -> None:
        self.count, self.limit_seconds = count, limit_seconds

    def __enter__(self) -> "BusyLoops":
        command = bound_to_us([sys.executable, "-c", self.LOOP, str(self.limit_seconds)])
        self.processes = [spawn(command, stdin=subprocess.DEVNULL) for _ in range(self.count)]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            end_process(process, patience_seconds=0)
