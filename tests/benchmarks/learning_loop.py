#!/usr/bin/python3
"""The learning loop on real calls: eight species, then four more in two rounds of labels, then a poisoned round.

  learning_loop.py FROGMIX [--scope head] [--epochs 30] [--round-epochs 30] [--noise-rise 2.0] [--base BUNDLE] [--threads N]
                   [--train PROGRAM] [--keep FOLDER]

FROGMIX is a data set in AnuraSet's layout, of single clips whose test subset has sound of its own. A station's folder is
made of the clips that hold none but its eight commonest species. Their training clips come as a CSV, a model learns them
(`fit`, Small, hop 256), and becomes current. The ninth and tenth species follow as Raven selection tables, one a clip, the
next two as Audacity label tracks, each with a CSV of its held-out clips; `retrain` imports, trains, judges and promotes
them. Then a CSV relabels every training clip with another clip's codes; that must be refused. The table tells, after each
round, of the current model's macro F1 on the test clips of all twelve species, where one that it doesn't know counts 0.
Status 1 where a round doesn't come out so.
"""
import argparse
import csv
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE, ROUND = 8, 2


def read_clips(frogmix):
    """Codes, the commonest first, and clips: name, codes, subset."""
    with open(frogmix / "metadata.csv", newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames[reader.fieldnames.index("subset") + 1:]
        clips = [(row["sample_name"], {code for code in columns if row[code] == "1"}, row["subset"]) for row in reader]
    counts = {code: sum(code in codes for _, codes, subset in clips if subset == "train") for code in columns}
    return sorted(columns, key=lambda code: -counts[code]), clips


class Station:
    def __init__(self, folder, frogmix, arguments):
        self.folder, self.frogmix, self.arguments = folder, frogmix, arguments
        for name in ("models", "labels/inbox", "dataset", "clips"):
            (folder / name).mkdir(parents=True)
        self.inbox = folder / "labels/inbox"
        self.config = folder / "trainer.toml"
        self.config.write_text(f"""
[data]
test_share = 0.0
[training]
epochs = {arguments.round_epochs}
[retrain]
station = "{folder}"
scope = "{arguments.scope}"
noise_rise = {arguments.noise_rise}
""")

    def drop_sound(self, name, subset):
        """A held-out clip is of a site of its own, so that no day of recordings has clips on both sides."""
        site = name.split("_")[0]
        own = name.replace(site, "HELD" + site[-1], 1) if subset == "test" else name
        shutil.copy(self.frogmix / "audio" / site / f"{name}.wav", self.inbox / f"{own}.wav")
        return own

    def drop_csv(self, file_name, rows):
        with open(self.inbox / file_name, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "start_s", "end_s", "codes", "subset"])
            writer.writerows(rows)

    def settle(self):
        """As if all had been dropped a minute ago."""
        then = time.time() - 60
        for path in self.inbox.iterdir():
            os.utime(path, (then, then))

    def run(self, *words, statuses=(0,)):
        begun = time.monotonic()
        done = subprocess.run([self.arguments.train, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode not in statuses:
            sys.exit(f"{' '.join(map(str, words))}: status {done.returncode}\n{done.stderr[-3000:]}")
        return json.loads(done.stdout), time.monotonic() - begun

    def retrain(self):
        return self.run("retrain", "--config", self.config, "--threads", str(self.arguments.threads))


def table_of(name, codes, style):
    if style == "raven":
        rows = "".join(f"{i}\tSpectrogram 1\t1\t0.0\t3.0\t0\t8000\t{code}\n" for i, code in enumerate(sorted(codes), 1))
        return (f"{name}.Table.1.selections.txt",
                "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\n" + rows)
    return f"{name}.txt", "".join(f"0.000000\t3.000000\t{code}\n" for code in sorted(codes))


def macro_f1(station, all_clips, wanted):
    report, _ = station.run("evaluate", "--model", station.folder / "models/current", "--dataset", all_clips, "--threads",
                            str(station.arguments.threads))
    report = report.get("test", report)
    found = {row["code"]: row["f1"] for row in report["classes"]}
    return sum(found.get(code) or 0.0 for code in wanted) / len(wanted), report["mean_average_precision"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frogmix", type=pathlib.Path)
    parser.add_argument("--scope", default="head", choices=["head", "full"])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--round-epochs", type=int, default=30)
    parser.add_argument("--noise-rise", type=float, default=2.0, help="the gate's; the clips without calls last minutes")
    parser.add_argument("--base", type=pathlib.Path, help="the first model, instead of one that is trained here")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--train", default=ROOT / "build/release/trainer/chorus-train")
    parser.add_argument("--keep", type=pathlib.Path, help="leave the station here")
    arguments = parser.parse_args()
    codes, clips = read_clips(arguments.frogmix)
    wanted = codes[:BASE + 2 * ROUND]
    rounds = [set(wanted[:BASE]), set(wanted[BASE:BASE + ROUND]), set(wanted[BASE + ROUND:])]
    clips = [clip for clip in clips if clip[1] <= set(wanted)]
    round_of = {name: max([i for i, new in enumerate(rounds) if own & new], default=0) for name, own, _ in clips}

    with tempfile.TemporaryDirectory(prefix="chorus.") as temporary:
        folder = arguments.keep or pathlib.Path(temporary) / "station"
        station = Station(folder, arguments.frogmix, arguments)
        union = pathlib.Path(temporary) / "union"
        union.mkdir()
        with open(union / "labels.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "start_s", "end_s", "codes", "subset"])
            for name, own, subset in clips:
                if subset == "test":
                    path = arguments.frogmix.resolve() / "audio" / name.split("_")[0] / f"{name}.wav"
                    (union / path.name).symlink_to(path)
                    writer.writerow([path.name, 0, 3, ";".join(sorted(own)), subset])
        print("round                     labels  outcome   macro F1 of 12  held-out F1: before, after  seconds", flush=True)
        good = True
        for number, style in enumerate(["csv", "raven", "audacity", "poisoned"]):
            rows = []
            if style == "poisoned":
                training = [(name, own) for name, own, subset in clips if subset == "train"]
                others = [own for _, own in training]
                random.Random(1).shuffle(others)
                rows = [[f"{name}.wav", 0, 3, ";".join(sorted(codes)), ""] for (name, _), codes in zip(training, others)]
                labels = len(rows)
            else:
                labels = 0
                for name, own, subset in clips:
                    if round_of[name] != number:
                        continue
                    labels += 1
                    dropped = station.drop_sound(name, subset)
                    if style == "csv" or subset == "test":
                        rows.append([f"{dropped}.wav", 0, 3, ";".join(sorted(own)), subset])
                    else:
                        file_name, text = table_of(dropped, own, style)
                        (station.inbox / file_name).write_text(text)
            if rows:
                station.drop_csv(f"round-{number}.csv", rows)
            station.settle()
            if number == 0:
                station.run("import", "--station", folder)
                seconds = 0.0
                if arguments.base:
                    shutil.copy(arguments.base, folder / "models/base.safetensors")
                else:
                    _, seconds = station.run("fit", "--dataset", folder / "dataset", "--out", folder / "models/base.safetensors",
                                             "--architecture", "small", "--hop", "256", "--epochs", str(arguments.epochs),
                                             "--threads", str(arguments.threads))
                (folder / "models/current").symlink_to("base.safetensors")
                outcome, figures = "fitted", ""
            else:
                decision, seconds = station.retrain()
                outcome = decision["outcome"]
                macro = decision["macro_f1"]
                figures = f"{macro['current']:.3f}, {macro['candidate']:.3f}"
            f1, _ = macro_f1(station, union, wanted)
            print(f"{number}: {style:10} {labels:16}  {outcome:9} {f1:14.3f}  {figures:27} {seconds:8.1f}", flush=True)
            if number > 0:
                good = good and outcome == ("refused" if style == "poisoned" else "promoted")
                good = good and (f1 > before if style != "poisoned" else f1 == before)
                for reason in decision.get("reasons", []):
                    print("   ", reason)
            before = f1
        return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
