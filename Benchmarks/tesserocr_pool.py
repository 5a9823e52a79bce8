"""The tesserocr baseline: N processes, each keeping one Tesseract handle per language set.

    python3 tesserocr_pool.py --tessdata DIR --jobs N --directory SCRATCH < lines "language<TAB>pages<TAB>path"

Prints {"images", "pages", "characters", "version"}. Uses nothing but tesserocr and the standard library, so that
Debian's python3-tesserocr (linked to the same libtesseract as everybody else here) is enough.
"""

import argparse
import json
import multiprocessing
import os
import sys

import tesserocr

_handles = {}
_settings = None


def _keep(settings):
    global _settings
    _settings = settings


def _recognise(line):
    language, pages, path = line.rstrip("\n").split("\t", 2)
    handle = _handles.get(language)
    if handle is None:
        handle = tesserocr.PyTessBaseAPI(path=_settings["tessdata"], lang=language, psm=tesserocr.PSM.AUTO,
                                         oem=tesserocr.OEM.LSTM_ONLY)
        handle.SetVariable("debug_file", os.devnull)
        _handles[language] = handle
    if int(pages) == 1:
        handle.SetImageFile(path)
        text = handle.GetUTF8Text()
        handle.Clear()
        return 1, len(text)
    # SetImageFile reads the first page only; ProcessPages reads all of them, into a file.
    base = os.path.join(_settings["directory"], f"pages-{os.getpid()}")
    handle.SetVariable("tessedit_create_txt", "1")
    if not handle.ProcessPages(base, path):
        raise RuntimeError(f"{path}: not recognised")
    handle.Clear()
    with open(base + ".txt", encoding="utf-8") as file:
        text = file.read()
    os.unlink(base + ".txt")
    return text.count("\f") + (0 if text.endswith("\f") else 1), len(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tessdata", required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--directory", required=True)
    arguments = parser.parse_args()
    settings = {"tessdata": arguments.tessdata, "directory": arguments.directory}
    images = pages = characters = 0
    with multiprocessing.Pool(arguments.jobs, _keep, (settings,)) as pool:
        for found, length in pool.imap_unordered(_recognise, sys.stdin, chunksize=1):
            images += 1
            pages += found
            characters += length
    print(json.dumps({"images": images, "pages": pages, "characters": characters,
                      "version": tesserocr.tesseract_version().split()[1]}))


if __name__ == "__main__":
    main()
