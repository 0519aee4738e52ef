#!/usr/bin/env python3
"""Fails when a folder includes what it must not: the dependency direction of docs/architecture.md.

  check_includes.py ROOT

Prints each forbidden #include as FILE:LINE, then exits 1; exits 0 when there is none."""
import os
import re
import sys

# folder -> folders whose headers it may include, besides its own
ALLOWED = {
    "base": [],
    "wire": ["base"],
    "refdb/view": ["base"],
    "refdb/alias": ["base"],
    "refdb/store": ["base", "wire", "refdb/view", "refdb/alias"],
    "refdb/ingest": ["base", "wire", "refdb/view", "refdb/alias", "refdb/store"],
    "refdb/explain": ["base", "wire", "refdb/view", "refdb/alias"],
    "pipeline": ["base", "wire", "refdb/view"],
    # The shell opens generations through the one header of the store that names no RocksDB.
    "server": ["base", "wire", "refdb/view", "pipeline", "refdb/store/open.h"],
    "endpoint": ["base", "wire"],
    # Simulated endpoints: what a load on the server is made of.
    "fleet": ["base", "wire", "refdb", "endpoint"],
    "cli": ["base", "wire", "refdb", "pipeline", "server", "fleet"],
    "bench": ["base", "wire", "refdb", "pipeline", "server", "endpoint", "fleet", "cli", "tests"],
    "tests": ["base", "wire", "refdb", "pipeline", "server", "endpoint", "fleet", "cli", "bench"],
}
# third party -> where it may be named
LIBRARIES = {
    r"(oneapi/)?tbb/": ["pipeline", "refdb/ingest", "bench", "tests"],
    r"rocksdb/": ["refdb/store", "server/state", "tests"],
    r"boost/asio": ["server", "endpoint/client", "bench", "tests"],
    r"boost/beast": ["server/metrics"],
    r"openssl/": ["base", "server/tls", "endpoint", "fleet", "bench", "tests"],
    r"tss2/": ["endpoint", "tests"],
    r"archive(_entry)?\.h": ["refdb/ingest", "tests"],
    r"curl/": ["refdb/ingest", "server/ocsp", "server/results"],
    r"seccomp\.h": ["refdb/ingest", "server/results"],
    r"sqlite3\.h": ["refdb/ingest", "tests"],
    r"(zlib|bzlib|lz4|lzma)\.h": ["refdb/ingest", "bench", "tests"],
    r"zstd(_errors)?\.h": ["refdb/ingest", "server/state", "bench", "tests"],
    r"toml\+\+/|toml\.hpp": ["base", "server/config", "server/policy", "endpoint", "tests"],
    r"spdlog/": ["base", "tests"],
    r"CLI/": ["cli", "endpoint", "bench", "tests"],
}
# Nothing of these in a header outside the named folders, so that no user of the header sees the library.
HIDDEN_IN_HEADERS = {
    r"(oneapi/)?tbb/": ["pipeline/graph", "pipeline/lookup"],
    r"rocksdb/": ["refdb/store", "server/state"],
    r"boost/asio": ["server/tls", "server/control"],
    r"boost/beast": [],
    r"curl/": [],
    r"seccomp\.h": [],
    r"sqlite3\.h": [],
    r"openssl/": ["server/tls", "endpoint", "fleet", "base"],
}
# Headers that only declare what their parts share: including one doesn't make a folder depend on the folder's code.
INTERFACES = {"pipeline/graph/pipeline.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def inside(path, folder):
    return path == folder or path.startswith(folder + "/")


def owner(path):
    return max((f for f in ALLOWED if inside(path, f)), key=len, default=None)


def main(root):
    bad = []
    edges = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in ("build", "shared")]
        for file in files:
            if not file.endswith((".h", ".cpp")):
                continue
            path = os.path.relpath(os.path.join(folder, file), root)
            mine = owner(path)
            if mine is None:
                bad.append(f"{path}:1: this folder isn't in the list of {os.path.basename(__file__)}")
                continue
            for number, line in enumerate(open(os.path.join(root, path), encoding="utf-8"), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                quoted, target = match.group(1) == '"', match.group(2)
                theirs = owner(target)
                if quoted and theirs is None and "/" in target:
                    bad.append(f"{path}:{number}: \"{target}\" is not from the root of the tree")
                if theirs and theirs != mine and not any(inside(target, a) for a in ALLOWED[mine]):
                    bad.append(f"{path}:{number}: {mine} must not include {target}")
                if theirs and mine not in ("tests", "bench") and target not in INTERFACES:
                    a, b = os.path.dirname(path), os.path.dirname(target)
                    if a != b:
                        edges.setdefault(a, {}).setdefault(b, f"{path}:{number}")
                for table, header_only in ((LIBRARIES, False), (HIDDEN_IN_HEADERS, True)):
                    if header_only and (not file.endswith(".h") or mine in ("tests", "bench")):
                        continue
                    for library, places in table.items():
                        if re.match(library, target) and not any(inside(path, p) for p in places):
                            bad.append(f"{path}:{number}: {target} doesn't belong here")
    state = {}

    def visit(node, trail):
        state[node] = 1
        for other, where in edges.get(node, {}).items():
            if state.get(other) == 1:
                bad.append(f"{where}: cycle {' -> '.join(trail[trail.index(other):] + [other])}")
            elif other not in state:
                visit(other, trail + [other])
        state[node] = 2

    for node in sorted(edges):
        if node not in state:
            visit(node, [node])
    print("\n".join(bad) if bad else "every include follows the dependency direction")
    return 1 if bad else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
