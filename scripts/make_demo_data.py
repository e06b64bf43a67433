#!/usr/bin/python3
"""Builds the demo's data from the animal recordings of Debian's package tuxpaint-stamps-default (GPL-2).

  make_demo_data.py dataset OUT [--train 900] [--test 240] [--seed 1]
      A multi-label data set in AnuraSet's layout (3 s clips, 22,050 Hz, mono, 16 bit): 0 to 3 animals over coloured
      noise. Train and test hold the same few recordings, mixed anew: enough to show the program, no measure of a model.
  make_demo_data.py stream OUT.wav [--seconds 45] [--rate 48000] [--seed 1]
      A 4-channel recording with calls at known times over coloured noise; OUT.csv holds them as
      channel,start_s,end_s,code.

Needs python3-numpy and python3-soundfile. Same arguments and seed: same bytes.
"""
import argparse
import csv
import pathlib

import numpy as np
import soundfile

STAMPS = pathlib.Path("/usr/share/tuxpaint/stamps/animals")
# code -> (recording, name). The package names no species.
ANIMALS = {
    "BLACKBIRD": ("birds/blackbird.ogg", "Blackbird"),
    "CROW": ("birds/crow.ogg", "Crow"),
    "CUCKOO": ("birds/cuckoo.ogg", "Cuckoo"),
    "DUCK": ("birds/duck.ogg", "Duck"),
    "FROG": ("amphibians/frog.ogg", "Frog"),
    "GRASSHOPPER": ("insects/grasshopper.ogg", "Grasshopper"),
    "LARK": ("birds/lark.ogg", "Lark"),
    "OWL": ("birds/owl.ogg", "Owl"),
    "ROOSTER": ("birds/rooster.ogg", "Rooster"),
    "SEAGULL": ("birds/seagull.ogg", "Seagull"),
}
CLIP_RATE, CLIP_SECONDS = 22050, 3
NOISE_LEVEL = 0.02


