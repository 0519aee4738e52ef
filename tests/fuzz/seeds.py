#!/usr/bin/env python3
"""Collects the seed corpus of each fuzz harness: seeds.py TREE SHARED OUT

Recorded conversations come from tests/data, third-party logs and lists from SHARED/corpus where that is present.
OUT/<harness>/ gets one file an input, named by its digest. Each run gives the same ones. It fails where a harness has
none, unless the corpus is absent, and where an input is for none."""
import base64
import bz2
import glob
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import shutil
import sqlite3
import struct
import sys
import tarfile

tree, shared, out = sys.argv[1:4]
interop = os.path.join(tree, "tests/data/interop")
corpus = os.path.join(shared, "corpus")
harnesses = {os.path.basename(p)[:-4]: 0 for p in glob.glob(os.path.join(tree, "tests/fuzz/*_fuzz.cpp"))}
for name in harnesses:
    shutil.rmtree(os.path.join(out, name), ignore_errors=True)
    os.makedirs(os.path.join(out, name))


def add(harness, data):
    harnesses[harness] += 1
    with open(os.path.join(out, harness, hashlib.sha256(data).hexdigest()[:24]), "wb") as f:
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


def add_swima(attribute):
    vendor, kind = struct.unpack(">II", attribute[:8])
    if vendor & 0xFFFFFF == 0 and 13 <= kind <= 21:
        add("swima_fuzz", b"\x1f" + attribute[12:])


add("swid_tag_fuzz", b"\0<?xml version='1.0' encoding='utf-8'?>\n<!-- c --><SoftwareIdentity name='bash' tagId='bash-5.2-1'>\n"
    b"<Entity name='A &amp; &#66;' regid='example.org' role='distributor tagCreator'/><a><![CDATA[<]]></a></SoftwareIdentity>")
add("swid_tag_fuzz", b"\1<s:software_identification_tag><s:software_id><s:unique_id>bash-5.2-1</s:unique_id>"
    b"<s:tag_creator_regid>example.org</s:tag_creator_regid></s:software_id></s:software_identification_tag>")
# The worked examples of the tests.
for literal in re.findall(r'string_view \w+ =\s+((?:"[0-9a-f]+"\s*)+);',
                          open(os.path.join(tree, "tests/wire_patnc/examples.h")).read()):
    data = bytes.fromhex("".join(re.findall("[0-9a-f]{2,}", literal)))
    if data[:4] != b"\1\0\0\0":
        continue
    add("patnc_fuzz", data)
    at = 8
    while at + 12 <= len(data):
        length = struct.unpack(">I", data[at + 8:at + 12])[0]
        add_swima(data[at:at + length])
        at += length
for data in files(corpus + "/eventlog/*.bin", 30000):
    add("eventlog_fuzz", data)
for data in files(corpus + "/malformed/el-*"):
    add("eventlog_fuzz", data)
for data in files(corpus + "/eventlog/*.bin"):
    add("firmware_rules_fuzz", data)
    # Databases of the firmware: behind the name of a variable that begins with db, its data.
    for at in (m.start() for m in re.finditer(b"d\0b\0", data)):
        name, length = struct.unpack_from("<QQ", data, at - 16) if at >= 16 else (0, 0)
        if name in (2, 3) and length <= len(data) - at - 2 * name:
            add("signature_list_fuzz", data[at + 2 * name:at + 2 * name + length])
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
# Keys and certificates: as text, and the DER in it.
for pattern in ("certs/*", "evidence/**/ak.pem"):
    for data in files(os.path.join(corpus, pattern), 8192):
        add("public_key_fuzz", data)
        for block in re.findall(rb"-----BEGIN [A-Z0-9 ]+-----([A-Za-z0-9+/=\s]+)-----END", data):
            add("public_key_fuzz", base64.b64decode(block))
for path in glob.glob(interop + "/*/facts.json"):
    facts = json.load(open(path))
    for key in ("tpms_attest", "tpmt_signature", "simple_evidence_final"):
        if facts.get(key):
            data = bytes.fromhex(facts[key])
            add("pts_fuzz" if key == "simple_evidence_final" else "tpm_fuzz", data)
            if key == "simple_evidence_final":
                add("evidence_fuzz", data)
