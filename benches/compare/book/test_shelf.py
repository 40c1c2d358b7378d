"""What is kept and what the page says of it, and the search for a relay's highest load. `python3 benches/compare/book/test_shelf.py`."""

import json
import os
import sys
import tempfile
import types
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(ROOT, "tests", "peers"), os.path.join(ROOT, "tests", "xdp")]
sys.dont_write_bytecode = True

from book import catalogue, latency, search, shelf  # noqa: E402
from harness.process import Failure  # noqa: E402

MACHINE = {"processor": "Example(R) CPU X1 @ 3.0GHz", "cores": 2, "kernel": "6.1.0", "load_before": 0.1, "getppid_ns": 90.4,
           "side_by_side": 0.58}


class Shelf(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.options = types.SimpleNamespace(out=os.path.join(self.directory.name, "out"), root=ROOT,
                                             shelf=os.path.join(self.directory.name, "shelf"))
        os.makedirs(self.options.out)
        os.makedirs(self.options.shelf)
        self.entry = types.SimpleNamespace(goal="<= 0.5 hot, >= 3 cold", what="one thing, another")

    def tearDown(self):
        self.directory.cleanup()

    def measured(self, name, **more):
        found = {"name": name, "at": "2026-01-02T03:04:05Z", "machine": MACHINE, "rounds": [1, 2], **more}
        with open(os.path.join(self.options.out, f"{name}.json"), "w") as file:
            json.dump(found, file)

    def test_a_kept_figure_stands_on_the_page_with_its_rounds_beside_it(self):
        self.measured("x_hot")
        self.measured("x_cold")
        self.measured("x_warm")
        lines = ["ratio x_hot 0.400 0.390 0.410", "ratio x_cold 2.500 2.000 3.500", "ratio x_warm 2.500 2.000 3.500"]
        shelf.keep(self.options, self.entry, lines, ["x", "--keep", "--rounds", "8"])
        place = "2026-01-02-example-x1-2-cores"
        with open(os.path.join(self.options.shelf, place, "x_hot.json")) as file:
            found = json.load(file)
        self.assertEqual((found["figure"], found["rounds"], found["machine"]["cores"]), (0.4, [1, 2], 2))
        page = shelf.page(self.options.shelf)
        self.assertIn(f"## {place}", page)
        self.assertIn("`getppid()` takes 90 ns; two cores that are both busy run at 58 % of their speed alone.", page)
        commit = shelf.commit(ROOT)
        self.assertIn(f"| [`x_hot`]({place}/x_hot.json) | 0.4 | 0.39–0.41 | <= 0.5 | yes | `{commit}` | "
                      "`benches/compare/run x --rounds 8` |", page)
        self.assertIn("| 2.5 | 2–3.5 | >= 3 | **no** |", page)
        self.assertIn("| 2.5 | 2–3.5 | none |  |", page)

    def test_nothing_kept_is_said_and_rubbish_is_refused(self):
        self.assertIn("Nothing is kept yet", shelf.page(self.options.shelf))
        os.makedirs(os.path.join(self.options.shelf, "2026-01-01-odd"))
        with open(os.path.join(self.options.shelf, "2026-01-01-odd", "x.json"), "w") as file:
            file.write("{}")
        with self.assertRaisesRegex(Failure, "measure it again"):
            shelf.page(self.options.shelf)

    def test_what_is_too_large_for_a_repository_is_not_kept(self):
        self.measured("x_hot", output="y" * shelf.BYTES_MAX)
        with self.assertRaisesRegex(Failure, "not kept"):
            shelf.keep(self.options, self.entry, ["ratio x_hot 1 1 1"], ["x"])

    def test_every_goal_in_the_catalogue_can_be_judged(self):
        for entry in catalogue.ENTRIES:
            names = [entry.name] if "," not in entry.goal else [f"{entry.name}_{clause.split()[-1]}" for clause in entry.goal.split(",")]
            for name in names:
                judged = shelf.meets(name, entry.goal, 1.0) is not None
                self.assertEqual(judged, bool(entry.goal), f"{name}: {entry.goal}")
        self.assertIsNone(shelf.meets("x_ordered", "<= 1 hot, <= 2 cold", 1.0))
        self.assertTrue(shelf.meets("x", "<= 6,000", 5999.0))
        self.assertTrue(shelf.meets("admit_ns", "<= 20 admit_ns", 19.0))
        self.assertIsNone(shelf.meets("admit_two_threads_ns", "<= 20 admit_ns", 19.0))

    def test_the_page_in_the_repository_is_that_of_its_files(self):
        place = os.path.join(ROOT, "docs", "benchmarks")
        with open(os.path.join(place, "README.md")) as file:
            self.assertEqual(file.read(), shelf.page(place), "run benches/compare/run --page")


class Search(unittest.TestCase):
    """The load that a relay carries without loss, as `added_latency` looks for it."""

    def test_the_highest_load_is_found_within_a_tenth_whatever_it_is(self):
        for limit in (100, 130, 399, 1000, 1999):
            found = latency.highest(lambda streams: streams <= limit, 100, 2000, 0.1)
            self.assertTrue(limit / 1.1 - 1 <= found <= limit, f"{limit}: {found}")
        self.assertEqual(latency.highest(lambda _: True, 100, 2000, 0.1), 2000)
        with self.assertRaisesRegex(Failure, "not even 100"):
            latency.highest(lambda _: False, 100, 2000, 0.1)

    def test_one_bad_trial_is_no_limit(self):
        tried = []

        def passes(streams):
            tried.append(streams)
            return streams <= 700 and tried.count(streams) > 1

        self.assertTrue(630 <= latency.highest(passes, 100, 2000, 0.1) <= 700)

    def limited(self, limit, begin):
        self.tried = []

        def trial(rate):
            self.tried.append(rate)
            return {"void": None if rate <= limit() else "too much", "rate": rate}

        return search.Search(trial, begin)

    def test_the_highest_rate_is_found_to_the_step_wherever_the_search_begins(self):
        for limit in (1000, 1049, 17_000, 90_000, 300_000):
            for begin in (500, 1000, 16_000, 64_000, 400_000):
                found, steps = self.limited(lambda: limit, begin).highest()
                self.assertTrue(found <= limit and limit < found * 1.0501, f"{limit}: {found}")
                self.assertEqual([step["rate"] for step in steps], self.tried)
                self.assertGreaterEqual(self.tried.count(found), 2, "it has passed twice")
        with self.assertRaisesRegex(Failure, "the scale ends there"):
            self.limited(lambda: 10_000_000, 64_000).highest()
        self.assertEqual(self.limited(lambda: 999, 16_000).highest()[0], 0)

    def test_a_search_goes_on_where_the_last_one_ended(self):
        limit = [20_000]
        sought = self.limited(lambda: limit[0], 16_000)
        first, _ = sought.highest()
        for limit[0], most in ((20_000, 4), (21_000, 7), (19_000, 7), (60_000, 20), (20_000, 30)):
            found, steps = sought.highest()
            self.assertTrue(found <= limit[0] < found * 1.0501 and len(steps) <= most, f"{limit}: {found} after {len(steps)}")
        self.assertEqual(found, first)

    def test_what_passes_only_once_is_not_found(self):
        passed = []

        def trial(rate):
            lucky = 10_000 < rate <= 12_000 and rate not in passed
            passed.append(rate)
            return {"void": None if rate <= 10_000 or lucky else "too much"}

        found, _ = search.Search(trial, 8000).highest()
        self.assertTrue(9500 < found <= 10_000, str(found))


if __name__ == "__main__":
    unittest.main()
