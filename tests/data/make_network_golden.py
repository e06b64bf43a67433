#!/usr/bin/python3
"""Writes network_golden.safetensors: what torchvision's MobileNetV3 makes of one input with weights known by formula.

Needs torch, torchvision and numpy (Debian: python3-torch python3-torchvision python3-numpy). Run it in this folder.
The weights are not stored: tests/model/formula_weights.h computes the same ones.
"""
import json
import struct

import numpy as np
import torch
import torchvision


def uniform(key, count):
    """In -1..1: the FNV-1a hash of `key`, then one round of a 32-bit integer hash a value."""
    seed = 2166136261
    for byte in key.encode():
        seed = (seed ^ byte) * 16777619 & 0xFFFFFFFF
    x = (np.arange(count, dtype=np.uint64) * 2654435769 + seed) & 0xFFFFFFFF
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    x ^= x >> 16
    return x.astype(np.float64) / 2**31 - 1


def formula(name, shape):
    values = uniform(name, int(np.prod(shape)))
    if name.endswith("running_var"):
        values = 1 + 0.5 * values
    elif len(shape) >= 2:
        values = values * np.sqrt(6.0 / np.prod(shape[1:]))
    elif name.endswith("weight"):
        values = 1 + 0.25 * values
    else:
        values = 0.1 * values
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def golden(make):
    network = make(weights=None)
    network.features[0][0] = torch.nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.startswith("features.") and not name.endswith("num_batches_tracked"):
                tensor.copy_(formula(name, tuple(tensor.shape)))
    network.eval()
    size = (1, 1, 128, 376)
    data = torch.from_numpy((0.5 + 0.5 * uniform("input", 128 * 376)).astype(np.float32)).reshape(size)
    with torch.no_grad():
        features = network.features(data)
    names = [n for n in network.state_dict() if n.startswith("features.")]
    pooled = features.mean(2)
    embedding = pooled.amax(2) + pooled.mean(2)
    print(features.shape, features.abs().max().item(), features.std().item(), features.sum().item(), len(names))
    return features[0, ::31], embedding[0], names


def main():
    tensors, metadata = {}, {}
    for size, make in (("large", torchvision.models.mobilenet_v3_large), ("small", torchvision.models.mobilenet_v3_small)):
        tensors[size + ".features"], tensors[size + ".embedding"], names = golden(make)
        metadata[size + ".names"] = "\n".join(names)
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        raw = tensor.contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open("network_golden.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main()
