"""References on their way to another machine, as operators bring them there: a key, an export, a carrier, an import."""
import json, os, resource, shutil, stat, subprocess, tempfile, unittest

GATEHOUSE, SHARED = os.environ['GATEHOUSE'], os.environ['GATEHOUSE_SHARED']
PACKAGES = os.path.join(SHARED, 'corpus', 'packages')
PRODUCT = 'Debian 12 x86_64'


def run(*arguments, **how):
    return subprocess.run([GATEHOUSE, 'refdb', *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **how)


class Transfer(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='gatehouse-transfer-')
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.there, self.here, self.key = self.path('there'), self.path('here'), self.path('export.key')

    def path(self, name):
        return os.path.join(self.folder, name)

    def good(self, *arguments, **how):
        ran = run(*arguments, '--json', **how)
        self.assertEqual(ran.returncode, 0, ran.stderr.decode())
        return json.loads(ran.stdout)

    def refused(self, code, text, *arguments, **how):
        ran = run(*arguments, **how)
        self.assertEqual(ran.returncode, code, ran.stderr.decode())
        self.assertIn(text, ran.stderr.decode())
        self.assertEqual(ran.stdout, b'')

    def make_key(self):
        return self.good('key', self.key)

    def ingest(self, *names, store=None):
        return self.good('ingest', '--refdb', store or self.there, '--product', PRODUCT, *(os.path.join(PACKAGES, n) for n in names))

    def stats(self, store):
        return self.good('stats', '--refdb', store)

    def imported(self, file, *more, **how):
        return self.good('import', '--refdb', self.here, '--trust', self.key + '.pub', *more, file, **how)

    def test_a_distribution_comes_whole_and_stays_current_by_deltas(self):
        made = self.make_key()
        self.assertEqual(stat.S_IMODE(os.stat(self.key).st_mode), 0o600)
        self.ingest('dash_0.5.12-2_amd64.deb', 'libc6_2.36-9+deb12u14_amd64.deb')
        whole = self.good('export', '--refdb', self.there, '--key', self.key, self.path('1.refdb'))
        self.assertEqual((whole['generation'], whole['since'], whole['key']), (1, None, made['id']))
        self.assertEqual(whole['bytes'], os.path.getsize(self.path('1.refdb')))
        first = self.imported(self.path('1.refdb'))
        self.assertEqual((first['changed'], first['generation'], first['packages'], first['key']), (True, 1, 2, made['id']))
        self.ingest('coreutils_9.1-1_amd64.deb', 'hello_2.10-3_amd64.deb')
        delta = self.good('export', '--refdb', self.there, '--key', self.key, '--since', '1', self.path('2.refdb'))
        self.assertEqual(delta['since'], 1)
        second = self.imported(self.path('2.refdb'))
        self.assertTrue(second['changed'])
        ours, theirs = self.stats(self.here), self.stats(self.there)
        for name in ('products', 'packages', 'files', 'digests', 'content_digest'):
            self.assertEqual(ours[name], theirs[name], name)
        queries = b'/usr/bin/ls\n/bin/dash\n/usr/bin/hello\n/usr/bin/none\n'
        answers = [run('lookup', '--refdb', store, '-', input=queries).stdout for store in (self.there, self.here)]
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0].count(b'"found":true'), 3)
        again = self.imported(self.path('2.refdb'))
        self.assertEqual((again['changed'], again['generation']), (False, 2))
        self.refused(1, 'older than the export that was taken', 'import', '--refdb', self.here, '--trust', self.key + '.pub', self.path('1.refdb'))
        back = self.imported(self.path('1.refdb'), '--allow-older')
        self.assertEqual((back['changed'], back['generation'], back['exported_generation']), (True, 3, 1))
        # Packages that came by an import are known here.
        self.assertEqual(self.good('ingest', '--refdb', self.here, '--product', PRODUCT, os.path.join(PACKAGES, 'dash_0.5.12-2_amd64.deb'))['skipped'], 1)

    def test_it_may_come_through_a_pipe_and_from_keys_of_openssl(self):
        for arguments in (['genpkey', '-algorithm', 'ed25519', '-out', self.key], ['pkey', '-in', self.key, '-pubout', '-out', self.key + '.pub']):
            subprocess.run(['openssl', *arguments], check=True, stderr=subprocess.DEVNULL)
        os.chmod(self.key, 0o600)
        self.ingest('hello_2.10-3_amd64.deb')
        self.good('export', '--refdb', self.there, '--key', self.key, self.path('1.refdb'))
        with subprocess.Popen(['cat', self.path('1.refdb')], stdout=subprocess.PIPE) as cat:
            self.assertTrue(self.imported('/dev/stdin', stdin=cat.stdout)['changed'])
        self.assertEqual(self.stats(self.here)['content_digest'], self.stats(self.there)['content_digest'])

    def test_keys_are_kept_and_exports_believed_with_care(self):
        self.make_key()
        self.ingest('hello_2.10-3_amd64.deb')
        self.refused(4, 'can\'t create the key', 'key', self.key)
        os.chmod(self.key, 0o644)
        self.refused(4, 'others can read', 'export', '--refdb', self.there, '--key', self.key, self.path('1.refdb'))
        self.assertFalse(os.path.exists(self.path('1.refdb')))
        os.chmod(self.key, 0o600)
        self.good('export', '--refdb', self.there, '--key', self.key, self.path('1.refdb'))
        self.good('key', self.path('other.key'))
        take = ('import', '--refdb', self.here, '--trust')
        self.refused(1, 'signed by none of the keys', *take, self.path('other.key.pub'), self.path('1.refdb'))
        self.refused(3, 'not a public key', *take, os.path.join(PACKAGES, 'gatehouse-gzip_1.0_all.deb'), self.path('1.refdb'))
        self.refused(2, '--trust', 'import', '--refdb', self.here, self.path('1.refdb'))
        self.refused(4, 'can\'t open', *take, self.key + '.pub', self.path('none'))
        self.refused(3, 'not an export', *take, self.key + '.pub', os.path.join(PACKAGES, 'libc6_2.36-9+deb12u14_amd64.deb'))
        with open(self.path('1.refdb'), 'rb') as file:
            content = bytearray(file.read())
        content[-1000] ^= 1
        with open(self.path('changed'), 'wb') as file:
            file.write(content)
        self.refused(3, 'a file isn\'t what the manifest says', *take, self.key + '.pub', self.path('changed'))
        # Two keys, of which one signed it.
        self.assertTrue(self.good(*take, self.path('other.key.pub'), '--trust', self.key + '.pub', self.path('1.refdb'))['changed'])

    def test_a_delta_without_what_it_is_over_says_what_to_export(self):
        self.make_key()
        self.ingest('hello_2.10-3_amd64.deb')
        self.ingest('dash_0.5.12-2_amd64.deb')
        self.good('export', '--refdb', self.there, '--key', self.key, '--since', '1', self.path('2.refdb'))
        self.refused(4, 'export it whole, without --since', 'import', '--refdb', self.here, '--trust', self.key + '.pub', self.path('2.refdb'))
        self.refused(2, 'another generation', 'export', '--refdb', self.there, '--key', self.key, '--since', '2', self.path('x'))
        self.refused(2, 'no such generation', 'export', '--refdb', self.there, '--key', self.key, '--generation', '3', self.path('x'))

    def test_a_full_disk_leaves_both_stores_as_they_were(self):
        self.make_key()
        self.ingest('libc6_2.36-9+deb12u14_amd64.deb')
        self.good('export', '--refdb', self.there, '--key', self.key, self.path('1.refdb'))
        self.ingest('coreutils_9.1-1_amd64.deb')
        # SIGXFSZ stays ignored, so that writing fails as on a full disk.
        small = {'preexec_fn': lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)), 'restore_signals': False}
        self.imported(self.path('1.refdb'))
        before = self.stats(self.here)
        listed = sorted(os.listdir(self.folder))
        self.refused(4, 'can\'t write', 'export', '--refdb', self.there, '--key', self.key, self.path('2.refdb'), **small)
        self.assertEqual(sorted(os.listdir(self.folder)), listed)
        self.good('export', '--refdb', self.there, '--key', self.key, self.path('2.refdb'))
        self.refused(4, 'can\'t write', 'import', '--refdb', self.here, '--trust', self.key + '.pub', self.path('2.refdb'), **small)
        self.assertEqual(self.stats(self.here), before)
        self.assertTrue(self.imported(self.path('2.refdb'))['changed'])
        self.assertEqual(self.stats(self.here)['content_digest'], self.stats(self.there)['content_digest'])

    def test_repositories_are_not_gone_back_behind(self):
        self.make_key()
        self.ingest('hello_2.10-3_amd64.deb')
        row = {'repository': 'apt:https://mirror.example/debian bookworm', 'date': 1707563245, 'signer': 'A' * 40}
        for store, date in ((self.there, 1707563245), (self.here, 1700000000)):
            os.makedirs(store, exist_ok=True)
            with open(os.path.join(store, 'REPOSITORIES'), 'w', encoding='utf-8') as file:
                file.write(json.dumps(dict(row, date=date)) + '\n')
        self.good('export', '--refdb', self.there, '--key', self.key, self.path('1.refdb'))
        self.imported(self.path('1.refdb'))
        with open(os.path.join(self.here, 'REPOSITORIES'), encoding='utf-8') as file:
            self.assertEqual([json.loads(line) for line in file], [row])


if __name__ == '__main__':
    unittest.main()
