"""The built gatehouse on the whole corpus: every item gives its facts, and what is malformed ends with exit code 3
within two seconds of CPU and 64 MiB over its own size."""
import json, os, re, subprocess, sys, tempfile, unittest

GATEHOUSE = os.environ['GATEHOUSE']
CORPUS = os.path.join(os.environ['GATEHOUSE_SHARED'], 'corpus')
INSTRUMENTED = os.environ.get('GATEHOUSE_INSTRUMENTED', '')
MIB = 1 << 20


def items(folder):
    with open(os.path.join(CORPUS, folder, 'expected.json'), encoding='utf-8') as f:
        return json.load(f)['items']


def measured(*arguments):
    """Exit code, standard output, standard error, CPU seconds, peak resident bytes."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen([GATEHOUSE, *arguments],
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = usage.ru_utime + usage.ru_stime
        out.seek(0)
        err.seek(0)
        return child.returncode, out.read(), err.read().decode(), seconds, usage.ru_maxrss * 1024


@unittest.skipUnless(os.path.isdir(CORPUS), '../shared/corpus is absent: the tests on real files are left out')
class Corpus(unittest.TestCase):
    def test_every_item_holds(self):
        check = os.path.join(CORPUS, 'check_corpus.py')
        if not os.path.exists(check):
            self.skipTest('../shared/corpus/check_corpus.py is absent')
        command = [sys.executable, check, CORPUS, GATEHOUSE, '--slow', '20' if INSTRUMENTED else '4']
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True)
        lines = [line for line in ran.stdout.splitlines() if not re.match(r'\d+ items: ', line)]
        self.assertEqual((ran.returncode, lines), (0, []))
        summary = re.search(r'(\d+) items: (\d+) hold, 0 do not \(0 mismatches\); 0 skipped, 0 absent', ran.stdout)
        self.assertIsNotNone(summary, ran.stdout[-500:])
        self.assertGreaterEqual(int(summary[2]), 170)

    def test_malformed_items_cost_little(self):
        seen = 0
        for folder in ('malformed', 'eventlog', 'ima'):
            for item in items(folder):
                if item['exit'] != 3:
                    continue
                path = os.path.join(CORPUS, folder, item['file'])
                for arguments in ([item['kind'], path, '--json'], [item['kind'], path],
                                  ['verify', '--' + item['kind'], path, '--json']):
                    with self.subTest(' '.join(arguments)):
                        seen += 1
                        code, out, err, seconds, peak = measured(*arguments)
                        self.assertEqual((code, out), (3, b''), err)
                        self.assertRegex(err, r'^gatehouse: %s: byte \d+: malformed: ' % re.escape(path))
                        if not INSTRUMENTED:
                            self.assertLess(seconds, 2)
                            self.assertLess(peak, os.path.getsize(path) + 64 * MIB)
        self.assertGreaterEqual(seen, 3 * 26)

    def test_bad_packages_cost_little_and_leave_no_store_behind(self):
        for name in ('truncated.deb', 'empty.deb', 'text.deb', 'no-data-member.deb', 'truncated.rpm', 'flipped.rpm'):
            path = os.path.join(CORPUS, 'packages', 'bad', name)
            with tempfile.TemporaryDirectory(prefix='gatehouse-corpus-') as folder, self.subTest(name):
                refdb = os.path.join(folder, 'refdb')
                ingest = ['refdb', 'ingest', '--refdb', refdb, '--product', 'p', '--json', path]
                code, out, err, seconds, _ = measured(*ingest)
                self.assertEqual(code, 3)
                self.assertIn(path, err)
                report = json.loads(out)
                self.assertEqual((report['packages'], report['files'], report['generation']), (0, 0, 0))
                self.assertEqual([f['source'] for f in report['failed']], [path])
                if not INSTRUMENTED:
                    self.assertLess(seconds, 2)
                code, _, err, _, _ = measured('refdb', 'lookup', '--refdb', refdb, '/usr/bin/hello')
                self.assertEqual(code, 4)
                self.assertIn('holds no generation yet', err)


if __name__ == '__main__':
    unittest.main()
