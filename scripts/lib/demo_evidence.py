#!/usr/bin/env python3
"""Picks the files of this machine for the demo's IMA list, and writes the list as the kernel would.

  demo_evidence.py choose --work DIR [--files 1500] [--megabytes 100]
      chooses installed packages whose version the package mirror has, until their archives reach the size and their
      executables and libraries the count; writes DIR/packages.list (NAME=VERSION a line) and DIR/files.list (paths)
  demo_evidence.py list --work DIR --eventlog FILE --output FILE [--change PATH] [--unknown PATH]...
      writes a binary IMA list (template ima-ng, SHA-256): boot_aggregate over the log's PCRs 0-9, then the files;
      --change PATH records PATH as if its content had one byte more than it has

The list has the kernel's format (security/integrity/ima/ima_fs.c): PCR, SHA-1 template hash, template name, template
data; the name of a file is its resolved path, a space in it '_'."""
import argparse
import hashlib
import os
import re
import stat
import struct
import subprocess
import sys

SUFFIXES = (".pm", ".pl", ".py")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def is_code(path, mode, interpreted):
    name = os.path.basename(path)
    if name.endswith(SUFFIXES):
        return interpreted
    return bool(mode & 0o111) or re.search(r"\.so(\.|$)", name) is not None


def digest_of(path, algorithm):
    h = hashlib.new(algorithm)
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.digest()


def installed():
    """(package, version, size of the archive) for each installed package that the mirror has in this version."""
    rows = {}
    for line in run("dpkg-query", "-W", "-f", "${db:Status-Status}\t${binary:Package}\t${Version}\n").splitlines():
        status, package, version = line.split("\t")
        if status == "installed":
            rows[package] = version
    found, missing = [], 0
    names = sorted(rows)
    for start in range(0, len(names), 200):
        specs = [f"{n}={rows[n]}" for n in names[start:start + 200]]
        shown = subprocess.run(["apt-cache", "show", "--no-all-versions", *specs], capture_output=True, text=True).stdout
        offered = {}
        for stanza in shown.split("\n\n"):
            fields = dict(re.findall(r"^(Package|Version|Filename|Size|Architecture): (.*)$", stanza, re.M))
            if "Filename" in fields and "Size" in fields:
                offered[(fields["Package"], fields["Version"])] = int(fields["Size"])
        for name in names[start:start + 200]:
            size = offered.get((name.split(":")[0], rows[name]))
            if size is None:
                missing += 1
            else:
                found.append((name, rows[name], size))
    return found, missing


def info_file(package, kind):
    for name in (package, package.split(":")[0]):
        path = f"/var/lib/dpkg/info/{name}.{kind}"
        if os.path.exists(path):
            return path
    architecture = run("dpkg", "--print-architecture").strip()
    path = f"/var/lib/dpkg/info/{package.split(':')[0]}:{architecture}.{kind}"
    return path if os.path.exists(path) else None


def code_files(package, diverted, interpreted):
    """Executables and libraries of a package that still are what dpkg installed; and how many are not."""
    sums = info_file(package, "md5sums")
    if sums is None:
        return [], 0
    good, changed = [], 0
    for line in open(sums, encoding="utf-8", errors="surrogateescape"):
        md5, _, name = line.rstrip("\n").partition("  ")
        path = "/" + name
        if not path.startswith(("/bin", "/sbin", "/lib", "/usr")) or path in diverted:
            continue
        try:
            state = os.lstat(path)
        except OSError:
            continue
        if not stat.S_ISREG(state.st_mode) or state.st_size == 0 or not is_code(path, state.st_mode, interpreted):
            continue
        if "\n" in path or not path.isascii():
            continue
        if digest_of(path, "md5").hex() != md5:
            changed += 1
        else:
            good.append(os.path.realpath(path))
    return good, changed


