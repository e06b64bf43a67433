#!/usr/bin/python3
"""How many live channels this machine keeps up with, and what each costs.

  capacity.py [--counts 1,8,64,256] [--seconds 30] [--most-ms 250] [--rate 48000] [--per-source 8] [--hop 1.0] [--threads N]
              [--chorusd PROGRAM] [--model BUNDLE]

Without --counts the number of channels is doubled until it is too much, and then halved in on, to one source. A number is
kept up with if not a sample is dropped, no sound is lost and the books balance over `seconds` (600 for a figure to be
believed), and if the 99th percentile of the time from a window's last sample to its event's being handed to ZeroMQ is at
most `most-ms`. So that it holds every window, one class has the threshold 0 and each window updates its event, which goes
through the journal. The daemon's histogram gives that percentile as the upper bound of a bucket.

Live test sounds (white noise, made by the daemon's own GStreamer, which is part of the CPU time) of `per-source` channels
each. Sources are added one after another, spread over the hop, as devices of their own begin at different times; what is
measured begins after the last one has settled. The columns: cores in use, of these a channel's share in thousandths,
resident memory, percentiles of that time.
"""
import argparse
import os
import signal
import time

import station

SETTLE_SECONDS = 6


def source(number, channels, rate):
    return (
        f'[[source]]\nname = "array-{number}"\nlaunch = "audiotestsrc is-live=true wave=white-noise volume=0.1 ! '
        f'audio/x-raw,format=S16LE,rate={rate},channels={channels}"\n'
    )


def histogram(scrape, name):
    """Counts of all up to each bound."""
    return {float(labels["le"]): value for labels, value in scrape.series.get(name + "_bucket", [])}


def quantile(before, after, fraction):
    """Upper bound of the bucket that holds the fraction of what came between two scrapes; None without any."""
    counts = sorted((bound, count - before.get(bound, 0)) for bound, count in after.items())
    total = counts[-1][1] if counts else 0
    return next((bound for bound, count in counts if total and count >= fraction * total), None)


def add_sources(bench, channels, arguments, base):
    """One source at first, the others one by one by reloads, at another moment of the hop each."""
    sizes = [min(arguments.per_source, channels - first) for first in range(0, channels, arguments.per_source)]
    text = base + source(0, sizes[0], arguments.rate)
    bench.config.write_text(bench.base + text)
    bench.start()
    for number, size in enumerate(sizes[1:], 1):
        text += source(number, size, arguments.rate)
        bench.config.write_text(bench.base + text)
        applied = bench.scrape().sum("chorus_config_reloads_total", result="applied")
        begun = time.monotonic()
        bench.process.send_signal(signal.SIGHUP)
        while bench.scrape().sum("chorus_config_reloads_total", result="applied") == applied:
            if bench.process.poll() is not None or time.monotonic() - begun > 30:
                raise SystemExit(f"no reload:\n{bench.log()[-2000:]}")
            time.sleep(0.01)
        # Spread evenly over the hop, however long a reload takes.
        wanted = bench.started + number * arguments.hop * (1 + 1 / len(sizes))
        time.sleep(max(0.0, wanted - time.monotonic()))


def measure(channels, arguments):
    """A line of the table; whether the machine kept up."""
    base = f"""[detection]
threshold_scale = 100.0
update_seconds = 0.1
[detection.thresholds]
{station.codes_of(arguments.model)[0]} = 0.0
[analysis]
hop_seconds = {arguments.hop}
"""
    with station.Station(arguments, "") as bench:
        bench.base = bench.base.replace("[publish]", f"threads = {arguments.threads}\n[publish]")
        add_sources(bench, channels, arguments, base)
        time.sleep(SETTLE_SECONDS)
        before, cpu_before, begun = bench.scrape(), bench.cpu_seconds(), time.monotonic()
        highest, faults, after = 0.0, [], before
        while time.monotonic() < begun + arguments.seconds and not faults:
            time.sleep(min(5, arguments.seconds))
            if bench.process.poll() is not None:
                raise SystemExit(f"chorusd ended:\n{bench.log()[-2000:]}")
            after = bench.scrape()
            highest = max(highest, bench.resources()[0])
            dropped = after.sum("chorus_samples_dropped_total") - before.sum("chorus_samples_dropped_total")
            if dropped:
                faults.append(f"{dropped / arguments.rate:.1f} channel-seconds dropped")
            lost = after.sum("chorus_gap_seconds_total") - before.sum("chorus_gap_seconds_total")
            if lost:
                faults.append(f"{lost:.1f} s lost in gaps")
            if after.imbalance():
                faults.append(after.imbalance())
        seconds = time.monotonic() - begun
        cores = (bench.cpu_seconds() - cpu_before) / seconds
        heard = after.sum("chorus_samples_in_total") - before.sum("chorus_samples_in_total")
        if heard < 0.98 * channels * arguments.rate * (seconds - 1):
            faults.append(f"only {heard / arguments.rate / channels:.1f} s of sound came in {seconds:.1f} s")
        name = "chorus_sound_to_publish_seconds"
        p50, p99 = (quantile(histogram(before, name), histogram(after, name), part) for part in (0.5, 0.99))
        if p99 is None or p99 > arguments.most_ms / 1e3:
            faults.append("too late")
        times = "".join(f" {1e3 * bound:6.0f}" if bound is not None else "      -" for bound in (p50, p99))
        print(f"{channels:8} {cores:7.3f} {1e3 * cores / channels:8.2f} {highest:7.0f}{times}   "
              f"{'kept up' if not faults else '; '.join(faults)}", flush=True)
        return not faults


def search(arguments):
    """The most channels that are kept up with, to one source."""
    step, low = arguments.per_source, 0
    high = 4 * step
    while measure(high, arguments):
        low, high = high, 2 * high
    while high - low > step:
        middle = (low + high) // 2 // step * step
        low, high = (middle, high) if measure(middle, arguments) else (low, middle)
    return low


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=lambda text: [int(count) for count in text.split(",")])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--most-ms", type=float, default=250)
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--per-source", type=int, default=8)
    parser.add_argument("--hop", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=0)
    station.add_common_arguments(parser)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} processors, {arguments.rate} Hz, a window every {arguments.hop:g} s")
    print("channels   cores m/channel    MiB p50 ms p99 ms")
    if arguments.counts:
        return 0 if all([measure(count, arguments) for count in arguments.counts]) else 1
    print(f"most channels kept up with: {search(arguments)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
