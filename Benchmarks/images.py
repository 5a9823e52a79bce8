"""The images of a run: which files, in which language, how many pages each; and where the sets come from."""

from __future__ import annotations

import csv
import os
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

from harness import ROOT, Settings, Unavailable, run, say, system_tool

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp", ".jp2", ".pbm", ".pgm", ".ppm", ".pnm"}


@dataclass(frozen=True)
class Image:
    path: Path
    language: str
    pages: int
    size_bytes: int
    cpu_seconds: float | None = None


def tiff_pages(path: Path, most: int = 10_000) -> int:
    """The number of directories of a TIFF file, 1 for a file of any other kind. A cycle ends the count."""
    with open(path, "rb") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            return 1
        version = struct.unpack(order + "H", head[2:4])[0]
        if version == 42:
            count_format, entry_bytes, offset_format, offset = "H", 12, "I", struct.unpack(order + "I", head[4:8])[0]
        elif version == 43 and len(head) == 16:
            count_format, entry_bytes, offset_format, offset = "Q", 20, "Q", struct.unpack(order + "Q", head[8:16])[0]
        else:
            return 1
        seen: set[int] = set()
        while offset and offset not in seen and len(seen) < most:
            seen.add(offset)
            file.seek(offset)
            raw = file.read(struct.calcsize(order + count_format))
            if len(raw) < struct.calcsize(order + count_format):
                break
            file.seek(struct.unpack(order + count_format, raw)[0] * entry_bytes, os.SEEK_CUR)
            raw = file.read(struct.calcsize(order + offset_format))
            if len(raw) < struct.calcsize(order + offset_format):
                break
            offset = struct.unpack(order + offset_format, raw)[0]
        return max(1, len(seen))


def tessdata_folder() -> str:
    """Where the installed models are: TESSDATA_PREFIX, else what the command line tool says."""
    prefix = os.environ.get("TESSDATA_PREFIX")
    if prefix and any(Path(prefix).glob("*.traineddata")):
        return prefix
    text = run([system_tool("tesseract", "tesseract-ocr"), "--list-langs"], 30).out.decode()
    parts = text.split('"')
    if len(parts) < 3 or not Path(parts[1]).is_dir():
        raise Unavailable("the folder of Tesseract's models is unknown: set TESSDATA_PREFIX")
    return parts[1]


def installed_languages(tessdata: str) -> set[str]:
    return {path.name.removesuffix(".traineddata") for path in Path(tessdata).glob("*.traineddata")}


def load_images(settings: Settings, languages: set[str]) -> tuple[str, list[Image]]:
    """The folder's name and its images, in order of their names. Languages come from its manifest.csv (columns
    `path` and `language`), else from the name's beginning (`deu_page.png`), else English."""
    candidates = [settings.corpus] if settings.corpus else [ROOT / ".." / "shared" / "corpus", ROOT / "Samples"]
    folder = next((path.resolve() for path in candidates if path.is_dir()), None)
    if folder is None:
        raise Unavailable(f"no images: {', '.join(str(path) for path in candidates)} is not there; name a folder "
                          "with BENCH_CORPUS=DIR")
    known: dict[Path, dict[str, str]] = {}
    manifest = folder / "manifest.csv"
    if manifest.is_file():
        with open(manifest, newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                name = line.get("path") or line.get("source") or line.get("file")
                if name:
                    known[(folder / name).resolve()] = line
    images, left_out = [], []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        line = known.get(path.resolve(), {})
        prefix = path.name.split("_", 1)[0]
        language = line.get("language") or (prefix if prefix in languages else "eng")
        # The protocols of the tools compared with are lines of blanks-free fields.
        if set(language.split("+")) - languages or any(character in str(path) for character in "\t\r\n"):
            left_out.append(path.name)
            continue
        seconds = line.get("cpu_seconds") or ""
        images.append(Image(path, language, tiff_pages(path), path.stat().st_size,
                            float(seconds) if seconds.replace(".", "", 1).isdigit() else None))
    if left_out:
        say(f"left out, model not installed or name with a tab or newline: {', '.join(left_out[:10])}")
    if not images:
        raise Unavailable(f"no image in {folder} whose language is installed")
    return folder.name, images


def within_budget(images: list[Image], cpu_seconds: float) -> list[Image]:
    """The whole set, or when a budget is given every k-th image by weight, so that small and large ones are in."""
    def weight(image: Image) -> float:
        return image.cpu_seconds if image.cpu_seconds else 0.2 + image.size_bytes / 400_000
    if sum(map(weight, images)) <= cpu_seconds:
        return images
    by_weight = sorted(images, key=lambda image: (weight(image), image.path))
    for step in range(2, len(images) + 1):
        chosen = by_weight[step // 2::step]
        if sum(map(weight, chosen)) <= cpu_seconds:
            return sorted(chosen, key=lambda image: image.path)
    return by_weight[:1]


def smallest(images: list[Image], count: int = 10) -> list[Image]:
    return sorted(images, key=lambda image: (image.size_bytes, image.path))[:count]


def copies(images: list[Image], times: int, folder: Path) -> list[Image]:
    """`times` files of each image under distinct names, so that each is a job of its own for everybody."""
    folder.mkdir(parents=True)
    made = []
    for index in range(times):
        for image in images:
            path = folder / f"{index:05d}-{image.path.name}"
            if index % 1000 == 0:
                shutil.copyfile(image.path, path)
                first = path
            else:
                first = folder / f"{index - index % 1000:05d}-{image.path.name}"
                os.link(first, path)
            made.append(Image(path, image.language, image.pages, image.size_bytes, image.cpu_seconds))
    return made


def write_list(images: list[Image], path: Path) -> Path:
    path.write_text("".join(f"{image.language}\t{image.path}\n" for image in images), encoding="utf-8")
    return path


def write_manifest(images: list[Image], path: Path) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "language"])
        writer.writerows([str(image.path), image.language] for image in images)
    return path


def warm_page_cache(images: list[Image], tessdata: str) -> None:
    """Reads everything once: the first tool must not pay for the disk."""
    used = {language for image in images for language in image.language.split("+")}
    for path in [image.path for image in images] + [Path(tessdata, f"{name}.traineddata") for name in used]:
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
