"""Measure how many images per second are read, embedded, hashed and scored without a neural network.

    python benchmarks/images.py --images 2000 --repeats 3

Prints one JSON line per size and format of images, with the images per second of processor time of one thread, the
best of the repeats: to inspect an image when the input is read, to embed it with ``image_features``, and for
``perceptual_hash``, ``image_sharpness`` and ``image_entropy``. Then it prints the seconds of a run over image files on
disk, from the list of paths to the export, and of the same run again without changes, the best of three. The images are
smooth noise, which compresses like photographs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["CURATE_THREADS"] = "1"

import numpy as np
from PIL import Image

from curate.kernels.images.codec import inspect_image, map_images
from curate.kernels.types import Images
from curate.plugins.batches import ScoreBatch
from curate.plugins.embedders.image_features import ImageFeatures
from curate.plugins.scorers.image_entropy import ImageEntropy
from curate.plugins.scorers.image_sharpness import ImageSharpness
from curate.plugins.selectors.duplicates.perceptual_hash import hash_images

RUN = """
curate: 1
run: run
input: {files: list.csv, image: image}
cluster: {use: kmeans, n_clusters: 32}
select: [{use: exact_duplicates}, {use: perceptual_hash}, {use: uniform, keep_rate: 0.5}]
"""


def encode_images(count: int, side: int, name: str) -> list[bytes]:
    """Return encoded images whose spectrum falls like that of photographs."""
    rng, encoded = np.random.default_rng(0), []
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))[..., None]
    frequency[0, 0] = 1
    for _ in range(count):
        noise = np.fft.fft2(rng.standard_normal((side, side, 3)), axes=(0, 1))
        smooth = np.real(np.fft.ifft2(noise / frequency, axes=(0, 1)))
        pixels = (smooth - smooth.min()) / np.ptp(smooth) * 255
        file = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(file, name)
        encoded.append(file.getvalue())
    return encoded


def best_rate(fn: Callable[[], object], count: int, repeats: int) -> int:
    """Return the images per second of processor time, of the best repeat."""
    seconds = []
    for _ in range(repeats):
        begun = time.process_time()
        fn()
        seconds.append(time.process_time() - begun)
    return round(count / min(seconds))


def measure(encoded: list[bytes], repeats: int) -> dict[str, int]:
    """Return the rates for some images."""
    n = len(encoded)
    images = Images(np.zeros((n, 2), np.uint64), np.ones((n, 2), np.int32), encoded.__getitem__)
    batch, rng = ScoreBatch(images=images), np.random.default_rng(0)
    work: dict[str, Callable[[], Any]] = {
        "inspect": lambda: list(map_images(inspect_image, images)),
        "image_features": lambda: ImageFeatures().encode(images),
        "perceptual_hash": lambda: hash_images(images),
        "image_sharpness": lambda: ImageSharpness().score(batch, rng),
        "image_entropy": lambda: ImageEntropy().score(batch, rng),
    }
    return {name: best_rate(fn, n, repeats) for name, fn in work.items()}


def run(encoded: list[bytes]) -> dict[str, float]:
    """Return the seconds of a first and a second run over image files."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{number}.png" for number in range(len(encoded))]
        for name, data in zip(names, encoded, strict=True):
            (Path(folder) / name).write_bytes(data)
        (Path(folder) / "list.csv").write_text("image\n" + "\n".join(names) + "\n")
        (Path(folder) / "run.yaml").write_text(RUN)
        seconds: dict[str, float] = {}
        for label in ("first run", "unchanged", "unchanged", "unchanged"):
            begun = time.perf_counter()
            command = [sys.executable, "-m", "curate", "run", "run.yaml"]
            environment = {key: value for key, value in os.environ.items() if key != "CURATE_THREADS"}
            subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)
            seconds[label] = min(seconds.get(label, 1e9), round(time.perf_counter() - begun, 2))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--files", type=int, default=10_000, help="number of image files of the run; 0 for no run")
    arguments = parser.parse_args()
    print(json.dumps({"numpy": np.__version__, "pillow": importlib.metadata.version("pillow")}))
    for side, name, count in ((64, "PNG", arguments.images), (64, "JPEG", arguments.images), (512, "JPEG", 200)):
        rates = measure(encode_images(count, side, name), arguments.repeats)
        print(json.dumps({"side": side, "format": name, "images": count, "images per second": rates}), flush=True)
    if arguments.files:
        encoded = encode_images(min(arguments.files, 2_000), 64, "PNG")
        many = [encoded[number % len(encoded)] + number.to_bytes(4) for number in range(arguments.files)]
        print(json.dumps({"files": arguments.files, "seconds": run(many)}))


if __name__ == "__main__":
    main()
