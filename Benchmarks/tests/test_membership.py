"""Tests of the membership benchmark, with stand-ins: no network namespace, no serf, no product."""

import os
import random
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import harness  # noqa: E402
import membership  # noqa: E402
import membership_clusters  # noqa: E402
import stand_ins  # noqa: E402
from membership_clusters import AGENTS, Log, NodeCluster, SerfCluster  # noqa: E402
from membership_meters import BusyLoops, Idle  # noqa: E402


class WithMembers(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ocrt."))
        self.addCleanup(shutil.rmtree, self.folder, True)
        stand_ins.write_member(self.folder)
        self.scratch = self.folder / "s"
        self.scratch.mkdir()
        self.settings = harness.Settings.from_environment()
        self.settings.binaries = self.folder

    def cluster(self):
        return NodeCluster(self.settings, self.scratch)


class Crashes(WithMembers):
    def test_a_crash_is_timed_at_the_first_and_the_last_that_says_so_and_the_victim_comes_back(self):
        with self.cluster() as cluster:
            first, last = membership.crash(cluster, random.Random(1))
            self.assertLessEqual(0, first)
            self.assertLessEqual(first, last)
            self.assertLess(last, 30)
            self.assertEqual(cluster.alive(1), AGENTS)
            self.assertEqual(cluster.refutations(), 2 * AGENTS)

    def test_another_member_declared_dead_meanwhile_is_not_passed_over(self):
        (self.folder / "false-death").touch()
        previous, membership.DETECTION_LIMIT_SECONDS = membership.DETECTION_LIMIT_SECONDS, 2
        self.addCleanup(setattr, membership, "DETECTION_LIMIT_SECONDS", previous)
        with self.cluster() as cluster, self.assertRaisesRegex(harness.Failed, "n1 did not declare"):
            membership.crash(cluster, random.Random(1))

    def test_an_agent_that_does_not_start_is_reported_with_its_last_words_and_none_remains(self):
        (self.folder / "no-start").touch()
        with self.assertRaisesRegex(harness.Failed, "address in use"):
            with self.cluster():
                pass
        pid = int((self.scratch / "n1.member").read_text())
        self.assertFalse(os.path.exists(f"/proc/{pid}"))


class Pieces(unittest.TestCase):
    def test_a_line_is_read_once_and_only_when_it_is_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "log")
            log = Log(path)
            log.read()
            path.write_text("one\nsecond h")
            log.read()
            self.assertEqual([line for _, line in log.lines], ["one"])
            with open(path, "a") as file:
                file.write("alf\n")
            log.read()
            self.assertEqual([line for _, line in log.lines], ["one", "second half"])

    def test_a_death_names_its_victim_in_the_words_of_each_side(self):
        serf, ours = SerfCluster.victim_of_death, NodeCluster.victim_of_death
        self.assertEqual(serf(SerfCluster, "  2026/11/25 09:42:59 [INFO] serf: EventMemberFailed: n3 127.0.0.3"), "n3")
        self.assertIsNone(serf(SerfCluster, "[INFO] memberlist: Suspect n3 has failed, no acks received"))
        self.assertEqual(ours(NodeCluster, "warning node: member n10 (127.0.0.10:7400) is dead: found by n2"), "n10")
        self.assertIsNone(ours(NodeCluster, "notice node: member n10 is suspect: n2 has no answer from it"))

    def test_a_suspicion_counts_where_it_was_raised_and_not_where_it_was_heard_of(self):
        line = "notice node: member n10 is suspect: n2 has no answer from it"
        self.assertEqual([number for number in range(1, 11) if NodeCluster.raises_suspicion(NodeCluster, number, line)],
                         [2])
        line = "    2026/11/25 09:42:59 [INFO] memberlist: Suspect n3 has failed, no acks received"
        self.assertTrue(SerfCluster.raises_suspicion(SerfCluster, 1, line))

    def test_busy_loops_end_with_the_block_and_by_themselves(self):
        with BusyLoops(2, 0.2) as loops:
            for process in loops.processes:
                self.assertEqual(process.wait(20), 0)
        with BusyLoops(1, 987) as loops:
            pass
        self.assertIsNotNone(loops.processes[0].returncode)

    def test_without_serf_the_rows_tell_ours_and_say_why_there_is_no_ratio(self):
        ours = membership.Measured([1.0], [2.0], [3.0], [Idle(200, 50, 2, 3e7)], 0, 1, 1)
        report, extent = harness.Report(), membership.Extent(1, 1, 1, 1, 16)
        membership.add_rows(ours, None, {"serf": "no serf"}, extent, report)
        rows = {row.what: row for row in report.rows}
        self.assertEqual(rows["crash known to all, median"].ours, "2.00 s")
        self.assertEqual(rows["crash known to all, median"].verdict, "not measured")
        self.assertEqual(rows["idle: sent by a node, against 10 kbit/s"].verdict, "met")
        self.assertEqual(rows["false deaths beside 16 busy loops (a count)"].verdict, "met")

    def test_more_suspicions_than_serf_miss_the_target(self):
        sides = [membership.Measured([1.0], [2.0], [3.0], [Idle(200, 50, 2, 3e7)], 0, count, 0) for count in (4, 3)]
        report = harness.Report()
        membership.add_rows(*sides, {}, membership.Extent(1, 1, 1, 1, 16), report)
        rows = {row.what: row for row in report.rows}
        self.assertEqual(rows["suspicions raised beside 16 busy loops (a count)"].verdict, "**missed**")
        self.assertEqual(rows["crash known to all, slowest"].verdict, "met")


if __name__ == "__main__":
    unittest.main()