add("raw_evidence_fuzz", b"\x05" + bytes.fromhex("0101000f"))
add("raw_evidence_fuzz", b"\x05" + bytes.fromhex("0100000e000001130000000100000000000006c5"))
add("raw_evidence_fuzz", b"\x07" + bytes.fromhex("010000000000000000000000") + bytes(64))
for path in glob.glob(interop + "/*/facts.json"):
    facts = json.load(open(path))
    parts = [bytes.fromhex(facts[key]) for key in ("tpms_attest", "tpmt_signature") if facts.get(key)]
    if len(parts) == 2:
        add("raw_evidence_fuzz", b"\x09\x01\x00" + b"".join(struct.pack(">H", len(p)) + p for p in parts + [bytes(90)]))
sized = lambda n: struct.pack(">H", n) + bytes(range(n % 256)) + bytes(n - n % 256)
add("enrolment_fuzz", b"\x01\x00\x00\x00" + bytes(48) + sized(90) + sized(88) + sized(34) + sized(200) + b"\x02" + sized(60) + sized(61))
add("enrolment_fuzz", b"\x01\x00\x00\x00" + bytes(32) + sized(68) + sized(68))
add("enrolment_fuzz", b"\x01\x00\x00\x00" + bytes(64))
add("enrolment_fuzz", b"\x01\x05\x00\x00" + sized(8) + sized(20))
for path in ("list.pem", "list.der"):
    with open(os.path.join(tree, "tests/data/revocation", path), "rb") as f:
        add("revocation_lists_fuzz", f.read())
for path in ("good.der", "revoked.der"):
    with open(os.path.join(tree, "tests/data/ocsp", path), "rb") as f:
        add("ocsp_fuzz", f.read())
