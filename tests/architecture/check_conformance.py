#!/usr/bin/env python3
"""Holds docs/conformance.md against the tests: check_conformance.py TREE [BUILD] [--also FILE]...

Each row of a table with the columns id, requirement, rule, test names at least one test as `executable: Suite.Name`, or
as `ctest: NAME` where a program of its own runs it. The check fails where an id comes twice or has not the form of one,
where a row names no test, or one that doesn't exist, or one that was left out of the last run or failed in it.

A test exists when the executable lists it; where that isn't built, when the sources that tests/*/CMakeLists.txt gives
the executable define it. Whether it ran is read from BUILD/test-results/EXECUTABLE.json, which each run of ctest writes;
a result older than its executable is of another build and says nothing. Rows below the heading "Not proved by a test"
have no test, and nothing to check but their ids. Tests that a file of --also names are held to the same.
"""
import argparse
import json
import os
import re
import subprocess
import sys

ID = re.compile(r"^[A-Z0-9]+-[0-9]+(\.[0-9]+)*-[0-9]+$")
TEST = re.compile(r"`([a-z0-9_]+): ([^`]+)`")
DEFINED = re.compile(r"^\s*(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)", re.M)


def cells(line):
    return [c.strip() for c in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def rows_of(path):
    """(line number, id, test column, proved) of each row."""
    proved = True
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if line.startswith("## "):
                proved = line.strip() != "## Not proved by a test"
            if not line.startswith("|"):
                continue
            row = cells(line)
            if row[0] in ("id", "") or set(row[0]) <= set("-: "):
                continue
            yield number, row[0], row[-1], proved


def name_of(suite, test):
    """Suite.Name of a listed test, whatever instantiates it with whatever parameter."""
    return [part for part in suite.split("/") if not part.isdigit()][-1] + "." + test.split("/")[0]


class Tests:
    def __init__(self, tree, build):
        self.tree, self.build = tree, build
        self.sources, self.folders, self.names, self.results = {}, {}, {}, {}
        folder = os.path.join(tree, "tests")
        for part in sorted(os.listdir(folder)):
            lists = os.path.join(folder, part, "CMakeLists.txt")
            if not os.path.exists(lists):
                continue
            with open(lists, encoding="utf-8") as f:
                text = f.read()
            for m in re.finditer(r"gatehouse_test\(\s*(\w+)\s+(?:\w+\s+)*?SOURCES\s+(.*?)(?:LIBRARIES|\))", text, re.S):
                self.folders[m[1]] = os.path.join(folder, part)
                self.sources[m[1]] = [os.path.join(folder, part, s) for s in m[2].split()]

    def executable(self, name):
        if not self.build or name not in self.folders:
            return None
        part = os.path.relpath(self.folders[name], self.tree)
        for path in (os.path.join(self.build, part, name), os.path.join(self.build, "bin", name)):
            if os.path.isfile(path):
                return path
        return None

    def of(self, name):
        """The tests of an executable; None: there is no such executable."""
        if name not in self.sources:
            return None
        if name not in self.names:
            found, program = set(), self.executable(name)
            if program:
                listed = subprocess.run([program, "--gtest_list_tests"], capture_output=True, text=True, check=True)
                suite = ""
                for line in listed.stdout.splitlines():
                    line = line.split("#")[0].rstrip()
                    if line and not line.startswith(" "):
                        suite = line.rstrip(".")
                    elif line and not line.strip().startswith("DISABLED_") and "DISABLED_" not in suite:
                        found.add(name_of(suite, line.strip()))
            else:
                for source in self.sources[name]:
                    with open(source, encoding="utf-8") as f:
                        found |= {f"{s}.{t}" for s, t in DEFINED.findall(f.read())
                                  if not t.startswith("DISABLED_") and not s.startswith("DISABLED_")}
            self.names[name] = found
        return self.names[name]

    def ctest(self, name):
        for folder, _, files in os.walk(os.path.join(self.tree, "tests")):
            if "CMakeLists.txt" not in files:
                continue
            with open(os.path.join(folder, "CMakeLists.txt"), encoding="utf-8") as f:
                if name in re.findall(r"add_test\(\s*NAME\s+(\w+)", f.read()):
                    return True
        return False

    def run_of(self, name):
        """Suite.Name to what became of it in the last run of ctest; None: this build wasn't run."""
        if name not in self.results:
            program = self.executable(name)
            path = os.path.join(self.build or "", "test-results", name + ".json")
            self.results[name] = None
            if program and os.path.exists(path) and os.path.getmtime(path) >= os.path.getmtime(program):
                with open(path, encoding="utf-8") as f:
                    report = json.load(f)
                became = {}
                for suite in report.get("testsuites", []):
                    for test in suite.get("testsuite", []):
                        key = name_of(suite["name"], test["name"])
                        state = "failed" if test.get("failures") else \
                            "ran" if test.get("status") == "RUN" and test.get("result") == "COMPLETED" else "was left out"
                        # Of several instances the worst counts.
                        order = ("failed", "was left out", "ran")
                        became[key] = min(became.get(key, "ran"), state, key=order.index)
                self.results[name] = became
        return self.results[name]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tree")
    parser.add_argument("build", nargs="?")
    parser.add_argument("--also", action="append", default=[])
    options = parser.parse_args()
    document = os.path.join(options.tree, "docs", "conformance.md")
    tests, wrong, ids = Tests(options.tree, options.build), [], {}
    named, confirmed = set(), set()

    def judge(column, complain):
        for program, test in TEST.findall(column):
            named.add((program, test))
            known = tests.of(program)
            if program == "ctest":
                if not tests.ctest(test):
                    complain(f"there is no ctest {test}")
            elif known is None:
                complain(f"there is no test program {program}")
            elif test not in known:
                complain(f"{program} has no test {test}")
            elif (became := tests.run_of(program)) is not None:
                if became.get(test) == "ran":
                    confirmed.add((program, test))
                else:
                    complain(f"{program}: {test} {became.get(test, 'did not run')}")

    for number, row_id, column, proved in rows_of(document):
        def complain(why, place=f"{document}:{number}: {row_id}"):
            wrong.append(f"{place}: {why}")
        if not ID.match(row_id):
            complain("an id is like PBTNC-4.1-3")
        if row_id in ids:
            complain(f"the id of line {ids[row_id]}, too")
        ids.setdefault(row_id, number)
        if proved and not TEST.search(column):
            complain("names no test")
        if proved:
            judge(column, complain)
    for path in options.also:
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                judge(line, lambda why, place=f"{path}:{number}": wrong.append(f"{place}: {why}"))
    if not ids:
        wrong.append(f"{document}: has no rows")
    for line in wrong:
        print(line)
    print(f"{len(ids)} rows, {len(named)} tests, {len(confirmed)} of them seen in the last run")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
