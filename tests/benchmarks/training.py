#!/usr/bin/python3
"""Times training beside PyTorch's: a step of the same network, and whole epochs of Mix2's released code.

    tests/benchmarks/training.py step [--architecture small] [--batch 128] [--threads 2] [--steps 30] [--rounds 5]
    tests/benchmarks/training.py epochs REFERENCE [--epochs 3] [--threads 2] [--rounds 3] [--python PROGRAM]

Needs Debian's python3-torch, python3-torchvision and python3-numpy: the LibTorch that the trainer is built with.

`step`: samples a second of training steps. chorus-train's own count of `fit`, whose features are cached, stands beside a loop
here that takes rows of a float32 tensor in memory. Both shift and mask each clip for itself, mix as Mix2 does, take binary
cross-entropy and AdamW. The network is torchvision's MobileNetV3 (Small on 128 x 188 values, Large on 128 x 376) with
chorus's pooling; tensors of the bundle and of the network must agree by name and shape. PyTorch is eager: as it comes,
with channels last, and with channels last in a process that keeps freed memory (M_MMAP_MAX, M_TRIM_THRESHOLD), as
chorus-train does. It has made two steps before its first round; chorus-train is a new process each round and warms up
within what is counted.

`epochs`: seconds for training and evaluation, from files on, by the paper's setting (config/anuraset.toml, Large). REFERENCE
is a clone of the paper's released code (github.com/ilyassmoummad/Mix2). It runs as it is, on the CPU: its calls of
Tensor.cuda() are given the tensor itself, and its CUDA autocast to bfloat16 is let pass, which PyTorch then turns off, as
it does gradient scaling, where there is no CUDA; so both compute in float32. It needs python3-torchaudio, python3-pandas,
python3-tqdm, python3-venv, and torchmetrics and torchinfo from PyPI, which go into build/reference on the first run;
--python takes another Python that has all of it. Its imports and set-up don't count; chorus-train counts as a process,
features included, nothing cached. It holds back some of the training clips, so both are held to a clip trained on. The
reference scores the test subset after each epoch, chorus-train that once and its held-out clips after each: its final
evaluation is added once more for every epoch but the last.

Both make a data set in AnuraSet's layout, of noise with tones in 42 classes, and go in turn, so that what else the machine
does meets all. Tables give medians, ratios the median over the rounds. PyTorch's threads spin while they wait, which
beside other work costs them most of their speed: on a machine that isn't quiet run it all as `chrt --rr 1`.
"""
import argparse
import concurrent.futures
import csv
import ctypes
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import venv
import wave

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLASSES = 42  # the released code takes no other number
RATE = 22050
FRAMES = {"small": 188, "large": 376}
HOPS = {"small": 256, "large": 128}
# Runs the released code with the arguments given.
REFERENCE_RUN = """
import runpy, sys, torch
torch.Tensor.cuda = lambda tensor, *_, **__: tensor
torch.cuda.is_bf16_supported = lambda: True
sys.argv[0] = "main.py"
runpy.run_path("main.py", run_name="__main__")
"""


