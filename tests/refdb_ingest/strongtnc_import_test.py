"""strongTNC's database as operators take it over: its files into a reference store, its devices into a state store."""
import hashlib, json, os, shutil, sqlite3, subprocess, tempfile, unittest

GATEHOUSE = os.environ['GATEHOUSE']
DEBIAN, UBUNTU = 'Debian 12 x86_64', 'Ubuntu 22.04 x86_64'
KEY_ID = 'f4d28ad579fef5eefe6f142ae77dc0a82aae955a'

# Facts of strongSwan's src/libimcv/imv/tables.sql and strongTNC's models.
TABLES = """
CREATE TABLE directories (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL);
CREATE TABLE files (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, dir INTEGER REFERENCES directories(id), name TEXT NOT NULL);
CREATE TABLE products (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL);
CREATE TABLE algorithms (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL);
CREATE TABLE packages (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, blacklist INTEGER DEFAULT 0);
CREATE TABLE versions (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, package INTEGER NOT NULL REFERENCES packages(id),
  product INTEGER NOT NULL REFERENCES products(id), release TEXT NOT NULL, security INTEGER DEFAULT 0,
  blacklist INTEGER DEFAULT 0, time INTEGER DEFAULT 0);
CREATE TABLE devices (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, description TEXT DEFAULT '', value TEXT NOT NULL,
  product INTEGER REFERENCES products(id), trusted INTEGER DEFAULT 0, created INTEGER, inactive INTEGER DEFAULT 0);
CREATE TABLE components (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, vendor_id INTEGER NOT NULL, name INTEGER NOT NULL,
  qualifier INTEGER DEFAULT 0, label TEXT NOT NULL);
CREATE TABLE component_hashes (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, component INTEGER NOT NULL REFERENCES components(id),
  key INTEGER NOT NULL REFERENCES devices(id), seq_no INTEGER NOT NULL, pcr INTEGER NOT NULL, algo INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE TABLE file_hashes (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL REFERENCES files(id),
  version INTEGER REFERENCES versions(id), device INTEGER REFERENCES devices(id), size INTEGER NOT NULL,
  algo INTEGER NOT NULL REFERENCES algorithms(id), hash VARCHAR(64) NOT NULL, mutable INTEGER DEFAULT 0);
CREATE TABLE groups (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE, parent INTEGER);
CREATE TABLE policies (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, type INTEGER NOT NULL, name VARCHAR(100) NOT NULL UNIQUE);
CREATE TABLE enforcements (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, policy INTEGER NOT NULL, group_id INTEGER NOT NULL);
INSERT INTO algorithms VALUES (32768, 'SHA1'), (16384, 'SHA256'), (8192, 'SHA384');
INSERT INTO groups VALUES (1, 'Default group', NULL);
INSERT INTO components VALUES (1, 36906, 3, 33, 'B'), (2, 36906, 3, 34, 'I');
"""


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def run(*arguments):
    return subprocess.run([GATEHOUSE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, encoding='utf-8')


class StrongTnc(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp(prefix='gatehouse-strongtnc-')
        self.addCleanup(shutil.rmtree, self.work, True)
        self.file, self.refdb, self.state = (os.path.join(self.work, name) for name in ('config.db', 'refdb', 'state'))
        self.database = sqlite3.connect(self.file)
        self.addCleanup(self.database.close)
        self.database.executescript(TABLES)
        for product in (DEBIAN, UBUNTU):
            self.insert('products', name=product)
        self.insert('directories', path='/usr/bin')
        self.insert('packages', name='coreutils')
        for product, release in ((1, '9.1-1'), (2, '8.32')):
            self.insert('versions', package=1, product=product, release=release)
        for number, name in ((1, 'ls'), (2, 'cat')):
            self.insert('files', dir=1, name=name)
            self.insert('file_hashes', file=number, version=1, size=5, algo=16384, hash=sha256('12 ' + name))
        self.insert('file_hashes', file=1, version=2, size=5, algo=16384, hash=sha256('22 ls'))

    def insert(self, table, **values):
        with self.database:
            self.database.execute('INSERT INTO %s (%s) VALUES (%s)' % (table, ', '.join(values), ', '.join('?' * len(values))),
                                  list(values.values()))

    def ingest(self, *options, product=DEBIAN):
        ran = run('refdb', 'ingest', '--refdb', self.refdb, '--product', product, '--json', *options, 'strongtnc:' + self.file)
        return ran.returncode, json.loads(ran.stdout) if ran.stdout else None, ran.stderr

    def lookup(self, digest):
        ran = run('refdb', 'lookup', '--refdb', self.refdb, '--json', digest)
        return [(m['product'], m['path'], m['package'], m['version']) for m in json.loads(ran.stdout)['matches']]

    def test_a_products_files_become_references(self):
        code, report, _ = self.ingest()
        self.assertEqual((code, report['packages'], report['files'], report['failed']), (0, 1, 2, []))
        self.assertEqual(self.lookup(sha256('12 ls')), [(DEBIAN, '/usr/bin/ls', 'coreutils', '9.1-1')])
        self.assertEqual(self.lookup(sha256('22 ls')), [])
        self.assertTrue(any(UBUNTU in w and '1 files' in w for w in report['warnings']), report['warnings'])
        self.assertTrue(any('1 groups' in w for w in report['warnings']), report['warnings'])
        code, again, _ = self.ingest()
        self.assertEqual((code, again['packages'], again['skipped'], again['generation']), (0, 0, 1, report['generation']))

    def test_all_products_come_under_their_own_names(self):
        code, report, _ = self.ingest('--all-products')
        self.assertEqual((code, report['packages'], report['files']), (0, 2, 3))
        self.assertEqual(self.lookup(sha256('22 ls')), [(UBUNTU, '/usr/bin/ls', 'coreutils', '8.32')])

    def test_another_product_is_refused_with_those_that_there_are(self):
        code, report, error = self.ingest(product='Fedora 40 x86_64')
        self.assertEqual(code, 3)
        self.assertIn('"%s" (2 files), "%s" (1 files)' % (DEBIAN, UBUNTU), report['failed'][0]['reason'])
        self.assertIn('no files of this product', error)
        plain = run('refdb', 'ingest', '--refdb', self.refdb, '--product', DEBIAN, '--all-products', 'sha256sums:/dev/null')
        self.assertEqual(plain.returncode, 2)

    def test_of_a_database_with_a_damaged_row_nothing_is_taken(self):
        self.insert('versions', package=1, product=1, release='9.2')
        self.insert('file_hashes', file=1, version=3, size=5, algo=16384, hash='abcd')
        code, report, _ = self.ingest()
        self.assertEqual((code, report['packages'], report['generation']), (3, 0, 0))
        self.assertIn('table file_hashes, row 4, column hash', report['failed'][0]['reason'])

    def import_devices(self):
        ran = run('device', 'import', '--state', self.state, '--json', 'strongtnc:' + self.file)
        return ran.returncode, json.loads(ran.stdout) if ran.stdout else None, ran.stderr

    def device(self, name):
        return json.loads(run('device', 'show', '--state', self.state, '--json', name).stdout)

    def test_devices_come_with_trust_product_and_baseline(self):
        self.insert('devices', value=KEY_ID, product=1, trusted=1)
        self.insert('devices', value='phone', product=2, trusted=1)
        self.insert('devices', value='gone', product=2, trusted=1, inactive=1)
        digests = [hashlib.sha256(bytes([i])).digest() for i in range(3)]
        for number, (pcr, digest) in enumerate(((0, digests[0]), (7, digests[1]), (0, digests[2])), 1):
            self.insert('component_hashes', component=1, key=1, seq_no=number, pcr=pcr, algo=16384, hash=digest)
        self.insert('component_hashes', component=2, key=1, seq_no=1, pcr=10, algo=16384, hash=digests[0])
        code, report, error = self.import_devices()
        self.assertEqual((code, report['devices'], report['trusted'], report['baselines'], report['imported']), (0, 2, 1, 1, 3), error)
        self.assertEqual(report['left_out'], {'inactive': 1, 'older_rows': 0, 'other_components': 1, 'sha1': 0, 'of_no_device': 0,
                                              'trust_without_ak': 1})
        self.assertIn('phone: trusted there, but its Device ID names no AK', error)
        known = self.device(KEY_ID)
        self.assertEqual((known['trusted'], known['product'], known['keys'][0]['key_id'], known['keys'][0]['source']),
                         (True, DEBIAN, KEY_ID, 'import'))
        phone = self.device('phone')
        self.assertEqual((phone['trusted'], phone['enrolled'], phone['product']), (False, True, UBUNTU))
        baseline = json.loads(run('device', 'baseline', 'list', '--state', self.state, '--json', KEY_ID).stdout)
        self.assertEqual((baseline['state'], baseline['bank'], baseline['pcrs']),
                         ('approved', 'sha256', {'0': [digests[0].hex(), digests[2].hex()], '7': [digests[1].hex()]}))
        code, report, _ = self.import_devices()
        self.assertEqual((code, report['imported']), (0, 3))
        self.assertEqual(self.device(KEY_ID)['baselines'][0]['number'], 1)
        self.assertEqual(len(self.device(KEY_ID)['baselines']), 1)

    def test_a_baseline_with_a_gap_fails_alone_and_a_damaged_row_everything(self):
        self.insert('devices', value=KEY_ID, product=1, trusted=1)
        self.insert('component_hashes', component=1, key=1, seq_no=2, pcr=0, algo=16384, hash=b'\1' * 32)
        code, report, _ = self.import_devices()
        self.assertEqual((code, report['imported'], report['failed'][0]['device']), (3, 1, KEY_ID))
        self.assertTrue(self.device(KEY_ID)['trusted'])
        shutil.rmtree(self.state)
        self.insert('devices', value='', product=1, trusted=1)
        code, report, error = self.import_devices()
        self.assertEqual((code, report), (3, None))
        self.assertIn('table devices, row 2, column value', error)
        self.assertFalse(os.path.exists(self.state))

    def import_policy(self):
        ran = run('policy', 'import', 'strongtnc:' + self.file)
        return ran.returncode, ran.stdout, ran.stderr

    def test_groups_become_a_policy(self):
        with self.database:
            self.database.executescript("""
                CREATE TABLE groups_members (group_id INTEGER, device_id INTEGER);
                CREATE TABLE groups_product_defaults (group_id INTEGER, product_id INTEGER);
                DROP TABLE policies; DROP TABLE enforcements;
                CREATE TABLE policies (id INTEGER PRIMARY KEY, type INTEGER, name TEXT, argument TEXT DEFAULT '', rec_fail INTEGER,
                  rec_noresult INTEGER, file INTEGER DEFAULT 0, dir INTEGER DEFAULT 0);
                CREATE TABLE enforcements (id INTEGER PRIMARY KEY, policy INTEGER, group_id INTEGER, rec_fail INTEGER,
                  rec_noresult INTEGER, max_age INTEGER);
                INSERT INTO devices (value, product) VALUES ('d1', 1), ('d2', 1);
                INSERT INTO groups VALUES (2, 'servers "A"', 1);
                INSERT INTO groups_members VALUES (2, 1), (2, 2);
                INSERT INTO groups_product_defaults VALUES (2, 2);
                INSERT INTO policies VALUES (1, 16, 'TPM', 'I B', 2, 1, 0, 0), (2, 3, 'fwd', '', 0, 0, 0, 0), (3, 6, 'ls', '', 1, 2, 1, 0),
                  (4, 12, 'ports', '23 6000-6063', 1, 2, 0, 0), (5, 16, 'TPM again', 'B T', 1, 1, 0, 0);
                INSERT INTO enforcements VALUES (1, 1, 1, NULL, NULL, 0), (2, 2, 1, 2, NULL, 86400), (3, 3, 2, NULL, NULL, 3600),
                  (4, 4, 2, 3, NULL, 0), (5, 5, 1, NULL, NULL, 0);
                """)
        code, text, error = self.import_policy()
        self.assertEqual((code, error), (0, ''))
        self.assertIn('[groups."Default group"]\ndefault = true\n', text)
        self.assertIn('type = "TPMRA"\nargument = "B I T"\non_fail = "block"\non_noresult = "block"\n', text)
        self.assertIn('type = "FWDEN"\non_fail = "isolate"\non_noresult = "allow"\nmax_age = "86400s"\n', text)
        self.assertIn('[groups."servers \\"A\\""]\nparent = "Default group"\ndefault_for = [\n  "%s",\n]\ndevices = [\n  "d1",\n  "d2",\n]\n' % UBUNTU, text)
        self.assertIn('type = "FMEAS"\nargument = "/usr/bin/ls"\non_fail = "block"\non_noresult = "isolate"\nmax_age = "3600s"\n', text)
        self.assertIn('type = "TCPBL"\nargument = "23 6000-6063"\non_fail = "none"\n', text)
        policy = os.path.join(self.work, 'policy.toml')
        with open(policy, 'w', encoding='utf-8') as file:
            file.write(text)
        checked = run('policy', 'check', policy)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        # What can't be said is named and left out.
        self.insert('files', dir=None, name='cmd.exe')
        self.insert('policies', type=6, name='cmd', file=3, dir=0)
        self.insert('enforcements', policy=6, group_id=2)
        code, text, error = self.import_policy()
        self.assertEqual(code, 1)
        self.assertIn('# left out: FMEAS cmd.exe: wants the absolute path of a file', text)
        self.assertIn('left out: group servers "A": FMEAS cmd.exe', error)

    def test_without_groups_there_is_no_policy(self):
        with self.database:
            self.database.execute('DELETE FROM groups')
        self.assertEqual(self.import_policy()[:2], (1, ''))
        self.assertEqual(run('policy', 'import', self.file).returncode, 2)


if __name__ == '__main__':
    unittest.main()
