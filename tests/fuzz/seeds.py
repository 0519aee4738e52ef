#!/usr/bin/env python3
"""Collects the seed corpus of each fuzz harness: seeds.py TREE SHARED OUT

Recorded conversations come from tests/data, third-party logs and lists from SHARED/corpus where that is present.
OUT/<harness>/ gets one file an input, named by its digest."""
import glob
import hashlib
import json
import os
import struct
import sys

tree, shared, out = sys.argv[1:4]
interop = os.path.join(tree, "tests/data/interop")
corpus = os.path.join(shared, "corpus")


def add(harness, data):
    folder = os.path.join(out, harness)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, hashlib.sha256(data).hexdigest()[:24]), "wb") as f:
        f.write(data)


def files(pattern, most=65536):
    for path in sorted(glob.glob(pattern, recursive=True)):
        if os.path.isfile(path):
            data = open(path, "rb").read()
            if len(data) <= most:
                yield data


def batches(most=2600):
    seen = set()
    for path in sorted(glob.glob(os.path.join(interop, "*/batches/*.bin"))):
        key = (path.split("/")[-3], os.path.getsize(path))
        if os.path.getsize(path) <= most and key not in seen:
            seen.add(key)
            yield open(path, "rb").read()


def messages(batch):
    at = 8
    while at + 12 <= len(batch):
        vendor, kind, length = struct.unpack(">III", batch[at:at + 12])
        if length < 12:
            return
        yield vendor & 0xFFFFFF, kind, batch[at + 12:at + length]
        at += length


for data in files(corpus + "/eventlog/*.bin", 30000):
    add("eventlog_fuzz", data)
for data in files(corpus + "/malformed/el-*"):
    add("eventlog_fuzz", data)
for data in files(corpus + "/ima/*.bin"):
    add("ima_fuzz", data)
for data in files(corpus + "/malformed/ima-*.bin"):
    add("ima_fuzz", data)
for data in files(corpus + "/ima/*.txt", 12000):
    add("ima_ascii_fuzz", data)
for data in files(corpus + "/malformed/ima-*.txt"):
    add("ima_ascii_fuzz", data)
for pattern in ("evidence/**/*.attest", "evidence/**/*.sig", "evidence/**/*.tpm2b"):
    for data in files(os.path.join(corpus, pattern), 4096):
        add("tpm_fuzz", data)
for path in glob.glob(interop + "/*/facts.json"):
    facts = json.load(open(path))
    for key in ("tpms_attest", "tpmt_signature", "simple_evidence_final"):
        if facts.get(key):
            data = bytes.fromhex(facts[key])
            add("pts_fuzz" if key == "simple_evidence_final" else "tpm_fuzz", data)
            if key == "simple_evidence_final":
                add("evidence_fuzz", data)
for path in glob.glob(interop + "/*/index.json"):
    for message in json.load(open(path))["messages"]:
        if message.get("hex"):
            add("pttls_fuzz", bytes.fromhex(message["hex"]))
for batch in batches():
    add("pbtnc_fuzz", batch)
    add("pttls_fuzz", struct.pack(">IIII", 0, 7, len(batch) + 16, 1) + batch)
    add("session_fuzz", batch)
    add("endpoint_session_fuzz", batch)
    for vendor, kind, value in messages(batch):
        if (vendor, kind) == (0, 1) and len(value) > 12:
            add("patnc_fuzz", value[12:])
            add("segmentation_fuzz", value[12:])
            add("evidence_fuzz", value[12:])
            at = 8
            body = value[12:]
            while at + 12 <= len(body):
                length = struct.unpack(">I", body[at + 8:at + 12])[0]
                if length < 12:
                    break
                add("pts_fuzz", body[at:at + length])
                at += length
for data in files(corpus + "/packages/*.deb", 60000):
    add("deb_fuzz", data)
for data in files(corpus + "/packages/bad/*.deb", 60000):
    add("deb_fuzz", data)
add("sha256sums_fuzz", b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  /etc/empty\n")
add("deb_control_fuzz", b"Package: hello\nVersion: 2.10-3\nArchitecture: amd64\nDescription: example\n more\n")
paragraph = b"Package: %s\nStatus: %s\nArchitecture: amd64\nVersion: %s\nDescription: example\n more\n .\n\n"
add("dpkg_status_fuzz", paragraph % (b"dpkg", b"install ok installed", b"1.21.23") +
    paragraph % (b"libaudit-common", b"hold ok installed", b"1:3.0.9-1+b1") +
    paragraph % (b"gone", b"deinstall ok config-files", b"2"))


def inventory(instances, events, last):
    out = b"gatehouse-inventory 1\n" + struct.pack(">IIII", 0x38CD4CC6, 1, last, len(instances) + 1)
    out += struct.pack(">I", len(instances))
    for number, (name, version, installed) in enumerate(instances, 1):
        out += struct.pack(">IBB", number, 1, installed)
        for text in (name, version, b"amd64"):
            out += struct.pack(">H", len(text)) + text
        out += hashlib.sha256(name).digest()
    out += struct.pack(">I", len(events))
    for event in events:
        out += struct.pack(">IQIB", *event)
    return out


add("endpoint_log_fuzz", inventory([], [], 0))
add("endpoint_log_fuzz", inventory([(b"dpkg", b"1.21.22", 0), (b"adduser", b"3.134", 1), (b"dpkg", b"1.21.23", 1)],
                                   [(1, 1000, 1, 1), (1, 1000, 2, 1), (2, 2000, 1, 2), (2, 2000, 3, 1)], 2))
