#!/usr/bin/python3
"""Writes gradient_golden.safetensors: logits and gradients of one training step in PyTorch, in double precision.

Needs torch, torchvision and numpy (Debian: python3-torch python3-torchvision python3-numpy). Run it in this folder.
Weights, batch and targets are known by formula (tests/model/formula_weights.h). Gradients are too large to store: for
each there are its length, its first 32 values and 8 sums of its values times factors known by formula, in which any
difference would show. Where a ReLU's input lies within rounding of 0, it is chance whether a gradient passes: of 60 batches
those are taken whose inputs stay farthest from it.
"""
import json
import struct

import numpy as np
import torch
import torchvision

from make_network_golden import formula, uniform

BATCH, CLASSES, MELS, FIRST, SUMS = 2, 10, 128, 32, 8


class Network(torch.nn.Module):
    """MobileNetV3 of one channel, with Mix2's pooling and head."""

    def __init__(self, make):
        super().__init__()
        self.features = make(weights=None).features
        self.features[0][0] = torch.nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
        self.head = torch.nn.Linear(self.features[-1].out_channels, CLASSES)
        with torch.no_grad():
            for name, tensor in self.state_dict().items():
                if not name.endswith("num_batches_tracked"):
                    tensor.copy_(formula(name, tuple(tensor.shape)))

    def forward(self, batch):
        pooled = self.features(batch).mean(2)
        return self.head(pooled.amax(2) + pooled.mean(2))


def step(make, frames, batch_name):
    network = Network(make).double().train()
    shape = (BATCH, 1, MELS, frames)
    batch = torch.from_numpy((0.5 + 0.5 * uniform(batch_name, int(np.prod(shape)))).astype(np.float32)).reshape(shape).double()
    targets = torch.from_numpy((0.5 + 0.5 * uniform("targets", BATCH * CLASSES)).astype(np.float32)).double()
    logits = network(batch)
    torch.nn.functional.binary_cross_entropy_with_logits(logits, targets.reshape(BATCH, CLASSES)).backward()
    tensors = {"logits": logits.detach().numpy().ravel()}
    for name, parameter in network.named_parameters():
        gradient = parameter.grad.numpy().ravel()
        sums = [gradient @ uniform(f"{name}/{k}", gradient.size) for k in range(SUMS)]
        tensors[name] = np.concatenate([[np.linalg.norm(gradient)], sums, gradient[:FIRST]])
    return tensors


def main():
    header, data = {"__metadata__": {"torch": torch.__version__}}, b""
    sizes = (("large", torchvision.models.mobilenet_v3_large, 96, "batch 55"),
             ("small", torchvision.models.mobilenet_v3_small, 64, "batch 18"))
    for size, *options in sizes:
        for name, values in step(*options).items():
            raw = values.astype("<f4").tobytes()
            header[f"{size}.{name}"] = {
                "dtype": "F32", "shape": [len(values)], "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open("gradient_golden.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)


main()
