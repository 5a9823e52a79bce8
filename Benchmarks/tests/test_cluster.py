"""The rows of the cluster part, from figures that were made up, and the log lines that the times come from."""

from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import cluster_jobs  # noqa: E402
from harness import Failed, Report, Settings  # noqa: E402


class ClusterRows(unittest.TestCase):
    def report(self, **changed) -> Report:
        settings = Settings.from_environment()
        settings.rounds = 2
        rates = iter(range(1, 100))
        made = {
            "rate": lambda _settings, size, replicas, jobs: cluster_jobs.Rate(
                replicas, 9_000, 1_000 / size, 1_000 / size / replicas * next(rates), 0.1 * size * replicas),
            "steals": lambda _: [{"steal_ms_median": 4.0, "steal_ms_p99": 40.0, "steal_answers": 7}],
            "join": lambda _: cluster_jobs.Join(0.9, 0.5),
            "crash": lambda _: cluster_jobs.Crash(4, 4.1, 5),
            **changed,
        }
        report = Report()
        with mock.patch.multiple(cluster_jobs, **made), mock.patch.object(cluster_jobs, "say"):
            cluster_jobs.add_rows(settings, report)
        return report

    def row(self, report: Report, what: str):
        return next(row for row in report.rows if row.what == what)

    def test_rates_are_compared_with_one_node_of_the_same_round(self):
        report = self.report()
        # Rounds of six runs each: numbers 1 and 7 are those of one node, 6 and 12 those of four.
        self.assertAlmostEqual(self.row(report, "cluster: 4 nodes, R=3").ratio, (6 / 12 / 1 + 12 / 12 / 7) / 2)
        self.assertAlmostEqual(self.row(report, "cluster: 4 nodes, R=3, CPU a job, all nodes").ratio, 12)
        self.assertEqual(self.row(report, "cluster: 1 node, R=1").ratio, 1)
        self.assertNotIn("not measured", [row.verdict for row in report.rows])

    def test_a_join_counts_from_the_open_port_and_is_bounded(self):
        self.assertEqual(self.row(self.report(), "cluster: from joining to the first job").verdict, "met")
        late = self.report(join=lambda _: cluster_jobs.Join(2.9, 2.5))
        self.assertIn("missed", self.row(late, "cluster: from joining to the first job").verdict)

    def test_a_crash_is_over_when_the_last_of_the_jobs_runs(self):
        row = self.row(self.report(), "cluster: from a crash until all its jobs run elsewhere")
        self.assertEqual((row.ours, row.ratio), ("5.00 s", 1.25))

    def test_what_fails_is_not_measured_and_says_why(self):
        def fails(*_):
            raise Failed("n2 ended with code 1")

        report = self.report(join=fails)
        self.assertEqual(self.row(report, "cluster").verdict, "not measured")
        self.assertEqual(self.row(report, "cluster").note, "n2 ended with code 1")
        self.assertEqual(self.row(report, "cluster: 1 node, R=1").ratio, 1)


class Stamps(unittest.TestCase):
    def test_lines_are_found_with_their_times_and_foreign_ones_passed_over(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "n1.log").write_text(
                "12.5 began aa\nThread 3 crashed, it began so\n13.25 info: member n2 is dead\n14 began bb\n")
            cluster = cluster_jobs.Cluster.__new__(cluster_jobs.Cluster)
            cluster.folder = Path(folder)
            self.assertEqual(cluster.stamps(1, "^began"), [(12.5, "began aa"), (14.0, "began bb")])
            self.assertEqual(cluster.stamps(1, r"n2\b.* is dead"), [(13.25, "info: member n2 is dead")])
            self.assertEqual(cluster.stamps(1, "it began so"), [])


if __name__ == "__main__":
    unittest.main()
