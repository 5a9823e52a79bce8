"""Tests of the harness: `python3 -m unittest discover -s Benchmarks/tests`. They need no product, server or OCR."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import bench  # noqa: E402
import engine_jobs  # noqa: E402
import harness  # noqa: E402
import images  # noqa: E402
import stand_ins  # noqa: E402
import submit_lines  # noqa: E402
from recognisers import BareLoop, OurNode  # noqa: E402


def tiff(offsets):
    """A little-endian TIFF of empty directories; `offsets` are those of the next directory, first to last."""
    body = b"II*\0" + struct.pack("<I", 8)
    for following in offsets:
        body += struct.pack("<HI", 0, following)
    return body


class WithProduct(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ocrt."))
        self.addCleanup(shutil.rmtree, self.folder, True)
        stand_ins.write(self.folder)
        settings = dict(BENCH_BIN=str(self.folder), BENCH_QUICK="1", BENCH_SUBMIT="2500")
        previous = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)

        def restore():
            for name, value in previous.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        self.addCleanup(restore)
        self.settings = harness.Settings.from_environment()
        page = self.folder / "eng_page.png"
        page.write_bytes(submit_lines.tiny_png())
        self.images = images.copies([images.Image(page, "eng", 1, 100)], 5, self.folder / "set")

    def tell(self, name):
        (self.folder / name).touch()


class ImagesThroughTheProduct(WithProduct):
    def test_a_complete_run_is_measured_with_the_workers_apart_from_the_node(self):
        found = OurNode(self.settings, "/").measure(self.images, self.folder)
        self.assertEqual(found.pages, 5)
        self.assertGreaterEqual(found.seconds, 0.5)
        self.assertGreater(found.worker_cpu_seconds, 0.2)
        self.assertLess(found.node_cpu_seconds, 0.2)

    def test_a_lost_text_is_not_counted(self):
        self.tell("lose-one")
        with self.assertRaisesRegex(harness.Failed, "4 texts"):
            OurNode(self.settings, "/").measure(self.images, self.folder)

    def test_a_failed_job_is_not_counted(self):
        self.tell("fail")
        with self.assertRaisesRegex(harness.Failed, "failed"):
            OurNode(self.settings, "/").measure(self.images, self.folder)

    def test_a_node_that_does_not_start_is_reported_with_its_last_words(self):
        self.tell("no-start")
        with self.assertRaisesRegex(harness.Failed, "address in use"):
            OurNode(self.settings, "/").measure(self.images, self.folder)

    def test_a_missing_binary_says_how_to_build_it(self):
        (self.folder / "bare-loop").unlink()
        with self.assertRaisesRegex(harness.Unavailable, "swift build"):
            BareLoop(self.settings, "/")

    def test_the_rounds_give_ratio_rows_and_a_tool_that_fails_is_left_out(self):
        tools = [OurNode(self.settings, "/"), BareLoop(self.settings, "/")]
        measured, failed = bench.rounds_of(tools, self.images, self.settings, self.folder, "set")
        report = harness.Report()
        bench.ratio_rows("set", measured, failed, 0, report)
        verdicts = {row.what: row.verdict for row in report.rows}
        self.assertEqual(verdicts["set: node against bare loop"], "**missed**")
        self.assertEqual(verdicts["set: node against tesserocr"], "not measured")
        self.assertIn("set: CPU a page, node against bare loop", verdicts)
        self.assertEqual(failed, {})


class SubmittingLines(WithProduct):
    def test_every_line_is_a_path_of_its_own_that_can_be_opened(self):
        manifest = self.folder / "m.csv"
        submit_lines.write_paths(self.folder / "p", 2_500, manifest)
        paths = [line.rsplit(",", 1)[0] for line in manifest.read_text().splitlines()[1:]]
        self.assertEqual(len(set(paths)), 2_500)
        self.assertTrue(all(os.path.isfile(path) for path in paths[::500] + paths[-1:]))

    def test_memory_of_the_node_and_the_client_is_followed(self):
        report = harness.Report()
        submit_lines.add_rows(self.settings, report)
        self.assertEqual(report.rows[0].verdict, "met", report.rows[0].note)
        self.assertRegex(report.notes[0], r"client's memory [1-9]")


class EngineJobs(WithProduct):
    def test_a_slower_engine_under_backlog_misses_its_target(self):
        report = harness.Report()
        was, engine_jobs.postgres_queue.measure = engine_jobs.postgres_queue.measure, \
            lambda *_: {"jobs_per_second": 3000.0}
        try:
            engine_jobs.add_rows(self.settings, report)
        finally:
            engine_jobs.postgres_queue.measure = was
        self.assertEqual([row.verdict for row in report.rows], ["met", "met", "**missed**", "met"])


class Pieces(unittest.TestCase):
    def pages(self, content):
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            return images.tiff_pages(Path(file.name))

    def test_pages_of_a_tiff_are_its_directories(self):
        self.assertEqual(self.pages(tiff([14, 20, 0])), 3)

    def test_a_cycle_of_tiff_directories_ends(self):
        self.assertEqual(self.pages(tiff([14, 8])), 2)

    def test_a_truncated_tiff_and_another_format_have_one_page(self):
        self.assertEqual(self.pages(tiff([0])[:9]), 1)
        self.assertEqual(self.pages(submit_lines.tiny_png()), 1)

    def test_a_process_name_with_blanks_and_brackets_does_not_shift_the_fields(self):
        line = "7 (a) b (c) S 3 0 0 0 0 0 0 0 0 0 250 50 600 100 0 0 0 0"
        ticks = harness.TICKS_PER_SECOND
        self.assertEqual(harness.parse_stat(line), (7, 3, 300 / ticks, 700 / ticks))

    def test_a_bound_is_met_at_its_value_and_missed_beyond(self):
        for ratio, bound, verdict in ((0.97, "≥", "met"), (0.969, "≥", "**missed**"), (0.02, "≤", "met"),
                                      (0.021, "≤", "**missed**"), (None, "≥", "not measured")):
            self.assertEqual(harness.Row("", "", "", ratio, bound, 0.97 if bound == "≥" else 0.02).verdict, verdict)

    def test_a_command_that_hangs_is_ended_with_its_children(self):
        with self.assertRaisesRegex(harness.Failed, "did not end within"):
            harness.run(["sh", "-c", "sleep 987 & sleep 987"], 0.3)
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        self.assertNotIn("sleep 987", listed.splitlines())

    def test_a_setting_that_is_no_number_is_refused(self):
        os.environ["BENCH_ROUNDS"] = "many"
        self.addCleanup(os.environ.pop, "BENCH_ROUNDS")
        with self.assertRaises(SystemExit):
            harness.Settings.from_environment()


if __name__ == "__main__":
    unittest.main()
