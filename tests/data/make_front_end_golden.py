#!/usr/bin/python3
"""Writes front_end_golden.safetensors: what torchaudio makes of known sounds.

Needs torch, torchaudio and numpy (Debian: python3-torch python3-torchaudio python3-numpy). Run it in this folder.
The sine is 3 s of 1 kHz, amplitude 0.5, t = n / 22050, resampled to 16 kHz by torchaudio.transforms.Resample, of which
the first and last 64 samples are stored; the hiss is 3 s of numbers made from integers at 16 kHz.
"""
import json
import math
import struct

import numpy as np
import torch
import torchaudio

RATE = 16000
EDGE = 64


def front_end(samples):
    mel = torchaudio.transforms.MelSpectrogram(
        sample_rate=RATE, n_fft=512, hop_length=128, n_mels=128, f_min=0.0, f_max=8000.0, power=2.0,
        norm=None, mel_scale="htk", center=True, pad_mode="reflect")(samples)
    return 10.0 * torch.log10(torch.clamp(mel, min=1e-10))


def broadband():
    """Computed alike in C++: integers first, so that every bit agrees."""
    n = np.arange(3 * RATE, dtype=np.uint64)
    hiss = (np.uint64(2654435769) * n * n) & np.uint64(0xFFFFFFFF)
    return torch.from_numpy((hiss.astype(np.float64) / 2**32 - 0.5).astype(np.float32))


def main():
    t = torch.arange(66150, dtype=torch.float64) / 22050
    sine = torchaudio.transforms.Resample(22050, RATE)((0.5 * torch.sin(2 * math.pi * 1000 * t)).float())
    sine_db = front_end(sine)
    scaled = (sine_db - sine_db.min()) / (sine_db.max() - sine_db.min())
    hiss_db = front_end(broadband())
    filterbank = torchaudio.functional.melscale_fbanks(257, 0.0, 8000.0, 128, RATE, norm=None, mel_scale="htk")
    print("sine:", sine_db[44, 188].item(), scaled.sum().item(), scaled.mean().item(), sine_db.mean(1).argmax().item())

    tensors = {
        "sine.first": sine[:EDGE], "sine.last": sine[-EDGE:], "sine.every_499th": sine[::499],
        "sine.db": sine_db[::5, ::25], "hiss.db": hiss_db[::5, ::25],
        "filterbank": filterbank[filterbank != 0],
    }
    header, data = {}, b""
    for name, tensor in tensors.items():
        raw = tensor.contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open("front_end_golden.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)


main()
