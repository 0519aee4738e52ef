#!/usr/bin/env python3
"""Data that scripts/interop.sh gives to both sides, and the judgement of what they answered.

  interop_data.py references REFS.TSV OUT          a sha256sums list with absolute paths, for gatehouse refdb ingest
  interop_data.py database DIR REFS.TSV OUT KEYID… the peer's policy database: its own schema (tables.sql in DIR), the
                                                   references, trusted devices, one policy: firmware log and IMA
  interop_data.py ask DATABASE TYPE[=ARGUMENT]…    what that database asks for from now on, in place of what it did
  interop_data.py session FILE N EXPECTATION…      judges the Nth of FILE's verdict objects, one a line; prints why it
                                                   isn't the expected one
  interop_data.py software FILE COUNT [TEXT…]      judges `gatehouse device software --json`: so many, and each TEXT
                                                   in an identifier; -TEXT: in none
  interop_data.py configuration SECTION.KEY=VALUE… the peer's configuration file, on standard output
  interop_data.py up                               brings the loopback interface up
An EXPECTATION is MEMBER=VALUE, MEMBER!=VALUE or MEMBER~TEXT, with MEMBER as quote.status, findings or, of the policy's
items by their type, items.PCKGS.result.
"""
import csv
import json
import sqlite3
import sys

PRODUCT = "Debian 12 x86_64"
SHA1, SHA256, SHA384 = 0x8000, 0x4000, 0x2000  # bits of the PTS hash algorithms: ids in the peer's database
# What a policy may ask for: the peer's numbers of the types, by the name of our policy.toml.
TYPES = {"PCKGS": 1, "UNSRC": 2, "FWDEN": 3, "PWDEN": 4, "FREFM": 5, "FMEAS": 6, "FMETA": 7, "DREFM": 8, "DMEAS": 9,
         "TCPOP": 11, "TCPBL": 12, "UDPOP": 13, "UDPBL": 14, "SWIDT": 15, "TPMRA": 16}
ISOLATE = 2


def rows(path):
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.reader(f, delimiter="\t"))


def references(source, out):
    with open(out, "w", encoding="utf-8") as f:
        for path, _, _, sha256, _ in rows(source):
            f.write(f"{sha256}  {path}\n")


def enforce(db, entries):
    db.execute("DELETE FROM enforcements")
    db.execute("DELETE FROM policies")
    for entry in entries:
        kind, _, argument = entry.partition("=")
        file = folder = 0
        if kind in ("FREFM", "FMEAS", "FMETA"):
            above, name = argument.rsplit("/", 1)
            file = row(db, "files", dir=directory(db, above), name=name)
        elif kind in ("DREFM", "DMEAS"):
            folder = directory(db, argument)
        policy = db.execute("INSERT INTO policies (type, name, argument, rec_fail, rec_noresult, file, dir) "
                            "VALUES (?, ?, ?, ?, ?, ?, ?)",
                            (TYPES[kind], entry, "" if file or folder else argument, ISOLATE, ISOLATE, file,
                             folder)).lastrowid
        db.execute("INSERT INTO enforcements (policy, group_id, max_age) VALUES (?, 1, 0)", (policy,))


def directory(db, path):
    return row(db, "directories", path=path or "/")


def row(db, table, **columns):
    """The id of the row of these values, which is made where there is none."""
    where = " AND ".join(f"{name} = ?" for name in columns)
    known = db.execute(f"SELECT id FROM {table} WHERE {where}", (*columns.values(),)).fetchone()
    if known:
        return known[0]
    return db.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                      (*columns.values(),)).lastrowid


def ask(path, entries):
    db = sqlite3.connect(path)
    enforce(db, entries)
    db.commit()


