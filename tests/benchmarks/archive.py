#!/usr/bin/python3
"""How fast `chorusd detect` goes through an archive.

  archive.py [--hours 1] [--recordings 4] [--rate 48000] [--channels 1] [--threads 0,1] [--hop 1.0] [--rounds 3]
             [--chorusd PROGRAM] [--model BUNDLE]

Writes recordings of the demo's calls, over and over (WAV, 16 bits), that last `hours` in all, lets detect go through them
with each of the numbers of threads in turn (0: as many as processors, and two), as many times as there are rounds, and prints the medians:
hours of sound a minute, times real time, CPU seconds an hour, milliseconds a window. Status 1 if the runs don't all write
the same bytes.
"""
import argparse
import hashlib
import pathlib
import resource
import statistics
import subprocess
import tempfile
import time
import wave

import soak
import station


def write_recordings(folder, arguments):
    """Returns how many channel-seconds they hold."""
    seconds = arguments.hours * 3600 / arguments.recordings
    calls = soak.read_calls(arguments.rate, arguments.channels)
    for number in range(arguments.recordings):
        with wave.open(str(folder / f"SITE_20260101_{number:06}.wav"), "wb") as out:
            out.setnchannels(arguments.channels)
            out.setsampwidth(2)
            out.setframerate(arguments.rate)
            left = int(seconds * arguments.rate)
            while left > 0:
                out.writeframes(calls[:left].tobytes())
                left -= len(calls)
    return seconds * arguments.recordings * arguments.channels


def run(folder, threads, arguments):
    """Wall seconds, CPU seconds, the output's hash."""
    command = [arguments.chorusd, "detect", "--model", arguments.model, "--threads", str(threads), "--hop",
               str(arguments.hop), "--progress", "off", folder]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    seconds = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not done.stdout:
        raise SystemExit("no event was found")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, hashlib.sha256(done.stdout).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1)
    parser.add_argument("--recordings", type=int, default=4)
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--threads", type=lambda text: [int(count) for count in text.split(",")], default=[0, 1])
    parser.add_argument("--hop", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    station.add_common_arguments(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chorus.") as temporary:
        folder = pathlib.Path(temporary)
        sound = write_recordings(folder, arguments)
        runs = {threads: [] for threads in arguments.threads}
        for _ in range(arguments.rounds):  # in turn, so that what else the machine does meets all
            for threads, all_of_it in runs.items():
                all_of_it.append(run(folder, threads, arguments))
        print(f"{sound / 3600:.2f} channel-hours of {arguments.rate} Hz in {arguments.recordings} recordings,"
              f" hop {arguments.hop:g} s")
        print("threads  hours a minute  times real time  CPU s an hour  ms a window")
        for threads, all_of_it in runs.items():
            wall, cpu = (statistics.median(one[column] for one in all_of_it) for column in (0, 1))
            print(f"{threads or 'all':>7} {sound / 3600 / (wall / 60):15.2f} {sound / wall:16.0f}"
                  f" {cpu / (sound / 3600):14.1f} {1e3 * wall / (sound / arguments.hop):12.2f}")
        outputs = {digest for all_of_it in runs.values() for _, _, digest in all_of_it}
        print("all wrote the same bytes" if len(outputs) == 1 else "FAILED: outputs differ")
        return 0 if len(outputs) == 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
