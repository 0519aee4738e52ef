#!/usr/bin/env python3
"""Names the tests of a build that were skipped in its last run: skipped.py BUILD_DIR. A test program that skips some of
its cases passes; who reads the summary should know what it doesn't say."""
import glob
import json
import os
import sys

for path in sorted(glob.glob(os.path.join(sys.argv[1], "test-results", "*.json"))):
    with open(path, encoding="utf-8") as file:
        results = json.load(file)
    for suite in results["testsuites"]:
        for test in suite["testsuite"]:
            if test.get("result") == "SKIPPED" or test.get("status") == "NOTRUN":
                print(f"skipped: {os.path.basename(path)[:-5]}: {suite['name']}.{test['name']}"
                      f" ({os.path.relpath(test.get('file', '?'))}:{test.get('line', '?')})")
