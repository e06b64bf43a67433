#!/usr/bin/python3
"""Keeps a complete copy of a station's events, whatever is restarted: this program, the daemon, the network.

    follow.py FILE [--publish tcp://127.0.0.1:7740] [--replay tcp://127.0.0.1:7741]
              [--server-key-file station.pub --key-file lab.key]

FILE gets one JSON line for each message, in order of `seq`, each once. It is also the only state: at the start the last
whole line tells where to go on. Events that the station no longer keeps are missing, which is said on stderr. Should the
station count from the beginning again (a new disk), that is said, and it ends: begin another FILE. A station with keys
asks for its public key and this client's secret key, in the files that `chorusd keygen` makes. Needs pyzmq (Debian:
python3-zmq) and nothing of Chorus.
"""
import argparse
import json
import sys

import zmq


def open_copy(path):
    """The file to append to, without a line that was cut off, and the last seq in it."""
    copy = open(path, "a+b")
    copy.seek(0)
    whole, last = 0, 0
    for line in copy:
        if not line.endswith(b"\n"):
            break
        whole += len(line)
        last = json.loads(line)["seq"]
    copy.truncate(whole)
    return copy, last


def read_key(path):
    """The key in a file made by keygen: its one line that is no comment."""
    with open(path, "rb") as file:
        lines = [line.strip() for line in file if line.strip() and not line.startswith(b"#")]
    if len(lines) != 1 or len(lines[0]) != 40:
        sys.exit(f"follow: {path}: holds no key of 40 characters")
    return lines[0]


class Follower:
    def __init__(self, arguments):
        self.context = zmq.Context()
        self.server_key = arguments.server_key_file and read_key(arguments.server_key_file)
        self.secret_key = arguments.key_file and read_key(arguments.key_file)
        self.copy, self.last = open_copy(arguments.file)
        self.replay_endpoint = arguments.replay
        self.replay = None
        self.stream = self.socket(zmq.SUB, arguments.publish)
        self.stream.connect(arguments.publish)
        for topic in (b"event.", b"status."):
            self.stream.subscribe(topic)

    def socket(self, kind, endpoint):
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        if self.server_key:
            socket.curve_serverkey = self.server_key
            socket.curve_secretkey = self.secret_key
            socket.curve_publickey = zmq.curve_public(self.secret_key)
        return socket

    def write(self, bodies):
        for body in bodies:
            seq = json.loads(body)["seq"]
            if seq != self.last + 1:
                print(f"follow: events {self.last + 1} to {seq - 1} are no longer kept", file=sys.stderr, flush=True)
            self.copy.write(body + b"\n")
            self.last = seq
        self.copy.flush()

    def ask(self):
        """The next events after the last; None when the daemon doesn't answer."""
        if self.replay is None:
            self.replay = self.socket(zmq.REQ, self.replay_endpoint)
            self.replay.setsockopt(zmq.LINGER, 0)
            self.replay.connect(self.replay_endpoint)
        self.replay.send(json.dumps({"after": self.last, "limit": 500}).encode())
        if not self.replay.poll(3000):
            self.replay.close()
            self.replay = None
            return None
        header, *frames = self.replay.recv_multipart()
        header = json.loads(header)
        if "error" in header:
            print("follow:", header["error"], file=sys.stderr)
            return None
        if header["last"] < self.last:
            sys.exit(f"follow: the station counts anew: its last event is {header['last']}, this copy's {self.last}")
        return frames[1::2]

    def catch_up(self):
        while bodies := self.ask():
            self.write(bodies)

    def run(self):
        self.catch_up()
        while True:
            if not self.stream.poll(15000):  # a status comes every 10 s: silence may hide a loss
                self.catch_up()
                continue
            _, body = self.stream.recv_multipart()
            seq = json.loads(body).get("seq")
            is_event = body.startswith(b'{"schema":"chorus.event/1"')
            if is_event and seq == self.last + 1:
                self.write([body])
            elif seq > self.last or not is_event and seq < self.last:  # something was missed, or the count began anew
                self.catch_up()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file")
parser.add_argument("--publish", default="tcp://127.0.0.1:7740")
parser.add_argument("--replay", default="tcp://127.0.0.1:7741")
parser.add_argument("--server-key-file", help="the station's public key")
parser.add_argument("--key-file", help="this client's secret key")
options = parser.parse_args()
if bool(options.server_key_file) != bool(options.key_file):
    parser.error("--server-key-file and --key-file go together")
try:
    Follower(options).run()
except KeyboardInterrupt:
    pass
