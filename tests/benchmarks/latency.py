#!/usr/bin/python3
"""From a window's last sample to its event's bytes on a subscriber's socket, measured from outside.

  latency.py [--seconds 120] [--channels 4] [--rate 48000] [--hop 1.0] [--chorusd PROGRAM] [--model BUNDLE]

Method. A process of its own sends RTP (L16, packets of 10 ms, UDP on loopback) at the speed of sound and notes the
monotonic time just before it sends each packet: that is when the packet's samples exist for the daemon. One class has the
threshold 0 and each window updates its event, so each window of each channel gives an event message; its `end_sample`,
counted from the stream's first sample, names the packet that carried the window's last sample. A SUB socket in this process
notes the monotonic time (the same clock) when the message has been received whole. The difference holds everything between:
the kernel, the jitter buffer, resampling (with its filter's delay), features, batching, the network, the detector, the
journal's flush to the disk and ZeroMQ. None of the daemon's own clocks is used. The run is void if a packet was lost (the
books tell), as sample indices would then not name packets.
"""
import argparse
import multiprocessing
import pathlib
import re
import socket
import struct
import time

import numpy as np
import zmq

import station

PACKETS_A_SECOND = 100
WARM_UP_SECONDS = 5  # the first windows find cold caches


def free_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def send(port, rate, channels, seconds, times):
    """Writes into times[packet] when it was sent."""
    frames = rate // PACKETS_A_SECOND
    noise = np.random.default_rng(1).normal(0, 1000, (PACKETS_A_SECOND, frames, channels)).astype(">i2")
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.connect(("127.0.0.1", port))
    begun = time.monotonic()
    for packet in range(int(seconds * PACKETS_A_SECOND)):
        header = struct.pack(">BBHII", 0x80, 96, packet & 0xFFFF, packet * frames & 0xFFFFFFFF, 0x43484F52)
        data = header + noise[packet % PACKETS_A_SECOND].tobytes()
        time.sleep(max(0.0, begun + (packet + 1) / PACKETS_A_SECOND - time.monotonic()))
        times[packet] = time.monotonic()
        link.send(data)


def wait_until_bound(port):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if re.search(f"0100007F:{port:04X} ", pathlib.Path("/proc/net/udp").read_text()):
            return
        time.sleep(0.01)
    raise SystemExit("the source does not listen")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--hop", type=float, default=1.0)
    station.add_common_arguments(parser)
    arguments = parser.parse_args()
    if arguments.rate % PACKETS_A_SECOND:
        parser.error(f"--rate must be a multiple of {PACKETS_A_SECOND}")

    port = free_udp_port()
    sections = f"""
[analysis]
hop_seconds = {arguments.hop}
[detection]
threshold_scale = 100.0
update_seconds = 0.1
[detection.thresholds]
OWL = 0.0
[[source]]
name = "array"
rtp = {{ port = {port}, rate_hz = {arguments.rate}, channels = {arguments.channels} }}
"""
    with station.Station(arguments, sections) as bench:
        bench.start()
        stream = zmq.Context().socket(zmq.SUB)
        stream.connect(bench.endpoint)
        stream.subscribe(b"event.")
        wait_until_bound(port)
        packets = int(arguments.seconds * PACKETS_A_SECOND)
        times = multiprocessing.Array("d", packets, lock=False)
        sender = multiprocessing.Process(target=send, args=(port, arguments.rate, arguments.channels,
                                                            arguments.seconds, times), daemon=True)
        sender.start()
        arrivals = []
        while sender.is_alive() or stream.poll(500):
            if stream.poll(100):
                frames = stream.recv_multipart()
                arrivals.append((time.monotonic(), frames[1]))
        scrape = bench.scrape()
        sent = int(packets * arguments.channels * (arguments.rate // PACKETS_A_SECOND))
        came = scrape.sum("chorus_samples_in_total")
        if scrape.sum("chorus_gaps_total") or came != sent:
            raise SystemExit(f"void: {sent} samples were sent, {came:.0f} came in, {scrape.sum('chorus_gaps_total'):.0f} gaps")
        if scrape.imbalance():
            raise SystemExit(scrape.imbalance())

        latencies = []
        for arrived, body in arrivals:
            event = station.json.loads(body)
            packet = (event["end_sample"] - 1) * PACKETS_A_SECOND // arguments.rate
            if event["phase"] != "close" and packet >= WARM_UP_SECONDS * PACKETS_A_SECOND:
                latencies.append((arrived - times[packet]) * 1e3)
        if not latencies:
            raise SystemExit(f"no event came:\n{bench.log()}")
        p50, p90, p99, worst = np.percentile(latencies, [50, 90, 99, 100])
        print(f"{len(latencies)} windows of {arguments.channels} channels of {arguments.rate} Hz, hop {arguments.hop} s")
        print(f"last sample sent -> message received: p50 {p50:.1f} ms, p90 {p90:.1f} ms, p99 {p99:.1f} ms, max {worst:.1f} ms")
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
