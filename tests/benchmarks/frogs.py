#!/usr/bin/python3
"""Frogs of recordings that no training has heard: chorus-train beside log-mel statistics with logistic regression.

  frogs.py AUDIO [--folds 3] [--epochs 60] [--init BUNDLE] [--set KEY=VALUE]... [--threads N]
           [--train PROGRAM] [--chorusd PROGRAM]

AUDIO holds recordings of one species each and manifest.csv, whose columns `file` and `code` name them. Species with two or
more recordings count, and every recording is held out once: by default a third of each species' recordings at a time, which
takes three trainings; --folds 0 leaves out a single one each time. All methods get the same folds and the same windows,
3 s every second, mean of the channels:

- mean and standard deviation over time of 128 log-mel bands, standardised, and logistic regression (scikit-learn);
- `fit` (Small, hop 256) from random weights, with --init also from that bundle, whole and with its embeddings frozen.
  15 % of the windows are held back to choose the epoch, so that every recording of the other folds is learned from.
  Scores are those of `chorusd detect`; scores under a hundredth of their class's threshold count 0.

A window's species is the one with the highest score, a recording's the one with the highest mean over its windows.
Needs Debian's python3-sklearn, python3-scipy, python3-soundfile.
"""
import argparse
import collections
import csv
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy
import scipy.signal
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROOT = pathlib.Path(__file__).resolve().parents[2]
RATE, N_FFT, HOP, MELS = 16000, 512, 256, 128

Recording = collections.namedtuple("Recording", "name code fold clips")  # clips: paths of its windows


def cut(path, name, folder):
    """Writes a recording's windows."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = samples.mean(axis=1)
    clips = []
    for start in range(0, len(samples) - 3 * rate + 1, rate):
        clips.append(folder / f"{name}_{start // rate:03}.wav")
        soundfile.write(clips[-1], samples[start:start + 3 * rate], rate, subtype="PCM_16")
    return clips


def read_recordings(audio, folds, folder):
    with open(audio / "manifest.csv", newline="") as file:
        rows = sorted((row["code"], row["file"]) for row in csv.DictReader(file))
    counts = collections.Counter(code for code, _ in rows)
    rows = [row for row in rows if counts[row[0]] > 1]
    seen = collections.Counter()
    recordings = []
    for number, (code, file) in enumerate(rows):
        name = pathlib.Path(file).stem
        recordings.append(Recording(name, code, seen[code] % folds if folds else number, cut(audio / file, name, folder)))
        seen[code] += 1
    return recordings


def mel_filters():
    """HTK's, [bin, mel], from 0 Hz to half the rate."""
    to_mel = lambda hz: 2595 * math.log10(1 + hz / 700)
    edges = 700 * (10 ** (numpy.linspace(0, to_mel(RATE / 2), MELS + 2) / 2595) - 1)
    bins = numpy.linspace(0, RATE / 2, N_FFT // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return numpy.maximum(0, numpy.minimum(rising, falling))


def statistics_of(clip, filters):
    samples, rate = soundfile.read(clip, dtype="float32")
    divisor = math.gcd(rate, RATE)
    samples = scipy.signal.resample_poly(samples, RATE // divisor, rate // divisor)
    frames = numpy.lib.stride_tricks.sliding_window_view(samples, N_FFT)[::HOP]
    power = numpy.abs(numpy.fft.rfft(frames * scipy.signal.get_window("hann", N_FFT))) ** 2
    levels = 10 * numpy.log10(numpy.maximum(power @ filters, 1e-10))
    return numpy.concatenate([levels.mean(axis=0), levels.std(axis=0)])


class LogMelStatistics:
    def __init__(self, recordings, codes):
        filters = mel_filters()
        self.codes = codes
        self.statistics = {clip: statistics_of(clip, filters) for recording in recordings for clip in recording.clips}

    def scores(self, training, held_out):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        model.fit([self.statistics[clip] for recording in training for clip in recording.clips],
                  [recording.code for recording in training for _ in recording.clips])
        order = [list(model.classes_).index(code) for code in self.codes]
        return {recording.name: model.predict_proba([self.statistics[clip] for clip in recording.clips])[:, order]
                for recording in held_out}


class Chorus:
    def __init__(self, arguments, codes, folder, *options):
        self.arguments, self.codes, self.folder, self.options = arguments, codes, folder, options

    def run(self, *words):
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, words))}: status {done.returncode}\n{done.stderr[-3000:]}")
        return done.stdout

    def scores(self, training, held_out):
        labels, bundle = self.folder / "labels.csv", self.folder / "model.safetensors"
        with open(labels, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "start_s", "end_s", "codes", "subset"])
            writer.writerows([clip.name, "", "", recording.code, "train"] for recording in training
                             for clip in recording.clips)
        self.run(self.arguments.train, "fit", "--dataset", labels, "--out", bundle, "--epochs", str(self.arguments.epochs),
                 "--threads", str(self.arguments.threads), "--cache", self.folder / "cache", *self.options,
                 *(word for setting in self.arguments.set for word in ("--set", setting)))
        scores = {clip: numpy.zeros(len(self.codes)) for recording in held_out for clip in recording.clips}
        events = self.run(self.arguments.chorusd, "detect", "--model", bundle, "--threshold-scale", "0.01", "--threads",
                          str(self.arguments.threads), "--progress", "off", *scores)
        for event in map(json.loads, events.splitlines()):
            if event["code"] in self.codes:
                scores[pathlib.Path(event["file"])][self.codes.index(event["code"])] = event["mean_score"]
        return {recording.name: numpy.array([scores[clip] for clip in recording.clips]) for recording in held_out}


