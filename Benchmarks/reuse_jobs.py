"""What looking for results of the same image costs where there is none: the same new images with `[work] reuse` on and off."""

from __future__ import annotations

from pathlib import Path

from harness import Failed, Report, Row, Scratch, Settings, Unavailable, median, rate_text, say
from images import Image, installed_languages, load_images, tessdata_folder, warm_page_cache, within_budget
from node_process import Node
from recognisers import Measured, OurNode

# More CPU for an image than without it, at most.
TARGET = 1.01
LEAST_IMAGES = 100
# Decoders of other formats do not take bytes behind the image's end.
SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif"}


def distinct_copies(images: list[Image], times: int, folder: Path) -> list[Image]:
    """`times` files of each image that differ in bytes behind its end, which decoders pass over."""
    folder.mkdir(parents=True)
    made = []
    for index in range(times):
        for image in images:
            path = folder / f"{index:05d}-{image.path.name}"
            path.write_bytes(image.path.read_bytes() + index.to_bytes(4, "big"))
            made.append(Image(path, image.language, image.pages, image.size_bytes + 4, image.cpu_seconds))
    return made


def measure(settings: Settings, images: list[Image], scratch: Path, tessdata: str, reuses: bool) -> Measured:
    with Node(settings, settings.cores, tessdata, reuses=reuses) as node:
        measured = OurNode(settings, tessdata).measure_with(node, images, scratch)
        if reused := node.status()["work"].get("reused"):
            raise Failed(f"{reused} of the images were not new")
        return measured


def add_rows(settings: Settings, report: Report) -> None:
    what = "new images: reuse on against off"
    try:
        tessdata = tessdata_folder()
        _, everything = load_images(settings, installed_languages(tessdata))
        chosen = [image for image in within_budget(everything, settings.corpus_cpu_seconds)
                  if image.language == "eng" and image.path.suffix.lower() in SUFFIXES]
        if not chosen:
            raise Unavailable("no image in English in a format that takes bytes behind its end")
        with Scratch() as scratch:
            images = distinct_copies(chosen, -(-LEAST_IMAGES // len(chosen)), scratch / "set")
            warm_page_cache(images, tessdata)
            runs: dict[bool, list[Measured]] = {True: [], False: []}
            for index in range(settings.rounds):
                for reuses in (index % 2 == 0, index % 2 == 1):
                    result = measure(settings, images, scratch, tessdata, reuses)
                    runs[reuses].append(result)
                    say(f"{len(images)} new images, reuse {'on' if reuses else 'off'}: {result.seconds:.1f} s, "
                        f"CPU {result.cpu_seconds:.1f} s, of the node itself {result.node_cpu_seconds:.2f} s")
    except (Unavailable, Failed, OSError, KeyError, ValueError) as error:
        say(str(error))
        report.unmeasured(what, "≤", TARGET, str(error))
        return
    on, off = runs[True], runs[False]
    spent = [median(run.cpu_seconds / run.pages for run in group) for group in (on, off)]
    report.rows.append(Row(f"{what}, CPU a page", f"{spent[0]:.4f} s", f"{spent[1]:.4f} s",
                           median(mine.cpu_seconds / other.cpu_seconds for mine, other in zip(on, off)), "≤", TARGET))
    report.rows.append(Row(f"{what}, rate", rate_text(median(run.pages_per_second for run in on), "pages/s"),
                           rate_text(median(run.pages_per_second for run in off), "pages/s"),
                           median(mine.pages_per_second / other.pages_per_second for mine, other in zip(on, off))))
    shares = [median(run.node_cpu_seconds / run.cpu_seconds for run in group) for group in (on, off)]
    report.notes.append(f"{what}: CPU of the node itself {shares[0]:.2%} of all with reuse, {shares[1]:.2%} without")
