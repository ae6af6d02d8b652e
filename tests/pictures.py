"""The pictures of the documentation: reports of runs as a browser shows them. It takes Chromium.

python -m tests.pictures report docs/report.png RUN
python -m tests.pictures sections docs/gallery/vae.png RUN
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

CHROMIUM = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
CHROMIUM += ["--disable-quic", "--disable-background-networking"]

WIDTH, MARGIN, COLOURS = 1100, 16, 48

SECTIONS = "header, section:has(+ .training), .training, section:nth-last-of-type(-n+2) { display: none }"
KINDS = {"report": (740, ""), "sections": (1800, SECTIONS), "classifier": (770, SECTIONS)}
"""The height of a kind of picture and its style: a report from its top on, or the sections that its experiment adds."""


def picture(kind: str, path: Path, run: Path) -> None:
    """Write the picture of a run's report, without its empty border and in few colours."""
    height, style = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder, "report.html"), Path(folder, "shot.png")
        page.write_text((run / "report.html").read_text() + f"<style>{style}</style>")
        size = f"--window-size={WIDTH},{height}"
        subprocess.run([*CHROMIUM, f"--screenshot={shot}", size, page.as_uri()], check=True, capture_output=True)
        image = Image.open(shot).convert("RGB")
    left, top, right, bottom = ImageChops.difference(image, Image.new("RGB", image.size, "white")).getbbox()
    box = (max(left - MARGIN, 0), max(top - MARGIN, 0), right + MARGIN, min(bottom + MARGIN, height))
    image.crop(box).quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    kind, *paths = sys.argv[1:]
    picture(kind, *map(Path, paths))
