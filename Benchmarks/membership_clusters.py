"""Ten agents on loopback, of serf or of the product, behind one face: start, kill, start again, read what they say.

Both log to files, and what an agent has noticed is taken from its log: asking ten agents by a command, fifty times a
second, would load the machine more than the agents do. The logs' own times are not used: serf's have no fractions.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from harness import ROOT, Failed, Settings, Unavailable, end_process, last_words, product_binary, run, spawn

AGENTS = 10
NAME = re.compile(r"\bn\d+\b")
# Bounds one command that asks an agent; under 16 busy loops a start takes a while.
QUESTION_LIMIT_SECONDS = 60
POLL_SECONDS = 0.02


def address(number: int) -> str:
    return f"127.0.0.{number}"


def name(number: int) -> str:
    return f"n{number}"


def bound_to_us(arguments: list[str]) -> list[str]:
    """Dies with this process, even when that is killed and cannot clear up."""
    return ["setpriv", "--pdeathsig", "KILL", *arguments]


class Log:
    """What an agent has written since it was last looked at, line by line, with the time of the look."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset, self.rest = path, 0, b""
        self.lines: list[tuple[float, str]] = []

    def read(self) -> None:
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return
        self.offset += len(data)
        *whole, self.rest = (self.rest + data).split(b"\n")
        now = time.monotonic()
        self.lines += [(now, line.decode("utf-8", "replace")) for line in whole]


class Cluster:
    """What both sides share. A side says how an agent is started, what it knows, and what its log lines mean."""

    side = ""
    port = 0
    dead = ""  # stands beside the name of a member that is declared dead

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.logs = {number: Log(scratch / f"{name(number)}.log") for number in range(1, AGENTS + 1)}
        self.processes: dict[int, subprocess.Popen] = {}

    def command(self, number: int) -> list[str]:
        raise NotImplementedError

    def view(self, number: int) -> dict[str, str]:
        """States of the members by name, as this agent sees them; empty while it does not answer."""
        raise NotImplementedError

    def refutations(self) -> int:
        """How often agents have spoken against being suspected, since the start of each."""
        raise NotImplementedError

    def victim_of_death(self, line: str) -> str | None:
        """The member that the line declares dead."""
        raise NotImplementedError

    def raises_suspicion(self, number: int, line: str) -> bool:
        """Whether by this line of its log an agent begins to suspect another by its own probe, not by hearsay."""
        raise NotImplementedError

    @property
    def environment(self) -> dict[str, str]:
        surroundings = {key: value for key, value in os.environ.items() if not key.startswith(("NODE_", "SERF_"))}
        return {**surroundings, "LC_ALL": "C.UTF-8", "OMP_THREAD_LIMIT": "1"}

    def start(self, number: int) -> None:
        with open(self.logs[number].path, "ab") as log:
            # The scratch folder as working directory: no configuration file of the checkout is picked up.
            self.processes[number] = spawn(bound_to_us(self.command(number)), cwd=self.scratch, stdout=log, stderr=log,
                                           stdin=subprocess.DEVNULL, env=self.environment)

    def kill(self, number: int) -> float:
        """`kill -9`; returns when it happened."""
        process = self.processes.pop(number)
        moment = time.monotonic()
        process.send_signal(signal.SIGKILL)
        end_process(process, signal.SIGKILL, 0)
        return moment

    def end(self) -> None:
        for number in list(self.processes):
            self.kill(number)

    def __enter__(self) -> "Cluster":
        try:
            self.start(1)
            self.await_condition("the first agent answers", 60, lambda: self.view(1))
            for number in range(2, AGENTS + 1):
                self.start(number)
            self.await_agreement()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def await_agreement(self, limit_seconds: float = 120) -> None:
        """Until every agent sees all of them alive."""
        for number in range(1, AGENTS + 1):
            self.await_condition(f"{name(number)} sees {AGENTS} alive", limit_seconds,
                                 lambda: self.alive(number) == AGENTS)

    def alive(self, number: int) -> int:
        return sum(state == "alive" for state in self.view(number).values())

    def await_condition(self, what: str, limit_seconds: float, condition, pause_seconds: float = 0.2) -> None:
        end = time.monotonic() + limit_seconds
        while not condition():
            self.check_processes()
            if time.monotonic() > end:
                raise Failed(f"{self.side}: {what}: not within {limit_seconds:.0f} s")
            time.sleep(pause_seconds)

    def check_processes(self) -> None:
        for number, process in self.processes.items():
            if process.poll() is not None:
                with open(self.logs[number].path, "rb") as log:
                    raise Failed(f"{self.side}: {name(number)} ended with code {process.returncode}: {last_words(log)}")

    def read_logs(self) -> None:
        for log in self.logs.values():
            log.read()

    def lines_since(self, moment: float, of: int) -> list[tuple[float, str]]:
        return [entry for entry in self.logs[of].lines if entry[0] >= moment]

    def deaths_since(self, moment: float) -> list[tuple[int, str]]:
        """(who says so, who is said to be dead), for every such line."""
        return [(number, victim) for number in self.logs for _, line in self.lines_since(moment, number)
                if (victim := self.victim_of_death(line)) is not None]

    def suspicions_since(self, moment: float) -> int:
        return sum(self.raises_suspicion(number, line)
                   for number in self.logs for _, line in self.lines_since(moment, number))

    def time_until_known(self, victim: int, moment: float, limit_seconds: float) -> tuple[float, float]:
        """Seconds from `moment` until the first and until the last of the others has declared the victim dead."""
        others = [number for number in self.processes if number != victim]
        known: dict[int, float] = {}
        while len(known) < len(others):
            self.read_logs()
            for number in others:
                for seen, line in self.lines_since(moment, number):
                    if self.victim_of_death(line) == name(victim):
                        known.setdefault(number, seen - moment)
            if time.monotonic() - moment > limit_seconds:
                missing = ", ".join(name(number) for number in others if number not in known)
                raise Failed(f"{self.side}: {missing} did not declare {name(victim)} dead in {limit_seconds:.0f} s")
            time.sleep(POLL_SECONDS)
        return min(known.values()), max(known.values())

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes.values()]


