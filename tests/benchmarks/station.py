"""A station for the tools beside this file: the real chorusd with a configuration of its own, watched from outside."""
import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
STARTER = ROOT / "model/starter/animals.safetensors"
CODES = ["BLACKBIRD", "CROW", "CUCKOO", "DUCK", "FROG", "GRASSHOPPER", "LARK", "OWL", "ROOSTER", "SEAGULL"]


def add_common_arguments(parser):
    parser.add_argument("--chorusd", default=ROOT / "build/release/daemon/chorusd", type=pathlib.Path)
    parser.add_argument("--model", default=STARTER, type=pathlib.Path)


def codes_of(bundle):
    """The codes of a bundle's classes, from its header of JSON behind 8 bytes with its length."""
    with open(bundle, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return [label["code"] for label in json.loads(header["__metadata__"]["labels"])]


class Scrape:
    """One page of /metrics."""

    def __init__(self, text):
        self.series = {}
        for name, labels, value in re.findall(r"^(chorus_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
            self.series.setdefault(name, []).append((dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)))

    def sum(self, name, **labels):
        return sum(value for own, value in self.series.get(name, []) if labels.items() <= own.items())

    def imbalance(self):
        """The first channel whose samples are not analysed, dropped or pending; None when all books balance."""
        for labels, samples_in in self.series.get("chorus_samples_in_total", []):
            booked = (
                self.sum("chorus_samples_analysed_total", **labels)
                + self.sum("chorus_samples_dropped_total", **labels)
                + self.sum("chorus_samples_pending", **labels)
            )
            if booked != samples_in:
                return f"source {labels['source']} channel {labels['channel']}: {samples_in:.0f} in, {booked:.0f} booked"
        return None


class Station:
    """Runs chorusd with `sections` (TOML) in a temporary folder."""

    def __init__(self, arguments, sections):
        self.temporary = tempfile.TemporaryDirectory(prefix="chorus.")
        self.folder = pathlib.Path(self.temporary.name)
        self.config = self.folder / "chorusd.toml"
        self.journal = self.folder / "journal.db"
        self.log_path = self.folder / "log"
        self.base = f"""
[station]
name = "bench"
[model]
bundle = "{arguments.model}"
[publish]
endpoint = "tcp://127.0.0.1:*"
[replay]
endpoint = ""
[http]
listen = "127.0.0.1:0"
[journal]
path = "{self.journal}"
"""
        self.config.write_text(self.base + sections)
        self.chorusd = arguments.chorusd

    def start(self):
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen([self.chorusd, "run", "--config", self.config], stderr=log)
        self.endpoint = self.wait_for_line("publishing on ")
        self.http = self.wait_for_line("serving HTTP on ")
        self.started = time.monotonic()

    def log(self):
        return self.log_path.read_text()

    def wait_for_line(self, text, seconds=60):
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            found = re.search(re.escape(text) + "(.*)\n", self.log())
            if found:
                return found[1]
            time.sleep(0.05)
        raise SystemExit(f"chorusd did not say '{text}':\n{self.log()}")

    def scrape(self):
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=30) as page:
            return Scrape(page.read().decode())

    def resources(self):
        """Resident MiB, descriptors and threads now."""
        proc = pathlib.Path("/proc") / str(self.process.pid)
        resident_kib = int(re.search(r"VmRSS:\s+(\d+)", (proc / "status").read_text())[1])
        return resident_kib / 1024, len(os.listdir(proc / "fd")), len(os.listdir(proc / "task"))

    def cpu_seconds(self):
        fields = (pathlib.Path("/proc") / str(self.process.pid) / "stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        """The exit status; what it logged at level error is printed."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def check_journal(self):
        """The number of rows; SystemExit where seq has a hole or the database is damaged."""
        database = sqlite3.connect(self.journal)
        (intact,) = database.execute("PRAGMA integrity_check").fetchone()
        rows, first, last = database.execute("SELECT count(*), min(seq), max(seq) FROM events").fetchone()
        if intact != "ok" or (rows and last - first + 1 != rows):
            raise SystemExit(f"journal: {intact}, {rows} rows from seq {first} to {last}")
        for (seq, body) in database.execute("SELECT seq, body FROM events"):
            if json.loads(body)["seq"] != seq:
                raise SystemExit(f"journal: row {seq} holds another event")
        return rows

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if hasattr(self, "process") and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.temporary.cleanup()
