"""What all measurements share: settings, bounded processes, figures from /proc, and the table.

Everything a measurement starts runs in its own process group and is ended with it; every wait has a limit. Nothing here
opens a connection to anything but this machine.
"""

from __future__ import annotations

import atexit
import math
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Unavailable(Exception):
    """A tool or binary that a measurement needs is not there; the message says how to get it."""


class Failed(Exception):
    """A measurement ran and its outcome cannot be counted: a tool failed, or not all images have a text."""


def say(message: str) -> None:
    """Progress goes to stderr: stdout carries the table only."""
    print(f"bench: {message}", file=sys.stderr, flush=True)


def environment_number(name: str, default: float) -> float:
    text = os.environ.get(name, "").strip().replace("_", "").replace(",", "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise SystemExit(f"bench: {name}={text!r} is not a number above 0")
    return value


@dataclass
class Settings:
    quick: bool
    cores: int
    rounds: int
    smallest_seconds: float
    corpus: Path | None
    corpus_cpu_seconds: float
    corpus_repeat: int
    engine_jobs: int
    engine_few: int
    engine_many: int
    postgres_jobs: int
    submit_lines: int
    s3_keys: int
    cluster_jobs: int
    binaries: Path
    limit_seconds: float
    result_bytes: int = 3000
    clients: int = 16

    @staticmethod
    def from_environment(corpus: str | None = None) -> "Settings":
        quick = os.environ.get("BENCH_QUICK", "") not in ("", "0")
        cores = int(environment_number("BENCH_JOBS", len(os.sched_getaffinity(0))))
        folder = corpus or os.environ.get("BENCH_CORPUS") or None

        def number(name: str, usual: float, short: float) -> float:
            return environment_number(name, short if quick else usual)

        return Settings(
            quick=quick,
            cores=max(1, cores),
            rounds=max(1, int(number("BENCH_ROUNDS", 3, 1))),
            smallest_seconds=number("BENCH_SMALLEST_SECONDS", 12, 3),
            corpus=Path(folder) if folder else None,
            corpus_cpu_seconds=number("BENCH_CORPUS_CPU_SECONDS", 1e9, 12),
            corpus_repeat=max(1, int(number("BENCH_CORPUS_REPEAT", 1, 1))),
            engine_jobs=int(number("BENCH_ENGINE_JOBS", 10_000, 10_000)),
            engine_few=int(number("BENCH_ENGINE_FEW", 10_000, 10_000)),
            engine_many=int(number("BENCH_ENGINE_MANY", 3_400_000, 200_000)),
            postgres_jobs=int(number("BENCH_POSTGRES_JOBS", 10_000, 10_000)),
            submit_lines=int(number("BENCH_SUBMIT", 1_000_000, 20_000)),
            s3_keys=int(number("BENCH_S3_KEYS", 100_000, 5_000)),
            cluster_jobs=int(number("BENCH_CLUSTER_JOBS", 20_000, 5_000)),
            binaries=Path(os.environ.get("BENCH_BIN") or ROOT / ".build" / "release"),
            limit_seconds=number("BENCH_LIMIT_SECONDS", 1800, 120),
        )


# --- Binaries and places ---------------------------------------------------------------------------------------------


def product_binary(settings: Settings, name: str) -> str:
    path = settings.binaries / name
    if not os.access(path, os.X_OK):
        raise Unavailable(f"{path} is not built: run `swift build -c release --product {name}`")
    return str(path)


def system_tool(name: str, package: str, group: str = "bench") -> str:
    path = shutil.which(name)
    if path is None:
        raise Unavailable(
            f"{name} is not installed: run scripts/install-packages.sh {group} (Debian package {package})")
    return path


def mount_of(path: Path) -> tuple[str, str, str]:
    """(device, mount point, file system type) of the file system that holds `path`."""
    best = ("?", "", "?")
    target = str(path.resolve())
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, point, kind = line.split(" ")[:3]
        point = point.replace("\\040", " ")
        inside = point == "/" or target == point or target.startswith(point + "/")
        if inside and len(point) >= len(best[1]):
            best = (device, point, kind)
    return best


def scratch_base() -> Path:
    """A folder on a real disk, with a short name (Unix sockets allow 107 bytes); on tmpfs a sync to disk is free."""
    wanted = os.environ.get("BENCH_TMP")
    if wanted:
        return Path(wanted)
    for candidate in ("/tmp", "/var/tmp"):
        path = Path(candidate)
        if os.access(path, os.W_OK) and mount_of(path)[2] not in ("tmpfs", "ramfs"):
            return path
    return Path(tempfile.gettempdir())


class Scratch:
    """A temporary folder that goes away with the `with` block, also after an error or an interrupt."""

    def __init__(self, mode: int = 0o700) -> None:
        self.mode = mode

    def __enter__(self) -> Path:
        self.path = Path(tempfile.mkdtemp(prefix="ocrb.", dir=scratch_base()))
        self.path.chmod(self.mode)
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


# --- Processes -------------------------------------------------------------------------------------------------------

_running: dict[int, subprocess.Popen] = {}


def _end_all() -> None:
    for process in list(_running.values()):
        end_process(process, signal.SIGKILL, 0)


atexit.register(_end_all)


def exit_on_signals() -> None:
    """An interrupt and a SIGTERM leave through the `with` blocks, so that nothing is left running or lying about."""

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def leave(number: int, _frame: object) -> None:
        # A second one, from an impatient hand or a group signal, must not break off the clearing up.
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in numbers:
        signal.signal(number, leave)


def spawn(arguments: list[str], **options) -> subprocess.Popen:
    process = subprocess.Popen(arguments, start_new_session=True, **options)
    _running[process.pid] = process
    return process


def end_process(process: subprocess.Popen, gently: int = signal.SIGTERM, patience_seconds: float = 30) -> int | None:
    """Asks the process to end, then kills its whole group. Returns its exit code, None if it had to be killed."""
    code = process.poll()
    if code is None and patience_seconds > 0:
        process.send_signal(gently)
        try:
            code = process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            code = None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
    _running.pop(process.pid, None)
    return code


@dataclass
class Ran:
    """How one bounded command went."""

    code: int
    seconds: float
    out: bytes
    errors: str
    cpu_seconds: float
    memory_peak_bytes: int = 0


def run(arguments: list[str], limit_seconds: float, stdin: Path | None = None, stdout: Path | None = None,
        accept: tuple[int, ...] = (0,), follow_memory: bool = False, **options) -> Ran:
    """Runs a command to its end, within a limit. Raises Failed with its last words when its exit code is another.
    `follow_memory` looks at its VmHWM 50 times a second: the figure is gone with the process."""
    name = Path(arguments[0]).name
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as captured:
        with open(stdin or os.devnull, "rb") as source, open(stdout or os.devnull, "wb") as sink:
            before = os.times()
            start = time.monotonic()
            process = spawn(arguments, stdin=source, stdout=sink if stdout else captured, stderr=errors, **options)
            peak = 0
            try:
                while follow_memory and process.poll() is None:
                    peak = max(peak, memory_peak_bytes(process.pid) or 0)
                    if time.monotonic() - start > limit_seconds:
                        raise subprocess.TimeoutExpired(name, limit_seconds)
                    time.sleep(0.02)
                process.wait(limit_seconds)
            except subprocess.TimeoutExpired:
                end_process(process, signal.SIGKILL, 0)
                raise Failed(f"{name} did not end within {limit_seconds:.0f} s: {last_words(errors)}") from None
            except BaseException:
                end_process(process, signal.SIGKILL, 0)
                raise
            seconds = time.monotonic() - start
            after = os.times()
        end_process(process, signal.SIGKILL, 0)
        captured.seek(0)
        result = Ran(process.returncode, seconds, captured.read(), last_words(errors),
                     after.children_user + after.children_system - before.children_user - before.children_system, peak)
    if result.code not in accept:
        raise Failed(f"{name} ended with exit code {result.code}: {result.errors or '(no message)'}")
    return result


def last_words(file, count: int = 400) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - count))
    return " / ".join(line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip())


