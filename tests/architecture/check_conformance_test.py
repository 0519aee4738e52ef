#!/usr/bin/env python3
"""What check_conformance.py takes and what it refuses, on a tree and a build of its own."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

CHECK = pathlib.Path(__file__).with_name("check_conformance.py")
HEAD = "# Title\n\n| id | requirement | rule | test |\n|---|---|---|---|\n"


class Check(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        self.tree = pathlib.Path(self.place.name) / "tree"
        self.build = self.tree / "build"
        part = self.tree / "tests" / "part"
        part.mkdir(parents=True)
        (self.tree / "docs").mkdir()
        (part / "CMakeLists.txt").write_text("gatehouse_test(part_test AT_ONCE 6 LONG SOURCES a.cpp\n  b.cpp LIBRARIES x)\n"
                                             "add_test(NAME part_alone COMMAND x)\n")
        (part / "a.cpp").write_text("TEST(Suite, Name) {\n}\nTEST_P(Rows, EachOne) {\n}\n// TEST(Suite, Comment) {\n")
        (part / "b.cpp").write_text("TEST_F(Fixture, Other) {\n}\nTEST(Suite, DISABLED_Off) {\n}\n")

    def run_check(self, rows, *more):
        (self.tree / "docs" / "conformance.md").write_text(HEAD + rows)
        done = subprocess.run([sys.executable, CHECK, self.tree, self.build, *more], capture_output=True, text=True)
        return done.returncode, done.stdout

    def refused(self, rows, why):
        code, said = self.run_check(rows)
        self.assertEqual(code, 1, said)
        self.assertIn(why, said)

    def built(self, listed, results=None):
        folder = self.build / "tests" / "part"
        folder.mkdir(parents=True)
        program = folder / "part_test"
        program.write_text("#!/bin/sh\ncat <<'EOF'\n" + listed + "EOF\n")
        program.chmod(0o755)
        os.utime(program, (1000, 1000))
        if results is not None:
            (self.build / "test-results").mkdir()
            (self.build / "test-results" / "part_test.json").write_text(json.dumps({"testsuites": results}))

    def test_sources_name_the_tests_of_what_is_not_built(self):
        code, said = self.run_check("| PBTNC-4.1-1 | a | | `part_test: Suite.Name`, `part_test: Rows.EachOne` |\n"
                                    "| PBTNC-4.1-2 | b | | `part_test: Fixture.Other` |\n"
                                    "| PBTNC-4.1-3 | c | | `ctest: part_alone` |\n")
        self.assertEqual(code, 0, said)
        self.assertIn("3 rows, 4 tests, 0 of them seen", said)
        for gone in ("Suite.Gone", "Suite.Comment", "Suite.DISABLED_Off"):
            self.refused(f"| PBTNC-4.1-1 | a | | `part_test: {gone}` |\n", "has no test " + gone)
        self.refused("| PBTNC-4.1-1 | a | | `other_test: Suite.Name` |\n", "no test program other_test")
        self.refused("| PBTNC-4.1-1 | a | | `ctest: other` |\n", "no ctest other")

    def test_rows_have_one_id_and_a_test(self):
        good = "| PBTNC-4.1-1 | a | | `part_test: Suite.Name` |\n"
        self.refused(good + good, "the id of line 5, too")
        self.refused("| PBTNC-4.1-1 | a | | — |\n", "names no test")
        self.refused("| PBTNC | a | | `part_test: Suite.Name` |\n", "an id is like")
        self.refused("", "has no rows")

    def test_what_is_not_proved_stands_below_its_heading(self):
        code, said = self.run_check("\n## Not proved by a test\n\n| id | requirement | rule | why |\n|---|---|---|---|\n"
                                    "| PBTNC-4.1-1 | a | | nothing |\n")
        self.assertEqual(code, 0, said)
        self.refused("| PBTNC-4.1-1 | a | | `part_test: Suite.Name` |\n\n## Not proved by a test\n\n"
                     "| PBTNC-4.1-1 | a | | nothing |\n", "the id of line 5, too")

    def test_the_program_counts_where_it_is_built(self):
        self.built("Suite.\n  Another\nAll/Rows.\n  EachOne/0  # GetParam() = 1\n  DISABLED_Off\n")
        code, said = self.run_check("| PBTNC-4.1-1 | a | | `part_test: Suite.Another`, `part_test: Rows.EachOne` |\n")
        self.assertEqual(code, 0, said)
        self.refused("| PBTNC-4.1-1 | a | | `part_test: Suite.Name` |\n", "has no test Suite.Name")

    def test_what_was_run_has_to_have_run_and_passed(self):
        def one(name, status="RUN", result="COMPLETED", **more):
            return {"name": name, "status": status, "result": result, **more}
        self.built("Suite.\n  Name\n  Bad\n  Skipped\n  Filtered\nAll/Rows.\n  EachOne/0\n  EachOne/1\n", [
            {"name": "Suite", "testsuite": [one("Name"), one("Bad", failures=[{"failure": "x"}]),
                                            one("Skipped", result="SKIPPED"), one("Filtered", "NOTRUN", "SUPPRESSED")]},
            {"name": "All/Rows", "testsuite": [one("EachOne/0"), one("EachOne/1", result="SKIPPED")]}])
        code, said = self.run_check("| PBTNC-4.1-1 | a | | `part_test: Suite.Name` |\n")
        self.assertEqual(code, 0, said)
        self.assertIn("1 of them seen", said)
        self.refused("| PBTNC-4.1-1 | a | | `part_test: Suite.Bad` |\n", "Suite.Bad failed")
        for left in ("Suite.Skipped", "Suite.Filtered", "Rows.EachOne"):
            self.refused(f"| PBTNC-4.1-1 | a | | `part_test: {left}` |\n", left + " was left out")

    def test_tests_that_another_document_names_exist_too(self):
        row = "| PBTNC-4.1-1 | a | | `part_test: Suite.Name` |\n"
        other = self.tree / "docs" / "threats.md"
        other.write_text("| P1 | attack | rule | `part_test: Rows.EachOne` |\n")
        code, said = self.run_check(row, "--also", other)
        self.assertEqual(code, 0, said)
        other.write_text("| P1 | attack | rule | `part_test: Rows.Gone` |\n")
        code, said = self.run_check(row, "--also", other)
        self.assertEqual(code, 1, said)
        self.assertIn("threats.md:1: part_test has no test Rows.Gone", said)

    def test_results_of_another_build_say_nothing(self):
        self.built("Suite.\n  Name\n", [{"name": "Suite", "testsuite": []}])
        self.refused("| PBTNC-4.1-1 | a | | `part_test: Suite.Name` |\n", "Suite.Name did not run")
        os.utime(self.build / "test-results" / "part_test.json", (500, 500))
        code, said = self.run_check("| PBTNC-4.1-1 | a | | `part_test: Suite.Name` |\n")
        self.assertEqual(code, 0, said)


if __name__ == "__main__":
    unittest.main()
