#!/usr/bin/python3
"""Can this machine keep up: many live channels at real time, and not a sample dropped.

  load.py [--channels 64] [--rate 48000] [--minutes 10] [--per-source 16] [--hop 1.0] [--chorusd PROGRAM] [--model BUNDLE]

Live test sounds (white noise, made by the daemon's own GStreamer, which is part of the CPU time below) of `per-source`
channels each. Books are looked at each 5 s. Status 0: every sample was analysed and no sound lost. Prints the CPU share of
all cores, the waits of windows and the highest memory.
"""
import argparse
import os
import time

import station


def quantile(scrape, name, fraction):
    """Upper bound of the bucket that holds the fraction, from a histogram; None when it is empty."""
    buckets = sorted((float(labels["le"]), value) for labels, value in scrape.series.get(name + "_bucket", []))
    total = buckets[-1][1] if buckets else 0
    return next((bound for bound, count in buckets if total and count >= fraction * total), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--per-source", type=int, default=16)
    parser.add_argument("--hop", type=float, default=1.0)
    station.add_common_arguments(parser)
    arguments = parser.parse_args()

    sections = f"[analysis]\nhop_seconds = {arguments.hop}\n"
    for first in range(0, arguments.channels, arguments.per_source):
        channels = min(arguments.per_source, arguments.channels - first)
        sections += (
            f'[[source]]\nname = "array-{first}"\nlaunch = "audiotestsrc is-live=true wave=white-noise volume=0.1 ! '
            f'audio/x-raw,format=S16LE,rate={arguments.rate},channels={channels}"\n'
        )
    with station.Station(arguments, sections) as bench:
        bench.start()
        end = bench.started + arguments.minutes * 60
        cpu_before, highest = bench.cpu_seconds(), 0.0
        faults = []
        while time.monotonic() < end and not faults:
            time.sleep(min(5, max(0, end - time.monotonic())))
            if bench.process.poll() is not None:
                raise SystemExit(f"chorusd ended:\n{bench.log()}")
            scrape = bench.scrape()
            highest = max(highest, bench.resources()[0])
            dropped = scrape.sum("chorus_samples_dropped_total")
            if dropped:
                faults.append(f"{dropped:.0f} samples dropped")
            if scrape.sum("chorus_gaps_total"):
                faults.append(f"{scrape.sum('chorus_gap_seconds_total'):.3f} s of sound lost in gaps")
            if scrape.imbalance():
                faults.append(scrape.imbalance())
        seconds = time.monotonic() - bench.started
        cpu = bench.cpu_seconds() - cpu_before
        heard = scrape.sum("chorus_samples_in_total") / arguments.rate
        cores = os.cpu_count()
        print(f"{seconds:.0f} s, {arguments.channels} channels of {arguments.rate} Hz: {heard / 3600:.2f} channel-hours,"
              f" {scrape.sum('chorus_windows_total'):.0f} windows")
        print(f"CPU: {cpu / seconds:.2f} cores of {cores} ({100 * cpu / seconds / cores:.0f} %); memory {highest:.0f} MiB")
        for name in ("chorus_queue_seconds", "chorus_compute_seconds"):
            print(f"{name}: p50 <= {quantile(scrape, name, 0.5)}, p99 <= {quantile(scrape, name, 0.99)}")
        if heard < arguments.channels * (seconds - 5):
            faults.append(f"only {heard:.0f} channel-seconds of sound came in {seconds:.0f} s")
        print("no sample dropped" if not faults else "FAILED: " + "; ".join(faults))
        return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