def recogniser_environment() -> dict[str, str]:
    """One thread per page for every tool; locale fixed, so that sorting and messages are the same everywhere."""
    return {**os.environ, "OMP_THREAD_LIMIT": "1", "LC_ALL": "C.UTF-8"}


def free_port() -> int:
    """A port that is free for TCP and UDP on loopback now."""
    for _ in range(50):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failed("no free port on 127.0.0.1")


# --- Figures from /proc ----------------------------------------------------------------------------------------------


@dataclass
class ProcessTimes:
    """CPU seconds of a process: its own threads', and those of all its children, ended or not."""

    own: float
    children: float


def parse_stat(text: str) -> tuple[int, int, float, float]:
    """(pid, parent, own seconds, reaped children's seconds) of a line of /proc/PID/stat. The name in it may hold
    blanks and brackets: fields are counted from its last closing bracket."""
    pid = int(text[: text.index(" ")])
    fields = text[text.rindex(")") + 2:].split()
    user, system, child_user, child_system = (int(fields[index]) for index in (11, 12, 13, 14))
    return pid, int(fields[1]), (user + system) / TICKS_PER_SECOND, (child_user + child_system) / TICKS_PER_SECOND


def process_times(pid: int) -> ProcessTimes:
    table: dict[int, tuple[int, float, float]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found, parent, own, reaped = parse_stat(Path("/proc", entry, "stat").read_text(errors="replace"))
            except (OSError, ValueError):
                continue
            table[found] = (parent, own, reaped)
    if pid not in table:
        raise Failed(f"process {pid} ended while it was measured")
    children: dict[int, list[int]] = {}
    for found, (parent, _, _) in table.items():
        children.setdefault(parent, []).append(found)
    below, queue = table[pid][2], list(children.get(pid, []))
    while queue:
        found = queue.pop()
        below += table[found][1] + table[found][2]
        queue += children.get(found, [])
    return ProcessTimes(own=table[pid][1], children=below)


def memory_peak_bytes(pid: int) -> int | None:
    """The most memory the process ever had resident (VmHWM), None when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def machine_facts(settings: Settings) -> list[tuple[str, str]]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    device, _, kind = mount_of(scratch_base())
    return [
        ("cores", f"{os.cpu_count()} (slots: {settings.cores})"),
        ("CPU", f"{model}, {platform.machine()}"),
        ("memory", f"{memory:.1f} GiB"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("file system", f"{kind} on {device} ({scratch_base()})"),
        ("load before", " ".join(f"{value:.2f}" for value in os.getloadavg())),
        ("extent", ("quick, figures are only a sign of life; " if settings.quick else "")
         + f"rounds {settings.rounds}, medians"),
    ]


# --- The table -------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """One ratio. `target` is a bound on `ratio` ("≥" or "≤"); without one the row only tells."""

    what: str
    ours: str
    against: str
    ratio: float | None = None
    bound: str = ""
    target: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.ratio is None:
            return "not measured"
        if self.target is None:
            return "–"
        met = self.ratio >= self.target if self.bound == "≥" else self.ratio <= self.target
        return "met" if met else "**missed**"


@dataclass
class Report:
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def unmeasured(self, what: str, bound: str, target: float, why: str) -> None:
        self.rows.append(Row(what, "–", "–", None, bound, target, why))

    def markdown(self, facts: list[tuple[str, str]]) -> str:
        lines = [f"- {name}: {value}" for name, value in facts] + [""]
        cells = [["what", "ours", "against", "ratio", "target", ""]]
        for row in self.rows:
            cells.append([row.what, row.ours, row.against, "–" if row.ratio is None else significant(row.ratio),
                          f"{row.bound} {significant(row.target)}" if row.target is not None else "–",
                          row.verdict])
        widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
        for index, line in enumerate(cells):
            lines.append("| " + " | ".join(text.ljust(width) for text, width in zip(line, widths)) + " |")
            if index == 0:
                lines.append("|" + "|".join("-" * (width + 2) for width in widths) + "|")
        # One line for all rows that have the same thing to say.
        said: dict[str, list[str]] = {}
        for row in self.rows:
            if row.note:
                said.setdefault(row.note, []).append(row.what)
        notes = [f"{'; '.join(rows)}: {note}" if len(rows) < 3 else f"{len(rows)} rows: {note}"
                 for note, rows in said.items()] + self.notes
        if notes:
            lines += [""] + [f"- {note}" for note in notes]
        return "\n".join(lines) + "\n"


def significant(value: float) -> str:
    """Three significant digits, but never more precise than a thousandth."""
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, min(3, digits)):.{min(3, max(0, digits))}f}"


def rate_text(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2f} {unit}"


def bytes_text(value: float) -> str:
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"


def median(values) -> float:
    return statistics.median(values)
