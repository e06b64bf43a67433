#!/usr/bin/python3
"""Holds the events of a stream or of `chorusd detect` against the calls that are known to be in a recording.

  compare_events.py CALLS.csv EVENTS.jsonl [--quiet]

CALLS.csv has the columns channel,start_s,end_s,code. An event is right if it overlaps a call of its code on its channel;
a call is found if such an event overlaps it. Prints the calls and precision and recall; fails unless all were found.
"""
import argparse
import csv
import json


def read_events(path):
    """One (channel, start_s, end_s, code, score) an event, as it was when it was last told."""
    events = {}
    with open(path) as lines:
        for line in lines:
            event = json.loads(line)
            if event["schema"] == "chorus.event/1":
                rate = event["sample_rate_hz"]
                events[event["id"]] = (event["channel"], event["start_sample"] / rate, event["end_sample"] / rate, event["code"], event["peak_score"])
    return sorted(events.values())


def overlap(call, event):
    return call[0] == event[0] and call[3] == event[3] and event[1] < call[2] and call[1] < event[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("calls")
    parser.add_argument("events")
    parser.add_argument("--quiet", action="store_true", help="only the totals")
    args = parser.parse_args()
    with open(args.calls, newline="") as handle:
        calls = [(int(row["channel"]), float(row["start_s"]), float(row["end_s"]), row["code"]) for row in csv.DictReader(handle)]
    events = read_events(args.events)
    missed = 0
    for call in calls:
        hits = [event for event in events if overlap(call, event)]
        missed += not hits
        if not args.quiet:
            found = f"{hits[0][1]:6.1f} to {hits[0][2]:5.1f} s, score {max(hit[4] for hit in hits):.2f}" if hits else "MISSED"
            print(f"channel {call[0]}  {call[3]:<12} {call[1]:6.1f} to {call[2]:5.1f} s   found: {found}")
    wrong = [event for event in events if not any(overlap(call, event) for call in calls)]
    for event in [] if args.quiet else wrong:
        print(f"channel {event[0]}  {event[3]:<12} {event[1]:6.1f} to {event[2]:5.1f} s   not there, score {event[4]:.2f}")
    recall = (len(calls) - missed) / max(len(calls), 1)
    precision = (len(events) - len(wrong)) / max(len(events), 1)
    print(f"{len(calls)} calls, {len(events)} events: recall {recall:.3f}, precision {precision:.3f}")
    raise SystemExit(1 if missed else 0)


main()