def resample(signal, ratio):
    """Band-limited, by the Fourier transform; the recordings are a few seconds long."""
    size = max(1, round(len(signal) * ratio))
    spectrum = np.fft.rfft(signal)
    wanted = np.zeros(size // 2 + 1, dtype=complex)
    keep = min(len(spectrum), len(wanted))
    wanted[:keep] = spectrum[:keep]
    return np.fft.irfft(wanted, size) * (size / len(signal))


def load_calls(rate):
    calls = {}
    for code, (name, _) in ANIMALS.items():
        signal, source_rate = soundfile.read(STAMPS / name, always_2d=True)
        mono = resample(signal.mean(axis=1), rate / source_rate)
        calls[code] = mono / np.sqrt(np.mean(mono**2))
    return calls


def coloured_noise(rng, size, slope):
    """Noise whose amplitude falls as frequency ** -slope: 0 white, 0.5 pink, 1 brown. RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequency = np.maximum(np.arange(len(spectrum)), 20 * size / 48000)
    noise = np.fft.irfft(spectrum * frequency**-slope, size)
    return noise / np.sqrt(np.mean(noise**2))


def varied_call(rng, call, rate, longest):
    """The call a little faster or slower, cut to at most `longest` samples, faded at both ends."""
    varied = resample(call, 1 / rng.uniform(0.95, 1.05))
    if len(varied) > longest:
        start = rng.integers(0, len(varied) - longest + 1)
        varied = varied[start : start + longest]
    fade = min(len(varied) // 8, rate // 50)
    ramp = np.linspace(0, 1, fade)
    varied = varied.copy()
    varied[:fade] *= ramp
    varied[-fade:] *= ramp[::-1]
    return varied


def limited(signal):
    return signal * min(1.0, 0.95 / np.abs(signal).max())


def make_dataset(args):
    rng = np.random.default_rng(args.seed)
    calls = load_calls(CLIP_RATE)
    codes = sorted(calls)
    size = CLIP_RATE * CLIP_SECONDS
    rows = []
    for subset, count in (("train", args.train), ("test", args.test)):
        for index in range(count):
            clip = coloured_noise(rng, size, rng.uniform(0, 1)) * NOISE_LEVEL
            chosen = rng.choice(codes, size=rng.choice([0, 1, 2, 3], p=[0.25, 0.45, 0.2, 0.1]), replace=False)
            for code in chosen:
                call = varied_call(rng, calls[code], CLIP_RATE, size)
                # Windows cut calls at their edges, so the clips do, too; at least half a second stays in.
                inside = min(len(call), CLIP_RATE // 2)
                start = rng.integers(inside - len(call), size - inside + 1)
                first, last = max(start, 0), min(start + len(call), size)
                clip[first:last] += call[first - start : last - start] * NOISE_LEVEL * 10 ** (rng.uniform(-3, 20) / 20)
            site = f"DEMO{1 + index % 4}"
            minute, second = divmod(index, 60)
            fname = f"{site}_2026{'01' if subset == 'train' else '02'}{1 + minute // 60:02d}_{minute // 60:02d}{minute % 60:02d}{second:02d}"
            folder = args.out / "audio" / site
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{fname}_0_3.wav", limited(clip), CLIP_RATE, subtype="PCM_16")
            date = f"{fname.split('_')[1][:4]}-{fname.split('_')[1][4:6]}-{fname.split('_')[1][6:]}"
            rows.append([f"{fname}_0_3", fname, 0, CLIP_SECONDS, site, date, len(chosen), subset] + [int(code in chosen) for code in codes])
    with open(args.out / "metadata.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["sample_name", "fname", "min_t", "max_t", "site", "date", "species_number", "subset"] + codes)
        writer.writerows(rows)
    with open(args.out / "species.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["code", "name", "group"])
        writer.writerows([code, ANIMALS[code][1], ""] for code in codes)


def make_stream(args):
    rng = np.random.default_rng(args.seed)
    calls = load_calls(args.rate)
    codes = sorted(calls)
    size = int(args.seconds * args.rate)
    sound = np.empty((size, 4))
    events = []
    for channel in range(4):
        track = coloured_noise(rng, size, (0.0, 0.3, 0.6, 0.9)[channel]) * NOISE_LEVEL
        # Each channel has its own order, such that every animal calls somewhere.
        order = [codes[((0, 5, 2, 7)[channel] + step * 3) % len(codes)] for step in range(len(codes))]
        at = rng.uniform(3, 5)
        for code in order:
            call = varied_call(rng, calls[code], args.rate, 4 * args.rate)
            start = int(at * args.rate)
            if start + len(call) > size - args.rate:
                break
            track[start : start + len(call)] += call * NOISE_LEVEL * 10 ** (rng.uniform(10, 18) / 20)
            events.append((channel, start / args.rate, (start + len(call)) / args.rate, code))
            at += len(call) / args.rate + rng.uniform(4, 6)
        sound[:, channel] = limited(track)
    soundfile.write(args.out, sound, args.rate, subtype="PCM_16")
    with open(args.out.with_suffix(".csv"), "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["channel", "start_s", "end_s", "code"])
        writer.writerows([c, f"{s:.3f}", f"{e:.3f}", k] for c, s, e, k in events)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    dataset = verbs.add_parser("dataset")
    dataset.add_argument("out", type=pathlib.Path)
    dataset.add_argument("--train", type=int, default=900)
    dataset.add_argument("--test", type=int, default=240)
    dataset.set_defaults(make=make_dataset)
    stream = verbs.add_parser("stream")
    stream.add_argument("out", type=pathlib.Path)
    stream.add_argument("--seconds", type=float, default=45)
    stream.add_argument("--rate", type=int, default=48000)
    stream.set_defaults(make=make_stream)
    for verb in (dataset, stream):
        verb.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.make(args)


main()