def write_dataset(folder, training, test):
    """AnuraSet's layout; each clip is a recording of its own."""
    rng = numpy.random.default_rng(1)
    site = folder / "audio" / "SITE1"
    site.mkdir(parents=True)
    times = numpy.arange(3 * RATE) / RATE
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sample_name", "fname", "min_t", "max_t", "site", "date", "species_number", "subset"]
                        + [f"TONE{number:02}" for number in range(CLASSES)])
        for index in range(training + test):
            labels = rng.random(CLASSES) < 0.05
            signal = rng.normal(0, 300, len(times))
            for number in numpy.flatnonzero(labels):
                signal += 2000 * numpy.sin(2 * numpy.pi * (300 + 150 * number) * times)
            name = f"SITE1_20260101_{index:06}"
            with wave.open(str(site / f"{name}_0_3.wav"), "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(RATE)
                out.writeframes(signal.clip(-32768, 32767).astype("<i2").tobytes())
            writer.writerow([f"{name}_0_3", name, 0, 3, "SITE1", "2026-01-01", labels.sum(),
                             "train" if index < training else "test", *labels.astype(int)])


def fit(arguments, dataset, out, epochs, *options):
    """What chorus-train reports."""
    done = subprocess.run([arguments.train, "fit", "--dataset", dataset, "--out", out, "--epochs", str(epochs), "--batch",
                           str(arguments.batch), "--threads", str(arguments.threads), "--device", "cpu", *options],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"chorus-train fit: status {done.returncode}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def shapes_of(bundle):
    """Names and shapes of a bundle's tensors, from its header of JSON behind 8 bytes with its length."""
    with open(bundle, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {name: tuple(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"}


class EagerTraining:
    """The step in PyTorch, on clips in memory."""

    def __init__(self, architecture, batch, channels_last):
        import torch
        import torchvision
        self.torch, self.batch = torch, batch
        torch.manual_seed(1)
        self.clips = torch.rand(5 * batch, 1, 128, FRAMES[architecture])
        self.targets = (torch.rand(len(self.clips), CLASSES) < 0.05).float()
        make = getattr(torchvision.models, f"mobilenet_v3_{architecture}")
        self.features = make(weights=None).features
        self.features[0][0] = torch.nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
        self.head = torch.nn.Linear(self.features[-1][0].out_channels, CLASSES)
        if channels_last:
            self.features.to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW([*self.features.parameters(), *self.head.parameters()], lr=0.003,
                                           weight_decay=1e-6)

    def shapes(self):
        modules = {"features": self.features, "head": self.head}
        return {f"{name}.{key}": tuple(value.shape) for name, module in modules.items()
                for key, value in module.state_dict().items()}

    def masked(self, count, limit, size):
        """[batch, size]: 1 where no mask of any clip's lies."""
        torch = self.torch
        width = (torch.rand(self.batch, count, 1) * limit).floor()
        start = (torch.rand(self.batch, count, 1) * (size - width)).floor()
        at = torch.arange(size)
        return (~((at >= start) & (at < start + width)).any(1)).float()

    def augmented(self, x):
        torch = self.torch
        mels, frames = x.shape[2:]
        source = (torch.arange(frames) - torch.randint(frames, (len(x), 1))) % frames
        x = x.gather(3, source[:, None, None, :].expand_as(x))
        x *= self.masked(3, 10, mels)[:, None, :, None]
        x *= self.masked(6, 30, frames)[:, None, None, :]
        return x

    def embed(self, x):
        x = self.features(x).mean(2)
        return x.amax(2) + x.mean(2)

    def mixed_forward(self, x, y):
        """Logits and targets; Beta(1, 1) is the uniform distribution."""
        torch = self.torch
        draw = torch.rand(()).item()
        if 0.5 <= draw < 0.75:
            weights = torch.distributions.Dirichlet(torch.full((len(x),), 0.2)).sample((len(x),))
            return self.head(weights @ self.embed(x)), weights @ y
        share, others = torch.rand(len(x), 1), torch.randperm(len(x))
        targets = share * y + (1 - share) * y[others]
        if draw < 0.5:
            z = self.embed(x)
            return self.head(share * z + (1 - share) * z[others]), targets
        share = share[:, :, None, None]
        return self.head(self.embed(share * x + (1 - share) * x[others])), targets

    def step(self):
        torch = self.torch
        rows = torch.randperm(len(self.clips))[:self.batch]
        logits, targets = self.mixed_forward(self.augmented(self.clips[rows]), self.targets[rows])
        self.optimiser.zero_grad(set_to_none=True)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def samples_per_second(self, steps):
        begun = time.perf_counter()
        for _ in range(steps):
            self.step()
        return steps * self.batch / (time.perf_counter() - begun)


def begin_peer(architecture, batch, threads, channels_last, keep_memory):
    """In a process of its own. PyTorch's version and the network's shapes."""
    global peers_training
    if keep_memory:
        malloc = ctypes.CDLL(None)
        malloc.mallopt(-4, 0)  # M_MMAP_MAX
        malloc.mallopt(-1, -1)  # M_TRIM_THRESHOLD
    import torch
    torch.set_num_threads(threads)
    peers_training = EagerTraining(architecture, batch, channels_last)
    peers_training.samples_per_second(2)
    return torch.__version__, peers_training.shapes()


def go_on(steps):
    return peers_training.samples_per_second(steps)


class Peer:
    def __init__(self, arguments, channels_last, keep_memory):
        self.process = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.version, self.shapes = self.process.submit(
            begin_peer, arguments.architecture, arguments.batch, arguments.threads, channels_last, keep_memory).result()

    def samples_per_second(self, steps):
        return self.process.submit(go_on, steps).result()


def measure_step(arguments, folder):
    write_dataset(folder / "dataset", 5 * arguments.batch, 2)
    bundle = folder / "model.safetensors"
    options = ("--architecture", arguments.architecture, "--hop", str(HOPS[arguments.architecture]), "--cache",
               folder / "cache")
    for setting in ("evaluation.resamples=0", "mixing.manifold_layer=embedding", "mixing.plain_epochs_first=0",
                    "mixing.step_share=1", "augmentation.mask_fill=zero"):
        options += ("--set", setting)
    first = fit(arguments, folder / "dataset", bundle, 1, *options)  # fills the cache
    epochs = -(-arguments.steps // (first["clips"]["training"] // arguments.batch))
    peers = {"PyTorch, eager": Peer(arguments, False, False),
             "channels last": Peer(arguments, True, False),
             "channels last, memory kept": Peer(arguments, True, True)}
    for name, peer in peers.items():
        apart = sorted(set(peer.shapes.items()) ^ set(shapes_of(bundle).items()))
        if apart:
            sys.exit(f"{name}: the network isn't chorus's: {apart}")
    rates = {"chorus-train": [], **{name: [] for name in peers}}
    for _ in range(arguments.rounds):
        report = fit(arguments, folder / "dataset", bundle, epochs, *options)
        rates["chorus-train"].append(report["training"]["samples_per_second"])
        for name, peer in peers.items():
            rates[name].append(peer.samples_per_second(arguments.steps))
    print(f"MobileNetV3-{arguments.architecture.capitalize()}, 128 x {FRAMES[arguments.architecture]}, batch"
          f" {arguments.batch}, {arguments.threads} threads, PyTorch {peer.version},"
          f" {arguments.rounds} rounds of {arguments.steps} steps")
    print("                            samples a second  chorus-train's / its")
    for name, its in rates.items():
        ratio = statistics.median(own / other for own, other in zip(rates["chorus-train"], its))
        print(f"{name:27} {statistics.median(its):16.0f} {ratio:21.2f}")


def reference_python():
    environment = ROOT / "build" / "reference"
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True, system_site_packages=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "torchmetrics==1.4.3", "torchinfo==1.8.0"], check=True)
    return python


def run_reference(arguments, python, dataset):
    """Seconds from the first epoch's beginning to the last one's end."""
    command = [python, "-c", REFERENCE_RUN, "--rootdir", dataset, "--device", "cpu", "--mix", "mix2", "--bs",
               str(arguments.batch), "--mixnum", str(arguments.batch), "--epochs", str(arguments.epochs)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "PYTHONUNBUFFERED": "1"}
    marks = {}
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, cwd=arguments.reference, env=environment, stdout=subprocess.PIPE, stderr=errors,
                              text=True) as process:
            for line in process.stdout:
                marks[line.strip()] = time.monotonic()
        if process.returncode != 0 or "Finished training" not in marks:
            errors.seek(0)
            sys.exit(f"the reference: status {process.returncode}\n{errors.read()[-3000:]}")
    return marks["Finished training"] - marks["Starting training"]


def measure_epochs(arguments, folder):
    python = arguments.python or reference_python()
    # As many steps of an epoch for both: 15 % of the training clips are held back from the trainer's.
    training, test = 4 * arguments.batch + arguments.batch * 7 // 8, 2 * arguments.batch
    dataset = folder / "dataset"
    write_dataset(dataset, training, test)
    trained = training // arguments.batch * arguments.batch * arguments.epochs
    own, others, ratios = [], [], []
    for _ in range(arguments.rounds):
        begun = time.monotonic()
        report = fit(arguments, dataset, folder / "model.safetensors", arguments.epochs, "--config",
                     ROOT / "config/anuraset.toml")
        seconds = time.monotonic() - begun + report["seconds"]["evaluation"] * (arguments.epochs - 1)
        clips = report["clips"]
        own_trained = clips["training"] // arguments.batch * arguments.batch * arguments.epochs
        own.append(seconds / own_trained)
        others.append(run_reference(arguments, python, dataset) / trained)
        ratios.append(others[-1] / own[-1])
    version = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], check=True, capture_output=True,
                             text=True).stdout.strip()
    print(f"MobileNetV3-Large, 128 x 376, batch {arguments.batch}, {arguments.threads} threads, {arguments.epochs} epochs,"
          f" {arguments.rounds} rounds")
    print("                            ms a clip trained on  clips trained on  scored after an epoch")
    row = "{:27} {:20.1f} {:17} {:22}".format
    print(row("chorus-train, from files", 1e3 * statistics.median(own), own_trained // arguments.epochs,
              clips["held_out"] + clips["test"]))
    print(row(f"reference, PyTorch {version}", 1e3 * statistics.median(others), trained // arguments.epochs, test))
    print(f"reference's time / chorus-train's: {statistics.median(ratios):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measures = parser.add_subparsers(dest="measure", required=True)
    step = measures.add_parser("step")
    step.add_argument("--architecture", default="small", choices=["small", "large"])
    step.add_argument("--steps", type=int, default=30)
    step.add_argument("--rounds", type=int, default=5)
    step.set_defaults(run=measure_step)
    epochs = measures.add_parser("epochs")
    epochs.add_argument("reference", type=pathlib.Path)
    epochs.add_argument("--epochs", type=int, default=3)
    epochs.add_argument("--rounds", type=int, default=3)
    epochs.add_argument("--python", help="instead of Debian's, to run the reference with")
    epochs.set_defaults(run=measure_epochs)
    for each in (step, epochs):
        each.add_argument("--batch", type=int, default=128)
        each.add_argument("--threads", type=int, default=2)
        each.add_argument("--train", default=ROOT / "build/release/trainer/chorus-train")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chorus.") as folder:
        arguments.run(arguments, pathlib.Path(folder))


if __name__ == "__main__":
    main()