class SerfCluster(Cluster):
    side = "serf"
    port = 7946
    rpc_port = 7373
    dead = "EventMemberFailed: "
    suspected = "has failed, no acks received"
    refuting = "Refuting a "

    @staticmethod
    def find() -> tuple[str, str]:
        """(binary, version). The version is the package's: the program of Debian calls itself 0.8.2-dev."""
        unpacked = ROOT / ".build" / "serf"
        for candidate in (os.environ.get("BENCH_SERF"), str(unpacked / "usr/bin/serf"), shutil.which("serf")):
            if candidate and os.access(candidate, os.X_OK):
                if candidate.startswith(str(unpacked)) and (unpacked / "version").is_file():
                    return candidate, (unpacked / "version").read_text().strip()
                said = run([candidate, "version"], 10).out.decode().splitlines()
                return candidate, said[0].removeprefix("serf").strip() if said else "?"
        raise Unavailable("serf is not there: run scripts/install-packages.sh bench-membership")

    def __init__(self, scratch: Path, binary: str) -> None:
        super().__init__(scratch)
        self.binary = binary

    def command(self, number: int) -> list[str]:
        # The default profile is that for a local network.
        return [self.binary, "agent", "-node", name(number), "-bind", f"{address(number)}:{self.port}",
                "-rpc-addr", f"{address(number)}:{self.rpc_port}",
                *(["-join", f"{address(1)}:{self.port}"] if number > 1 else [])]

    def view(self, number: int) -> dict[str, str]:
        asked = run([self.binary, "members", "-format", "json", "-rpc-addr", f"{address(number)}:{self.rpc_port}"],
                    QUESTION_LIMIT_SECONDS, accept=tuple(range(256)))
        if asked.code != 0:
            return {}
        return {member["name"]: member["status"] for member in json.loads(asked.out)["members"]}

    def refutations(self) -> int:
        self.read_logs()
        return sum(self.refuting in line for log in self.logs.values() for _, line in log.lines)

    def victim_of_death(self, line: str) -> str | None:
        _, found, rest = line.partition(self.dead)
        return rest.split()[0] if found and rest.split() else None

    def raises_suspicion(self, number: int, line: str) -> bool:
        return self.suspected in line


class NodeCluster(Cluster):
    side = "ours"
    port = 7400
    dead = " is dead"
    suspected = " is suspect: "  # followed by who says so

    def __init__(self, settings: Settings, scratch: Path) -> None:
        super().__init__(scratch)
        self.binary = product_binary(settings, "node")
        self.key = scratch / "cluster.key"
        run([self.binary, "keygen", str(self.key)], QUESTION_LIMIT_SECONDS)

    def data(self, number: int) -> Path:
        return self.scratch / name(number)

    def command(self, number: int) -> list[str]:
        return [self.binary, *(["join", f"{address(1)}:{self.port}"] if number > 1 else ["start"]),
                "--listen", f"{address(number)}:{self.port}", "--key", str(self.key), "--name", name(number),
                "--data-dir", str(self.data(number)), "--workers", "1"]

    def status(self, number: int) -> dict:
        asked = run([self.binary, "status", "--json", "--data-dir", str(self.data(number))], QUESTION_LIMIT_SECONDS,
                    accept=tuple(range(256)), cwd=self.scratch, env=self.environment)
        return json.loads(asked.out) if asked.code == 0 else {}

    def view(self, number: int) -> dict[str, str]:
        return {member["name"]: member["state"] for member in self.status(number).get("nodes", [])}

    def refutations(self) -> int:
        """Each agent's own count, as it tells of itself."""
        total = 0
        for number in self.processes:
            for member in self.status(number).get("nodes", []):
                if member["name"] == name(number):
                    total += member.get("suspicions_refuted") or 0
        return total

    def victim_of_death(self, line: str) -> str | None:
        before, found, _ = line.partition(self.dead)
        names = NAME.findall(before)
        return names[-1] if found and names else None

    def raises_suspicion(self, number: int, line: str) -> bool:
        _, found, rest = line.partition(self.suspected)
        accusers = NAME.findall(rest)
        return bool(found and accusers) and accusers[0] == name(number)