def database(schema, source, out, keys):
    db = sqlite3.connect(out)
    with open(f"{schema}/tables.sql", encoding="utf-8") as f:
        db.executescript(f.read())
    db.executemany("INSERT INTO algorithms (id, name) VALUES (?, ?)",
                   [(SHA1, "SHA1"), (SHA256, "SHA256"), (SHA384, "SHA384")])
    product = db.execute("INSERT INTO products (name) VALUES (?)", (PRODUCT,)).lastrowid
    db.execute("INSERT INTO groups (id, name) VALUES (1, 'Default')")
    # Functional components Trusted Platform (firmware log) and Operating System (IMA) of the ITA-HSR namespace.
    db.executemany("INSERT INTO components (vendor_id, name, qualifier, label) VALUES (36906, 3, ?, ?)",
                   [(33, "B"), (34, "I")])
    enforce(db, ["TPMRA=BI"])
    for key in keys:
        device = db.execute("INSERT INTO devices (value, product, trusted, created) VALUES (?, ?, 1, 1)",
                            (key, product)).lastrowid
        db.execute("INSERT INTO groups_members (group_id, device_id) VALUES (1, ?)", (device,))
    directories, versions = {}, {}
    for path, package, sha1, sha256, sha384 in rows(source):
        folder, name = path.rsplit("/", 1)
        if folder not in directories:
            directories[folder] = db.execute("INSERT INTO directories (path) VALUES (?)", (folder or "/",)).lastrowid
        if package not in versions:
            id_of = db.execute("INSERT INTO packages (name) VALUES (?)", (package,)).lastrowid
            versions[package] = db.execute("INSERT INTO versions (product, package, release) VALUES (?, ?, '')",
                                           (product, id_of)).lastrowid
        file = db.execute("INSERT INTO files (dir, name) VALUES (?, ?)", (directories[folder], name)).lastrowid
        db.executemany("INSERT INTO file_hashes (file, version, algo, hash) VALUES (?, ?, ?, ?)",
                       [(file, versions[package], algorithm, digest) for algorithm, digest in
                        ((SHA1, sha1), (SHA256, sha256), (SHA384, sha384))])
    db.commit()


def session(path, number, expectations):
    with open(path, encoding="utf-8") as f:
        verdicts = [json.loads(line) for line in f]
    if len(verdicts) < int(number):
        print(f"there are only {len(verdicts)} sessions")
        return False
    verdict, wrong = verdicts[int(number) - 1], []
    for expectation in expectations:
        at, operator = min((expectation.find(o), o) for o in ("!=", "=", "~") if o in expectation)
        member, wanted = expectation[:at], expectation[at + len(operator):]
        value = verdict
        for step in member.split("."):
            if isinstance(value, list):
                value = next((item for item in value if item.get("type") == step), None)
            else:
                value = value.get(step) if isinstance(value, dict) else None
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        holds = {"=": text == wanted, "!=": text != wanted, "~": wanted in text}[operator]
        if not holds:
            wrong.append(f"{member} is {text[:200]}, expected {operator} {wanted}")
    for line in wrong:
        print(line)
    return not wrong


def software(path, count, texts):
    with open(path, encoding="utf-8") as f:
        names = [json.loads(line)["software_id"] for line in f]
    good = len(names) == int(count)
    if not good:
        print(f"the device has {len(names)} software identifiers, expected {count}")
    for text in texts:
        wanted, text = not text.startswith("-"), text.removeprefix("-")
        if any(text in name for name in names) != wanted:
            print(f"{text} is {'in none' if wanted else 'in one'} of the device's software identifiers")
            good = False
    return good


def configuration(settings):
    tree = {}
    for setting in settings:
        name, value = setting.split("=", 1)
        *sections, key = name.split(".")
        section = tree
        for step in sections:
            section = section.setdefault(step, {})
        section[key] = value

    def write(section, indent):
        for key, value in section.items():
            if isinstance(value, dict):
                print(f"{indent}{key} {{")
                write(value, indent + "  ")
                print(f"{indent}}}")
            else:
                print(f'{indent}{key} = "{value}"')

    write(tree, "")


def loopback_up():
    import fcntl
    import socket
    import struct
    get_flags, set_flags, up = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP (linux/sockios.h, net/if.h)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = fcntl.ioctl(s, get_flags, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack("16sH14x", request)[1]
        fcntl.ioctl(s, set_flags, struct.pack("16sH14x", b"lo", flags | up))


if __name__ == "__main__":
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "references":
        references(*arguments)
    elif command == "database":
        database(*arguments[:3], arguments[3:])
    elif command == "session":
        sys.exit(0 if session(arguments[0], arguments[1], arguments[2:]) else 1)
    elif command == "ask":
        ask(arguments[0], arguments[1:])
    elif command == "software":
        sys.exit(0 if software(arguments[0], arguments[1], arguments[2:]) else 1)
    elif command == "configuration":
        configuration(arguments)
    elif command == "up":
        loopback_up()
    else:
        sys.exit(__doc__)