add("enrolment_fuzz", b"00112233-44556677-8899aabb-ccddeeff")
digest = hashlib.sha256(b"").digest()
add("pts_fuzz", struct.pack(">QHH", 1, 7, 32) + digest + b"\x00\x02ls")
add("pts_fuzz", struct.pack(">QHBB6Q", 1, 54, 8, 0, 1, 2, 3, 4, 5, 6) + b"ls")
# The recorded conversation of a gateway: RADIUS packets, the EAP packets in them, and what is in those.
capture = open(os.path.join(tree, "tests/data/radius/strongswan.pcap"), "rb").read()[24:]
conversation = b"\x00"
seen = set()
while capture:
    size = struct.unpack("<I", capture[8:12])[0]
    packet, capture = capture[16 + 42:16 + size], capture[16 + size:]
    if len(packet) // 16 in seen:
        continue
    seen.add(len(packet) // 16)
    add("radius_fuzz", packet)
    eap, at = b"", 20
    while at < len(packet):
        if packet[at] == 79:
            eap += packet[at + 2:at + packet[at + 1]]
        at += packet[at + 1]
    add("eap_fuzz", eap)
    add("eap_fuzz", eap[5:])
    if eap and eap[0] == 2 and len(eap) < 261:
        conversation += bytes([0x20 if eap[4] == 21 else eap[4], len(eap) - 5]) + eap[5:]
add("eap_server_fuzz", conversation)


def accounting(status, *attributes):
    body = b"\x28\x06" + struct.pack(">I", status) + b"".join(bytes([k, 2 + len(v)]) + v for k, v in attributes)
    return b"\x04\x07" + struct.pack(">H", 20 + len(body)) + bytes(16) + body


mark = b"gatehouse-session:" + b"s1".ljust(26)
told = [accounting(status, (44, b"a-1"), (1, b"carol"), (31, b"7"), (25, mark), (8, bytes([10, 3, 0, 1])), (42, b"\0\0\0\x05"), (52, b"\0\0\0\x01"))
        for status in (1, 3, 2)]
for packet in told + [accounting(7, (32, b"moon")), accounting(8)]:
    add("radius_fuzz", packet)
add("radius_accounting_fuzz", b"\x01x" + b"".join(bytes([len(p)]) + p for p in told + [accounting(7)]))
add("radius_accounting_fuzz", b"\x00" + b"\x02xy" + b"".join(bytes([len(p)]) + p for p in reversed(told)))
add("radius_answers_fuzz", b"\x07S=407A5589115FD0D6209F510FE9C04566932CDA56 M=OK")
add("radius_answers_fuzz", b"\x80" + b"\x43abc" + b"\x81" + b"\x14" + bytes(20) + b"\xcb" + b"\x40" + b"\x80\xcb\xdf\xff")


def inner(kind, data):
    packet = bytes([2, 0]) + struct.pack(">H", 5 + len(data)) + bytes([kind]) + data
    avp = b"\0\0\0\x4f\x40" + struct.pack(">I", 8 + len(packet))[1:] + packet
    return b"\x20" + bytes([len(avp) + 1 + -len(avp) % 4]) + b"\0" + avp + bytes(-len(avp) % 4)


pap = bytes.fromhex("00000001400000" "0d6361726f6c000000" "00000002400000" "187365637265740000" "00000000000000000000")
for how in (b"\x00", b"\x09", b"\x02"):
    begin = how + b"\x01\x05outer" + b"\x20\x02\x00\x16"
    add("eap_server_fuzz", begin + inner(1, b"carol") + inner(54, b"\x01" + bytes(8)) + b"\x04" + b"\x01")
    add("eap_server_fuzz", begin + inner(1, b"carol") + inner(3, b"\x06") + inner(6, b"secret") + b"\x01" + inner(54, b"\x01" + bytes(8)) + b"\x01")
    add("eap_server_fuzz", begin + b"\x20" + bytes([len(pap) + 1]) + b"\0" + pap + b"\x01" + inner(54, b"\x01" + bytes(8)) + b"\x01")
for path in glob.glob(interop + "/*/index.json"):
    for message in json.load(open(path))["messages"]:
        if message.get("hex"):
            add("pttls_fuzz", bytes.fromhex(message["hex"]))
            add("dissect_fuzz", bytes.fromhex(message["hex"]))
for batch in batches():
    add("pbtnc_fuzz", batch)
    add("dissect_fuzz", batch)
    add("pttls_fuzz", struct.pack(">IIII", 0, 7, len(batch) + 16, 1) + batch)
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
                add_swima(body[at:at + length])
                at += length
for text in (b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", b"p=tls-exporter,a=user,n=us=2Cer,r=abc,x=1", b"r=clientXYZ,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
             b"c=biws,r=clientserver,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", b"e=invalid-proof"):
    add("scram_fuzz", text)
    add("pttls_fuzz", struct.pack(">IIII", 0, 5, len(text) + 16, 1) + text)
add("pttls_fuzz", struct.pack(">IIII", 0, 3, 35, 1) + b"\x0dSCRAM-SHA-256\x05PLAIN")
add("pttls_fuzz", struct.pack(">IIII", 0x902A, 5, 2016, 1) + bytes(2000) + struct.pack(">IIIII", 0, 8, 24, 0, 0) + bytes(4))
# A server's batch with one of each message that the recordings don't have.
rare = [(0, 0, b""), (0, 4, struct.pack(">II", 0, 1) + b"https://example.org"), (0, 4, struct.pack(">III", 0, 2, 2) + b"do\x02en"), (0, 4, struct.pack(">II", 0x902A, 9)),
        (0, 6, b"Accept-Language: de;q=0.5, en, *;q=0.1"), (0, 7, struct.pack(">I", 3) + b"why\x02en"), (0x5597, 1, struct.pack(">III", 0x5597, 0, 271) + b"pdp"),
        (0x5597, 1, struct.pack(">IIII", 0x5597, 1, 271, 0xC0000201)), (0x5597, 1, struct.pack(">III", 0x5597, 2, 271) + bytes(16)), (0x902A, 1, struct.pack(">I", 0x80000000))]
rare = b"".join(struct.pack(">III", vendor, kind, len(value) + 12) + value for vendor, kind, value in rare)
rare += struct.pack(">IIIIHHI", 0x80000000, 5, 24, 0, 1, 0, 8)
rare += struct.pack(">IIIB", 0x00FFFFFE, 1, 13, 1)
for harness in ("pbtnc_fuzz", "dissect_fuzz"):
    add(harness, struct.pack(">II", 0x02800002, len(rare) + 8) + rare)
# What no recorded server asks for: files, and raw evidence. A whole conversation up to the quote; the point is P-256's G.
def server_batch(*attributes):
    body = struct.pack(">II", 0x01000000, 1) + b"".join(struct.pack(">III", v | 0x80000000 * (v == 0x5597), t, len(x) + 12) + x for v, t, x in attributes)
    body = struct.pack(">IIHH", 0x5597, 1, 0xFFFF, 3) + body
    body = struct.pack(">III", 0x80000000, 1, len(body) + 12) + body
    return struct.pack(">II", 0x02800002, len(body) + 8) + body
def file_request(path, flags=0x80):
    return (0x5597, 0x00C00000, struct.pack(">BBHI", flags, 0, 258, 0x2F) + path), (0x5597, 0x00700000, struct.pack(">BBH", flags, 0x2F, 0) + path)
point = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
                      "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
for known in (b"\x00\x07" + bytes(16), b"\x00\x0f" + struct.pack(">IIQ", 0, 0, 3)):
    add("endpoint_session_fuzz",
        server_batch((0x5597, 0x21, struct.pack(">II", 0xFFFFFFFF, 1500)), (0x5597, 0x01000000, bytes.fromhex("0000000e")),
                     (0x5597, 0x06000000, bytes.fromhex("00004000"))) +
        server_batch(*file_request(b"/etc"), *file_request(b"/etc/passwd", 0), *file_request(b"/" + b"x" * 200), *file_request(b"none"),
                     (0x5597, 0x03000000, bytes.fromhex("00141000"))) +
        server_batch((0x5597, 0x05000000, bytes.fromhex("00144000") + point + bytes(20)), (0x5597, 0x08000000, bytes(4)),
                     (0x5597, 0x0D000000, bytes(4))) +
        server_batch((0x902A, 9, b"/"), (0xFFFFFE, 2, b"\x01\x00" + known), (0x5597, 0x00200000, bytes(4))) +
        b"".join(server_batch((0x5597, 0x24, struct.pack(">I", transfer))) for transfer in (1, 2, 3, 1, 2, 3, 1, 2, 3)))
for data in files(corpus + "/packages/*.deb", 60000):
    add("deb_fuzz", data)
for data in files(corpus + "/packages/bad/*.deb", 60000):
    add("deb_fuzz", data)


def rpm_headers(package):
    """Where the index entries of signature header and header are."""
    at = 96
    for _ in range(2):
        tags, data = struct.unpack(">II", package[at + 8:at + 16])
        yield range(at + 16, at + 16 + 16 * tags, 16)
        at = (at + 16 + 16 * tags + data + 7) // 8 * 8


for data in files(corpus + "/swid/*.swidtag"):
    add("swid_files_fuzz", data)
add("swid_files_fuzz", b"<SoftwareIdentity name='a' version='1' xmlns:s='http://www.w3.org/2001/04/xmlenc#sha256'><Payload><Directory "
    b"location='/usr' name='bin'><File name='x' size='1' n:mutable='true' s:hash='" + b"a" * 64 + b"'/></Directory></Payload></SoftwareIdentity>")
for pattern in ("/ima/*.bin", "/ima/*.txt", "/malformed/ima-*"):
    for data in files(corpus + pattern, 12000):
        add("ima_list_fuzz", data)
add("keylime_fuzz", b'{"meta":{"version":1},"release":0,"digests":{"boot_aggregate":["' + b"a" * 40 + b'"],"/usr/bin/\u00fc":["' + b"b" * 64 +
    b'","' + b"c" * 128 + b'"]},"excludes":["/tmp/.*"],"keyrings":{".ima":[]},"ima":{"dm_policy":null},"verification-keys":""}')


def cpio(*members):
    out = b""
    for name, content in members + ((b"TRAILER!!!", b""),):
        out += b"070701" + b"".join(b"%08x" % v for v in (1, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)) + name + b"\0"
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return out


def tar(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


image = cpio((b"usr/bin/a", b"1"), (b"init", b"22222"))
def gz(data):
    return gzip.compress(data, mtime=0)


for compress in (bytes, gz, bz2.compress, lzma.compress, lambda data: lzma.compress(data, lzma.FORMAT_ALONE)):
    add("initramfs_fuzz", cpio((b"kernel/x86", b"m")) + bytes(64) + compress(image))
add("initramfs_fuzz", bytes.fromhex("02214c18") + struct.pack("<I", 2) + b"\x10a")
for layer in (tar(("a/b", b"1"), ("a/.wh.c", b""), ("d/.wh..wh..opq", b"")), gz(tar(("a", b"1")))):
    name = hashlib.sha256(layer).hexdigest()
    manifest = json.dumps({"layers": [{"digest": "sha256:" + name}]}).encode()
    index = json.dumps({"manifests": [{"digest": "sha256:" + hashlib.sha256(manifest).hexdigest()}]}).encode()
    add("oci_fuzz", tar(("blobs/sha256/" + name, layer), ("blobs/sha256/" + hashlib.sha256(manifest).hexdigest(), manifest), ("index.json", index)))
    add("oci_fuzz", tar(("1/layer.tar", layer), ("manifest.json", b'[{"Layers":["1/layer.tar"]}]')))
# With their digests renamed to tags that nobody reads, so that changed ones get past them.
for pattern in (os.path.join(tree, "tests/data/rpm/*.rpm"), corpus + "/packages/*.rpm", corpus + "/packages/bad/*.rpm"):
    for data in files(pattern):
        add("rpm_fuzz", data)
        if len(data) < 7000:
            continue
        open_to_change = bytearray(data)
        for entries, digests in zip(rpm_headers(data), ((269, 273, 1000), (5092,))):
            for entry in entries:
                if struct.unpack(">I", data[entry:entry + 4])[0] in digests:
                    struct.pack_into(">I", open_to_change, entry, 999)
        add("rpm_fuzz", bytes(open_to_change))
index = b"".join(b"Package: %s\nVersion: 1:2-3\nArchitecture: amd64\nSection: utils\nPriority: optional\nFilename: %s\nSize: 77\nSHA256: %s\n"
                 b"Description: example\n more\n .\n\n" % (name, path, b"a" * 64)
                 for name, path in ((b"hello", b"pool/h/hello.deb"), (b"flat", b"./flat.deb"), (b"bad", b"../bad.deb")))
add("apt_packages_fuzz", index)
add("apt_release_fuzz", b"Suite: stable\nCodename: bookworm\nDate: Sat, 10 Feb 2024 11:07:25 UTC\nValid-Until: Sat, 17 Feb 2024 11:07:25 UTC\n"
    b"Acquire-By-Hash: yes\nNo-Support-for-Architecture-all: Packages\nSHA256:\n " + b"a" * 64 + b" 77 main/binary-amd64/Packages\n " +
    b"b" * 64 + b" 7 main/binary-amd64/Packages.xz\n")
for checksum, digest in ((b"sha256", b"a" * 64), (b"sha512", b"c" * 128), (b"sha", b"d" * 40)):
    place = b'<checksum type="%s">%s</checksum><location href="repodata/p.xml.gz"/>' % (checksum, digest)
    add("rpm_repomd_fuzz", b'<?xml version="1.0"?><repomd xmlns="r"><revision>17</revision><data type="primary">' + place +
        b"<timestamp>5.5</timestamp><size>77</size></data></repomd>")
    add("rpm_primary_fuzz", b'<metadata xmlns="c" xmlns:rpm="r"><package type="rpm"><name>a&amp;b</name><arch>noarch</arch><version epoch="1" ver="2" '
        b'rel="3"/><size package="7"/>' + place + b"<format><rpm:group>Tests</rpm:group></format></package></metadata>")
fingerprint = b"A" * 40
for word in (b"GOODSIG", b"EXPSIG", b"EXPKEYSIG", b"REVKEYSIG", b"BADSIG"):
    add("gpgv_status_fuzz", b"[GNUPG:] PLAINTEXT 74 0 \n[GNUPG:] NEWSIG x\n[GNUPG:] %s 0123456789ABCDEF x\n[GNUPG:] VALIDSIG %s 2024-02-10 1 0 4 0 1 8 01 %s\n"
        % (word, fingerprint, fingerprint))
add("gpgv_status_fuzz", b"[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 0123456789ABCDEF 1 8 01 1 9 -\n[GNUPG:] NO_PUBKEY 0123456789ABCDEF\n")
add("gpgv_status_fuzz", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\nmQ==\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n")
# Signed with the key of RFC 8032's first test vector.
checkpoint = ("gatehouse audit checkpoint 1\nlog 6f2b0c41d7e89a3355d0c1f7a2b94e18\nsize 7\n"
    "root 5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328\ntime 1795712400000\n"
    "signature 4BPUFi2X4kZ9SwXcqT4/5UOiPuBZ90nHys0LPS8h1ViBgusYWOcksgtCkXMEvcETG3I8GI+OwL284Wtxb7mzCg==\n").encode()
add("audit_checkpoints_fuzz", checkpoint)
add("audit_checkpoints_fuzz", checkpoint * 3)
for table in (b"device,product,trust\r\n8a1b,\"Debian 12, x86_64\",true\r\n", b"\xef\xbb\xbfa,b\n\"\"\"\",\n\n\"x\r\ny\"\n", b"a,\"b\"c"):
    add("csv_fuzz", table)
add("sha256sums_fuzz", b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  /etc/empty\n")
with open(os.path.join(tree, "docs/policy.md"), encoding="utf-8") as guide:
    for block in guide.read().split("```toml\n")[1:]:
        add("policy_fuzz", block.split("```")[0].encode())
add("policy_fuzz", b"[\n")
for name in (b"CN=host7,OU=Kassel+OU=Lab,O=Example", b"CN=a\\,O=b\\2Cc,2.5.4.97=#0C024142,C=DE", b"Mon-Fri 07:00-19:00 +01:00",
             b"2026-12-01T20:00Z/2026-12-02T04:00Z"):
    add("distinguished_name_fuzz", name)
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
digest = hashlib.sha256(b"").hexdigest()
for over, base in (("", "file"), ("over 41 %s\n" % digest, "base")):
    add("export_manifest_fuzz", ("gatehouse refdb export 2\ngeneration 42\nmade 1764000000000000\ncontent %s\npackages 5\nfiles 77\n%s"
        "file %s 3 REPOSITORIES\n%s %s 9 000008.sst\nfile %s 7 000015.sst\nfile %s 16 CURRENT\nfile %s 36 IDENTITY\nfile %s 5 MANIFEST-000012\n"
        % (digest, over, digest, base, digest, digest, digest, digest, digest)).encode())
add("export_manifest_fuzz", ("%s 1764000000000000 42 %s %s\n" % (digest, digest, digest)).encode() * 2)
def said(*messages):
    return b"".join(struct.pack(">H", len(m)) + m for m in messages)
def text32(text):
    return struct.pack(">I", len(text)) + text
row = b"\x0a\0\0\x0b/usr/bin/ls\x4d" + bytes(32) + b"\x09\x09\3top\7" + bytes(32)
again = b"\x08\x0b\0\x4e" + bytes(32)  # the same path, another content
package = b"P" + text32(b"") + text32(b"coreutils") + text32(b"9.1-1") + text32(b"amd64") + text32(b"coreutils.deb") + b"\1"
add("decoder_answer_fuzz", said(package, b"V" + text32(b"/usr/bin/x") + text32(b"/usr/bin/x.real"), b"F" + row, b"D"))
add("decoder_answer_fuzz", said(b"W" + text32(b"a note"), package, b"F" + row[:48] + again, b"M" + row[:48], b"S" + row, b"W" + text32(b"a warning"), b"D"))
add("decoder_answer_fuzz", said(b"P" + text32(b"Debian") + package[5:-1] + b"\0", b"F" + row, b"D"))
add("decoder_answer_fuzz", said(package, b"E\0" + struct.pack(">Q", 77) + text32(b"truncated") + text32(b"deb(5)") + text32(b"")))
add("decoder_answer_fuzz", b"H" + text32(b"bash") + struct.pack(">BH", 1, 1) + text32(b"signature"))
add("decoder_answer_fuzz", b"I" + text32(b"bash") + text32(b"shells") + text32(b"required"))
add("decoder_answer_fuzz", said(b"V" + text32(b"8a1b") + text32(b"Debian") + b"\1", b"B" + text32(b"8a1b") + b"\0\x0b\0" + bytes(32) + b"\7" + bytes(32),
                                b"X" + text32(b"8a1b") + text32(b"events are missing"), b"N" + bytes(56), b"D"))


def strongtnc(versions, pages=512):
    """strongTNC's database with a file, a device and its firmware; before it had versions without them."""
    database = sqlite3.connect(":memory:")
    database.executescript("PRAGMA page_size = %d; CREATE TABLE directories (id INTEGER PRIMARY KEY, path TEXT);"
        "CREATE TABLE files (id INTEGER PRIMARY KEY, dir INTEGER, name TEXT); CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT);"
        "CREATE TABLE devices (id INTEGER PRIMARY KEY, value TEXT, product INTEGER, trusted INTEGER, inactive INTEGER);"
        "CREATE TABLE components (id INTEGER PRIMARY KEY, vendor_id INTEGER, name INTEGER, qualifier INTEGER);"
        "CREATE TABLE component_hashes (component INTEGER, key INTEGER REFERENCES %s(id), seq_no INTEGER, pcr INTEGER, algo INTEGER, hash BLOB);"
        "CREATE TABLE packages (id INTEGER PRIMARY KEY, name TEXT, blacklist INTEGER);"
        "CREATE TABLE versions (id INTEGER PRIMARY KEY, package INTEGER, product INTEGER, release TEXT, blacklist INTEGER);"
        "CREATE TABLE keys (id INTEGER PRIMARY KEY, keyid BLOB, owner TEXT); CREATE TABLE groups (id INTEGER PRIMARY KEY, name TEXT, parent INTEGER);"
        "CREATE TABLE groups_members (group_id INTEGER, device_id INTEGER); CREATE TABLE policies (id INTEGER PRIMARY KEY, type INTEGER, file INTEGER, argument TEXT);"
        "CREATE TABLE enforcements (policy INTEGER, group_id INTEGER, rec_fail INTEGER, max_age INTEGER);"
        "INSERT INTO groups VALUES (1, 'g', 2), (2, 'h', NULL); INSERT INTO groups_members VALUES (1, 1);"
        "INSERT INTO policies VALUES (1, 6, 1, ''), (2, 16, 0, 'B I'); INSERT INTO enforcements VALUES (1, 1, 2, 60), (2, 2, NULL, NULL);"
        "CREATE TABLE file_hashes (file INTEGER, %s INTEGER, device INTEGER, algo INTEGER, hash, size INTEGER, mutable INTEGER);"
        "INSERT INTO directories VALUES (1, '/usr/bin'); INSERT INTO files VALUES (1, 1, 'ls'); INSERT INTO products VALUES (1, 'Debian');"
        "INSERT INTO devices VALUES (1, 'a', 1, 1, 0); INSERT INTO components VALUES (1, 36906, 3, 33); INSERT INTO packages VALUES (1, 'c', 0);"
        "INSERT INTO versions VALUES (1, 1, 1, '9', 0); INSERT INTO keys VALUES (1, zeroblob(20), 'o');"
        "INSERT INTO component_hashes VALUES (1, 1, 1, 0, 16384, zeroblob(32)), (1, 1, 2, 7, 16384, zeroblob(32));"
        % (pages, "devices" if versions else "keys", "version" if versions else "product"))
    for algorithm, digest in ((16384, "0" * 64), (32768, b"\0" * 20)):
        database.execute("INSERT INTO file_hashes VALUES (1, 1, NULL, ?, ?, 5, 0)", (algorithm, digest))
    database.commit()
    name = os.path.join(out, "strongtnc.tmp")
    if os.path.exists(name):
        os.remove(name)
    database.execute("VACUUM INTO '%s'" % name)
    with open(name, "rb") as file:
        data = file.read()
    os.remove(name)
    return data


add("strongtnc_fuzz", strongtnc(True))
add("strongtnc_fuzz", strongtnc(False))
add("maintainer_script_fuzz", b"dpkg-divert --package p --rename --divert /usr/bin/x.real --add '/usr/bin/x' >/dev/null 2>&1 || true\n")
add("maintainer_script_fuzz", b"cat <<-E\n\tE\nif true; then A=1 update-alternatives --install \"/usr/bin/pager\" pager \\\n"
    b"  /usr/bin/less 77 --slave /usr/share/man/man1/p.1 p.1 /usr/share/man/man1/less.1; fi # end\n")

# A verdict object with something of each member, and the least that is one.
counters = {"processed": 3, "ok": 1, "unknown": 1, "differ": 1, "failed": 0}
add("verdict_fuzz", json.dumps({
    "session": "20261124-1", "device": "8a1b", "product": "Debian 12 x86_64", "generation": 7, "recommendation": "isolate",
    "evaluation": "minor", "quote": {"status": "ok", "scheme": "rsassa", "hash": "sha256", "pcr_digest": "00ff"},
    "boot": counters, "ima": dict(counters, violations=1), "summary": "processed 3", "checks": {"Q1": "ok", "L6": "failed"},
    "findings": [{"component": "ima", "entry": 42, "pcr": 10, "path": "/usr/bin/\\x0A\u00e4", "status": "differ", "reason": "why",
                  "package": "dash", "version": "0.5", "expected": ["sha256:aa"], "measured": {"template": "sha256:bb", "file": "sha256:cc"}}],
    "findings_total": 108, "items": [{"type": "TPMRA", "argument": "B I", "recommendation": "isolate", "evaluation": "minor", "result": "a sentence"}],
    "warnings": ["event log: padding"], "claims": ["product x"], "pcrs": {"sha256": {"0": "aa", "10": "bb"}, "sha1": {}}}).encode())
add("verdict_fuzz", b'{"recommendation":"allow","evaluation":"compliant","boot":"absent","ima":"absent"}')
# The first byte says what the rest is: files, totals, a package, a bucket of 8 bits.
add("refdb_rows_fuzz", b"\0" + row + again)
add("refdb_rows_fuzz", b"\0" + row[:48])
def text16(text):
    return struct.pack(">H", len(text)) + text
layer = text16(b"Debian 12") + b"\1"
add("refdb_rows_fuzz", b"\1" + struct.pack(">QQQIIII", 7, 2, 5, 2, 3, 5, 2) + bytes(32) + struct.pack(">I", 1) + layer + struct.pack(">I", 1) +
    struct.pack(">I", 1) + layer + text16(b"Debian") + struct.pack(">IIIIQ", 1, 1, 1, 0, 5) + struct.pack(">QBB", 5, 3, 1) * 6 +
    struct.pack(">IIII", 1, 2, 3, 1) + struct.pack(">IIQ", 1, 1, 1764000000) + struct.pack(">II", 1, 2))
add("refdb_rows_fuzz", b"\2" + struct.pack(">I", 1) + b"".join(text16(t) for t in (b"coreutils", b"9.1-1", b"amd64", b"coreutils.deb", bytes(32),
    bytes(32), b"", text16(b"/usr/bin/x") + text16(b"/usr/bin/x.real"))) + struct.pack(">BQQBIII", 1, 1, 1, 2, 0, 5, 1))
add("refdb_rows_fuzz", b"\x23" + b"".join(struct.pack(">IHBI", n, n, n, n) for n in range(1, 9)))
# docs/formats/evidence.md: the least head, one with a policy, and a bundle with an answer of each kind.
def text(s):
    return struct.pack(">I", len(s)) + s


facts = b"\2" + text(b"d") + text(b"Debian 12 x86_64") + text(b"CN=d") + text(b"certificate") + text(b"") + struct.pack(">Q", 1) + b"\0"
nothing_said = b"\0\0\0\0" + struct.pack(">I", 0)
head = b"\1" + text(b"s") + text(b"d") + text(b"p") + b"\0" + struct.pack(">Q", 0) + b"\0" + facts + struct.pack(">I", 0)
part = b"\1\0\3\4" + struct.pack(">I", 1) + b"\3" + text(b"") + b"\0" + text(b"forwarding not enabled") + struct.pack(">IIQII", 0, 0, 0, 0, 0)
parts = struct.pack(">I", 1) + part
add("kept_evidence_fuzz", b"\0" + head + b"\0" + parts + nothing_said + b"\0")
source = text(b"policy.toml") + text(b"[groups.all]\nask = [\"FWDEN\"]\n") + struct.pack(">I", 0)
add("kept_evidence_fuzz", b"\1" + struct.pack(">H", len(source)) + source + head + b"\1" + struct.pack(">I", 0) + parts + nothing_said + b"\0")
context = (text(b"p") + b"\1\1" + struct.pack(">H", 11) + struct.pack(">H", 11) + struct.pack(">II", 0, 0) + b"\1\1\1" + text(b"") + b"\0" +
           struct.pack(">QQI", 4096, 1000000, 0))
segment = struct.pack(">I", 1) + b"\1\2" + struct.pack(">QII", 0, 0, 0)
finish = b"\0\1" + text(b"") + b"\0\0" + text(b"") + b"\2" + text(b"final") + struct.pack(">Q", 8) + b"\1" + text(b"nonce") + b"\0" + struct.pack(">I", 0) + b"\0" + text(b"")
add("kept_evidence_fuzz", b"\1" + struct.pack(">H", 4) + b"list" + head + b"\0" + parts + nothing_said + b"\1" + context + segment + finish)


def long(s):
    return struct.pack(">Q", len(s)) + s


sha256 = b"\x20" + b"\7" * 32
reference = b"".join(text(s) for s in (b"p", b"/usr/bin/ls", b"coreutils", b"9.1-1", b"coreutils.deb", b"amd64")) + b"\0\1\0" + struct.pack(">QIH", 1, 1, 11) + sha256
answers = (b"\1" + struct.pack(">QQ", 7, 1) + struct.pack(">I", 1) + text(b"p") + b"\1" + struct.pack(">I", 1) + text(b"p") + struct.pack(">H", 11) + sha256 + b"\1" + text(b"/usr/bin/ls") +
           struct.pack(">I", 1) + text(b"p") + text(b"/usr/bin/ls") + struct.pack(">I", 1) + reference + struct.pack(">I", 1) + text(b"p") + text(b"ls") + text(b"1") + b"\0" +
           struct.pack(">I", 1) + text(b"p") + sha256 + struct.pack(">I", 0))
add("bundle_fuzz", long(b"{}") + long(b"{}") + long(head + b"\0" + parts + nothing_said + b"\0") + struct.pack(">I", 1) + long(b"piece") + long(answers))
empty = [name for name, n in sorted(harnesses.items()) if n == 0]
if empty and os.path.isdir(corpus):
    sys.exit("no seeds for " + ", ".join(empty))