def judge(method, recordings, codes):
    """Right recordings, right windows, all windows."""
    right, right_windows, windows = 0, 0, 0
    for fold in sorted({recording.fold for recording in recordings}):
        held_out = [recording for recording in recordings if recording.fold == fold]
        scores = method.scores([recording for recording in recordings if recording.fold != fold], held_out)
        for recording in held_out:
            own = scores[recording.name]  # [window, class]
            wanted = codes.index(recording.code)
            found = numpy.where(own.max(axis=1) > 0, own.argmax(axis=1), -1)
            right += own.mean(axis=0).argmax() == wanted and own.max() > 0
            right_windows += int((found == wanted).sum())
            windows += len(own)
    return right, right_windows, windows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=pathlib.Path)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--init", type=pathlib.Path, help="a bundle that knows none of these recordings")
    parser.add_argument("--set", action="append", default=[], help="a key of the training's configuration")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--train", default=ROOT / "build/release/trainer/chorus-train")
    parser.add_argument("--chorusd", default=ROOT / "build/release/daemon/chorusd")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chorus.") as temporary:
        folder = pathlib.Path(temporary)
        recordings = read_recordings(arguments.audio, arguments.folds, folder)
        codes = sorted({recording.code for recording in recordings})
        methods = {"log-mel statistics, logistic regression": LogMelStatistics(recordings, codes),
                   "chorus-train, from random weights": Chorus(arguments, codes, folder, "--architecture", "small", "--hop",
                                                               "256")}
        if arguments.init:
            init = ("--init", arguments.init)
            methods |= {f"chorus-train, from {arguments.init.stem}": Chorus(arguments, codes, folder, *init),
                        "the same, embeddings frozen": Chorus(arguments, codes, folder, *init, "--set",
                                                              "training.freeze=embeddings")}
        print(f"{len(recordings)} recordings of {len(codes)} species, {len({r.fold for r in recordings})} folds")
        print("                                          recordings right     windows right   seconds", flush=True)
        for name, method in methods.items():
            begun = time.monotonic()
            right, right_windows, windows = judge(method, recordings, codes)
            print(f"{name:40} {right:7} = {right / len(recordings):.3f} {right_windows:9} = {right_windows / windows:.3f}"
                  f" {time.monotonic() - begun:9.0f}", flush=True)


if __name__ == "__main__":
    main()