def pick(packages, diverted, interpreted, args):
    pattern = r"(^|/)s?bin/[^/]+$|\.so(\.|$)" + (r"|\.p[ymlm]$" if interpreted else "")
    counted = []
    for package, version, size in packages:
        sums = info_file(package, "md5sums")
        if sums is None:
            continue
        with open(sums, encoding="utf-8", errors="surrogateescape") as f:
            code = sum(1 for line in f if re.search(pattern, line.rstrip("\n").partition("  ")[2]))
        if code:
            counted.append((code, package, version, size))
    # Packages with much code first: the fewest archives for the list, then large ones up to the wanted size.
    counted.sort(key=lambda row: (-row[0], row[1]))
    chosen, files, total, changed = [], {}, 0, 0
    for code, package, version, size in counted:
        if len(files) >= args.files and total >= args.megabytes * 1_000_000:
            break
        if len(files) >= args.files and size < 2_000_000:
            continue
        if total >= args.megabytes * 2_000_000 and size > 5_000_000:
            continue
        good, bad = code_files(package, diverted, interpreted)
        changed += bad
        if good:
            chosen.append((package, version))
            total += size
            for path in good[:400]:
                files[path] = package
    return chosen, files, total, changed


def choose(args):
    packages, missing = installed()
    diverted = set(re.findall(r"diversion of (\S+) to", run("dpkg-divert", "--list")))
    # Executables and shared libraries first; on a small machine the interpreters' modules fill up the count.
    for interpreted in (False, True):
        chosen, files, total, changed = pick(packages, diverted, interpreted, args)
        if len(files) >= args.files and total >= args.megabytes * 1_000_000:
            break
    with open(os.path.join(args.work, "packages.list"), "w") as f:
        f.writelines(f"{package}={version}\n" for package, version in chosen)
    with open(os.path.join(args.work, "files.list"), "w") as f:
        f.writelines(f"{path}\n" for path in sorted(files))
    print(f"{len(packages)} installed packages are on the mirror in their version, {missing} are not and are left out")
    print(f"{len(chosen)} packages chosen ({total / 1e6:.0f} MB), {len(files)} executables and libraries, "
          f"{changed} changed since dpkg installed them and left out")
    if len(files) < args.files:
        sys.exit(f"only {len(files)} executables and libraries found, {args.files} wanted")
    if total < args.megabytes * 1_000_000:
        sys.exit(f"only {total / 1e6:.0f} MB of packages found, {args.megabytes} MB wanted")


def entry(name, digest):
    d_ng = b"sha256:\0" + digest
    n_ng = name.replace(" ", "_").encode() + b"\0"
    data = struct.pack("<I", len(d_ng)) + d_ng + struct.pack("<I", len(n_ng)) + n_ng
    return (struct.pack("<I", 10) + hashlib.sha1(data).digest() + struct.pack("<I", 6) + b"ima-ng" +
            struct.pack("<I", len(data)) + data)


def make_list(args):
    gatehouse = args.gatehouse
    import json
    pcrs = json.loads(run(gatehouse, "eventlog", args.eventlog, "--json"))["pcrs"]["sha256"]
    aggregate = hashlib.sha256(b"".join(bytes.fromhex(pcrs.get(str(i), "00" * 32)) for i in range(10))).digest()
    out = [entry("boot_aggregate", aggregate)]
    paths = [line.rstrip("\n") for line in open(os.path.join(args.work, "files.list"))]
    for path in paths + [os.path.realpath(p) for p in args.unknown]:
        if path == args.change:
            with open(path, "rb") as f:
                digest = hashlib.sha256(f.read() + b"\0").digest()
        else:
            digest = digest_of(path, "sha256")
        out.append(entry(path, digest))
    with open(args.output, "wb") as f:
        f.write(b"".join(out))
    print(len(out) - 1)


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    p = commands.add_parser("choose")
    p.set_defaults(run=choose)
    p.add_argument("--work", required=True)
    p.add_argument("--files", type=int, default=1500)
    p.add_argument("--megabytes", type=int, default=100)
    p = commands.add_parser("list")
    p.set_defaults(run=make_list)
    p.add_argument("--work", required=True)
    p.add_argument("--gatehouse", required=True)
    p.add_argument("--eventlog", required=True)
    p.add_argument("--output", required=True)
    p.add_argument("--change")
    p.add_argument("--unknown", action="append", default=[])
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
