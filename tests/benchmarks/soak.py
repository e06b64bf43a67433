#!/usr/bin/python3
"""Does anything grow: hours of sound through one daemon, faster than they last, with and without faults.

  soak.py [--hours 24] [--channels 8] [--rate 48000] [--faults] [--chorusd PROGRAM] [--model BUNDLE]

This process writes `--hours` of sound (the demo's calls, over and over) into a FIFO that the daemon reads as fast as it can
analyse it, and samples the daemon's resident memory, descriptors and threads, and its books. Each class has half its
threshold, so that events come often. With --faults, meanwhile:
  - five live sources fail again and again, each in its way: an error, an end, a stall, a refused connection, lost buffers;
  - subscribers come and go, half of them without reading; HTTP requests are broken off;
  - the configuration is reloaded by SIGHUP, in turn faulty and good.
Prints the medians of the first and the last quarter (after a warm-up of 5 %) and whether they are flat: memory within 5 %
and 8 MiB, descriptors and threads within 4. Status 0: flat, books balanced, journal without a hole.
"""
import argparse
import itertools
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

import numpy as np
import soundfile
import zmq

import station

LIVE = "audiotestsrc is-live=true wave=pink-noise ! audio/x-raw,rate=16000,channels=1"


def read_calls(rate, channels):
    """45 s of the demo's sound as interleaved 16-bit bytes."""
    with tempfile.TemporaryDirectory() as folder:
        wav = pathlib.Path(folder) / "POND_20261123_021400.wav"
        command = [station.ROOT / "scripts/make_demo_data.py", "stream", wav, "--rate", str(rate)]
        subprocess.run(["/usr/bin/python3", *command], check=True, stdout=subprocess.DEVNULL)
        sound, _ = soundfile.read(wav, dtype="int16", always_2d=True)
    return np.ascontiguousarray(sound[:, np.arange(channels) % sound.shape[1]])


def write_sound(fifo, sound, frames, stop):
    chunk = 4800
    try:
        with open(fifo, "wb") as out:
            for at in itertools.count(0, chunk):
                if at >= frames or stop.is_set():
                    return
                first = at % len(sound)
                out.write(sound[first : min(first + chunk, len(sound))].tobytes())
    except BrokenPipeError:
        return


def silent_server():
    """Accepts connections in its backlog, never sends."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(128)
    return server


def faulty_sources(silent_port):
    parser = "rawaudioparse pcm-format=s16le sample-rate=16000 num-channels=1"
    launches = {
        "fails": f"{LIVE} ! identity error-after=200",
        "ends": LIVE.replace("is-live=true", "is-live=true num-buffers=200"),
        "stalls": f"tcpclientsrc host=127.0.0.1 port={silent_port} ! {parser}",
        "refused": f"tcpclientsrc host=127.0.0.1 port=1 ! {parser}",
        "loses": f"{LIVE} ! identity drop-probability=0.02",
    }
    return "".join(f'[[source]]\nname = "{name}"\nlaunch = "{launch}"\n' for name, launch in launches.items())


def disturb(bench, good, stop):
    """Faults from outside, a few a second."""
    rng = random.Random(1)
    context = zmq.Context()
    for turn in itertools.count():
        if stop.wait(0.3):
            return
        subscriber = context.socket(zmq.SUB)
        subscriber.linger = 0
        subscriber.connect(bench.endpoint)
        subscriber.subscribe(b"")
        if rng.random() < 0.5 and subscriber.poll(200):
            subscriber.recv_multipart()
        subscriber.close()
        host, port = bench.http.rsplit(":", 1)
        try:
            with socket.create_connection((host, int(port)), timeout=1) as link:
                link.send(b"GET /metrics HT")
        except OSError:
            pass  # it is ending
        if turn % 30 == 29:
            faulty = turn % 60 == 29
            # Every other good one is another: a source is replaced.
            changed = good.replace("drop-probability=0.02", "drop-probability=0.03") if turn % 120 == 119 else good
            bench.config.write_text(changed + ("[log]\nlevel = 'loud'\n" if faulty else ""))
            bench.process.send_signal(signal.SIGHUP)


def is_flat(samples):
    quarter = max(1, len(samples) // 4)
    first, last = samples[:quarter], samples[-quarter:]
    flat = True
    for column, (name, unit, slack) in enumerate((("memory", "MiB", None), ("descriptors", "", 4), ("threads", "", 4))):
        before = statistics.median(sample[column] for sample in first)
        after = statistics.median(sample[column] for sample in last)
        limit = before * 1.05 + 8 if slack is None else before + slack
        flat &= after <= limit
        print(f"{name}: first quarter {before:.1f} {unit}, last quarter {after:.1f} {unit},"
              f" highest {max(sample[column] for sample in samples):.1f} {unit}: {'flat' if after <= limit else 'GROWS'}")
    return flat


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--faults", action="store_true")
    station.add_common_arguments(parser)
    arguments = parser.parse_args()

    sound = read_calls(arguments.rate, arguments.channels)
    frames = int(arguments.hours * 3600 * arguments.rate) // 4800 * 4800
    silent = silent_server()
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        fifo = os.path.join(folder, "sound")
        os.mkfifo(fifo)
        held = os.open(fifo, os.O_RDWR)  # so that the stream doesn't end, and opening it never waits
        sections = f"""
[analysis]
silence_timeout_seconds = 2.0
[detection]
threshold_scale = 0.5
[[source]]
name = "array"
launch = "filesrc location={fifo} ! rawaudioparse pcm-format=s16le sample-rate={arguments.rate} num-channels={arguments.channels}"
"""
        if arguments.faults:
            sections += faulty_sources(silent.getsockname()[1])
        with station.Station(arguments, sections) as bench:
            writer = threading.Thread(target=write_sound, args=(fifo, sound, frames, stop), daemon=True)
            writer.start()
            bench.start()
            threads = [writer]
            if arguments.faults:
                threads.append(threading.Thread(target=disturb, args=(bench, bench.config.read_text(), stop), daemon=True))
                threads[-1].start()
            samples = []
            problem = None
            while writer.is_alive() and not problem:
                writer.join(timeout=0.5 if arguments.hours < 1 else 5)
                if bench.process.poll() is not None:
                    raise SystemExit(f"chorusd ended:\n{bench.log()[-4000:]}")
                scrape = bench.scrape()
                problem = scrape.imbalance()
                samples.append(bench.resources())
            seconds = time.monotonic() - bench.started
            scrape = bench.scrape()
            stop.set()
            for thread in threads:
                thread.join(timeout=5)
            status = bench.stop()
            os.close(held)
            rows = bench.check_journal()
            channel_hours = scrape.sum("chorus_samples_in_total", source="array") / arguments.rate / 3600
            print(f"{channel_hours:.2f} channel-hours in {seconds:.0f} s{' with faults' if arguments.faults else ''}:"
                  f" {scrape.sum('chorus_windows_total'):.0f} windows, {rows} journal rows,"
                  f" {scrape.sum('chorus_source_reconnects_total'):.0f} reconnects,"
                  f" {scrape.sum('chorus_config_reloads_total'):.0f} reloads,"
                  f" {scrape.sum('chorus_samples_dropped_total', source='array'):.0f} samples of the array dropped")
            flat = is_flat(samples[len(samples) // 20 :])
            if problem or status != 0:
                print(f"FAILED: {problem or f'exit status {status}'}")
                return 1
            return 0 if flat else 1


if __name__ == "__main__":
    raise SystemExit(main())
