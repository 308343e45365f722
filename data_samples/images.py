"""Write a pool of drawings, as an example of a pool of images.

``python data_samples/images.py [FOLDER]`` writes images and the list ``metadata.jsonl`` to ``data_samples/images`` by
default: discs, squares, triangles and rings in several colors, with planted copies, blurred and empty images, and a
corrupt one. The column ``kind`` says what was planted. It needs Pillow: ``pip install '.[images]'``.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

HERE = Path(__file__).parent
SHAPES = ("disc", "square", "triangle", "ring")
COLORS = {"red": (214, 40, 40), "green": (42, 140, 80), "blue": (40, 80, 200), "yellow": (240, 190, 40)}


def draw(rng: random.Random, shape: str, color: str) -> Image.Image:
    """Return a drawing of a shape at a random place, of a random size, on a light background with some lines."""
    image = Image.new("RGB", (96, 96), tuple(rng.randint(215, 255) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        pen.line([rng.randint(0, 95) for _ in range(4)], fill=tuple(rng.randint(120, 220) for _ in range(3)), width=2)
    x, y, size = rng.randint(28, 68), rng.randint(28, 68), rng.randint(14, 26)
    box = (x - size, y - size, x + size, y + size)
    if shape == "disc":
        pen.ellipse(box, fill=COLORS[color])
    elif shape == "square":
        pen.rectangle(box, fill=COLORS[color])
    elif shape == "triangle":
        pen.polygon([(x, y - size), (x - size, y + size), (x + size, y + size)], fill=COLORS[color])
    else:
        pen.ellipse(box, outline=COLORS[color], width=7)
    return image


def main(folder: Path, drawings: int = 320) -> None:
    """Write the pool."""
    rng = random.Random(0)
    (folder / "img").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []

    def add(image: Image.Image, shape: str, color: str, kind: str, suffix: str = "png") -> None:
        name = f"img/{len(rows):04d}.{suffix}"
        image.save(folder / name)
        caption = f"a {color} {shape}" if shape else ""
        row = {"id": name[4:8], "file_name": name, "caption": caption, "shape": shape, "color": color, "kind": kind}
        rows.append(row)

    for number in range(drawings):
        shape, color = SHAPES[number % 4], list(COLORS)[number // 4 % 4]
        image = draw(rng, shape, color)
        add(image, shape, color, "drawing")
        if number % 16 == 3:
            add(image, shape, color, "exact_duplicate")
        if number % 16 == 7:
            add(image.resize((180, 180)), shape, color, "near_duplicate", "jpg")
        if number % 16 == 11:
            add(image.filter(ImageFilter.GaussianBlur(6)), shape, color, "blurred")
    for level in (255, 250, 0):
        add(Image.new("RGB", (96, 96), (level, level, level)), "", "", "empty")
    (folder / "img" / "broken.png").write_bytes((folder / rows[0]["file_name"]).read_bytes()[:200])
    rows.append({**rows[0], "id": "broken", "file_name": "img/broken.png", "kind": "corrupt"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"wrote {len(rows):,} rows to {folder / 'metadata.jsonl'}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "target", nargs="?", type=Path, default=HERE / "images", help="where to write (default: %(default)s)"
    )
    target = parser.parse_args().target
    main(target)
