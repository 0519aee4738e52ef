"""Recorded conversations through the command line: enrolled, baselines approved, replayed to the stated outcomes; and
shown down to each byte."""
import glob, json, os, shutil, subprocess, tempfile, unittest

GATEHOUSE = os.environ['GATEHOUSE']
INTEROP = os.path.join(os.environ['GATEHOUSE_TEST_DATA'], 'interop')
PRODUCT = 'Debian 12 x86_64'
SENTENCE = ('processed 1732 IMA file evidence measurements: 1625 ok, 107 unknown, 0 differ, 0 failed; '
            '136 BIOS evidence measurements are ok')
# conversation, AK, what its replay has to come to
ALLOWED = [('sasl-rsa', 'rsa'), ('sasl-ecc', 'ecc'), ('mutual-tls-rsa', 'rsa'), ('mutual-tls-ecc-aikcert', 'ecc'),
           ('mutual-tls12-rsa-modp2048-pcrinfo', 'rsa'), ('sasl-rsa-32k', 'rsa'), ('sasl-ecc-2k', 'ecc'),
           ('sasl-rsa-sha384-ecp384', 'rsa')]
REFUSED = [('changed-file-rsa', 'rsa'), ('tampered-list-rsa', 'rsa')]
UNTRUSTED = [('untrusted-ak-rsa', 'rsa'), ('untrusted-ak-cert-ecc', 'ecc')]


def run(*arguments, stdin=b''):
    p = subprocess.run([GATEHOUSE, *arguments], input=stdin, capture_output=True)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def content(path):
    with open(path, 'rb') as file:
        return file.read()


def leaves(field):
    inner = field.get('fields')
    if not inner:
        yield field
        return
    for one in inner:
        yield from leaves(one)


class Traces(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix='gatehouse-trace-')
        cls.refdb = cls.work + '/refdb'
        with open(f'{INTEROP}/evidence/base/refs.tsv') as rows, open(f'{cls.work}/sums', 'w') as out:
            for row in rows:
                fields = row.rstrip('\n').split('\t')
                out.write(f'{fields[3]}  {fields[0]}\n')
        code, _, err = run('refdb', 'ingest', '--refdb', cls.refdb, '--product', PRODUCT,
                           f'sha256sums:{cls.work}/sums')
        assert code == 0, err

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.work)

    def enrol(self, name, key, trust=True):
        """A state that knows the device and, where it can be learned, its approved firmware."""
        state = f'{self.work}/{name}'
        device = content(f'{INTEROP}/keys/{key}/keyid').decode().strip()
        add = ['device', 'add', device, '--ak', f'{INTEROP}/keys/{key}/ak.pem', '--product', PRODUCT, '--state', state]
        code, _, err = run(*add, *(['--trust'] if trust else []))
        self.assertEqual(code, 0, err)
        return state, device

    def replay(self, conversation, state):
        code, out, err = run('trace', 'replay', f'{INTEROP}/{conversation}', '--refdb', self.refdb, '--state', state,
                             '--json', '--ak-ca', f'{INTEROP}/keys/ak-ca.pem')
        self.assertIn(code, (0, 1, 3), err)
        self.assertEqual(err, '')
        return code, json.loads(out)

    def test_good_conversations_are_allowed_once_the_firmware_is_approved(self):
        for conversation, key in ALLOWED:
            with self.subTest(conversation):
                state, device = self.enrol(conversation, key)
                code, first = self.replay(conversation, state)
                self.assertEqual((code, first['quote']['status']), (1, 'ok'))
                self.assertIsNone(first['protocol_error'])
                self.assertEqual(run('device', 'baseline', 'approve', device, '--state', state)[0], 0)
                # The same quote again isn't fresh: its clock stands still. So a device with this baseline that has no
                # session yet is judged by the recorded one.
                code, again = self.replay(conversation, state)
                self.assertEqual(code, 1)
                self.assertEqual(again['checks']['Q11'], 'failed')
                code, out, err = run('device', 'baseline', 'list', device, '--json', '--state', state)
                self.assertEqual(code, 0, err)
                baseline = json.loads(out.splitlines()[0])
                record = {'device': device, 'ak': content(f'{INTEROP}/keys/{key}/ak.pem').decode(), 'product': PRODUCT,
                          'trust': True, 'baseline': {'bank': baseline['bank'], 'pcrs': baseline['pcrs']}}
                with open(f'{self.work}/{conversation}.jsonl', 'w') as out:
                    out.write(json.dumps(record) + '\n')
                fresh = state + '-fresh'
                code, _, err = run('device', 'import', out.name, '--state', fresh)
                self.assertEqual(code, 0, err)
                code, verdict = self.replay(conversation, fresh)
                if conversation == 'sasl-rsa-sha384-ecp384':  # the references here have no SHA-384
                    self.assertEqual((verdict['quote']['status'], verdict['ima']['differ']), ('ok', 0))
                    continue
                self.assertEqual((code, verdict['recommendation'], verdict['summary']), (0, 'allow', SENTENCE))
                # The session is in the state as any other.
                code, out, err = run('session', 'show', verdict['session'], '--json', '--state', fresh)
                self.assertEqual(code, 0, err)
                self.assertEqual(json.loads(out)['recommendation'], 'allow')

    def test_refused_conversations_are_refused(self):
        for conversation, key in REFUSED:
            with self.subTest(conversation):
                state, _ = self.enrol(conversation, key)
                code, verdict = self.replay(conversation, state)
                self.assertEqual(code, 1)
                self.assertNotEqual(verdict['recommendation'], 'allow')
                self.assertIn('1 differ' if conversation.startswith('changed') else '1732', verdict['summary'])

    def test_untrusted_keys_are_never_allowed_and_wait_for_the_operator(self):
        for conversation, key in UNTRUSTED:
            with self.subTest(conversation):
                state = f'{self.work}/{conversation}'
                code, verdict = self.replay(conversation, state)
                self.assertEqual(code, 1)
                self.assertNotEqual(verdict['recommendation'], 'allow')
                device = content(f'{INTEROP}/keys/{key}/keyid').decode().strip()
                code, out, err = run('device', 'show', device, '--json', '--state', state)
                self.assertEqual(code, 0, err)
                self.assertIn('pending', out)

    def test_the_first_difference_is_named(self):
        state, _ = self.enrol('difference', 'rsa')
        _, verdict = self.replay('sasl-rsa', state)
        difference = verdict['difference']
        self.assertEqual(set(difference), {'batch', 'offset', 'reason'})
        size = os.path.getsize(glob.glob(f'{INTEROP}/sasl-rsa/batches/{difference["batch"]:03}-s2c-*.bin')[0])
        self.assertLess(difference['offset'], size)
        code, out, _ = run('trace', 'replay', f'{INTEROP}/sasl-rsa', '--refdb', self.refdb, '--state', state)
        self.assertIn('first difference: batch', out)

    def test_show_covers_every_byte_of_every_batch(self):
        for folder in sorted(glob.glob(INTEROP + '/*/index.json')):
            code, out, err = run('trace', 'show', '--json', os.path.dirname(folder))
            self.assertEqual((code, err), (0, ''))
            shown = json.loads(out)
            self.assertEqual(shown['malformed'], 0)
            index = json.loads(content(folder))
            self.assertEqual(len(shown['messages']), len(index['messages']))
            for message, recorded in zip(shown['messages'], index['messages']):
                self.assertEqual(message['length'], recorded.get('batch_length', recorded['length']))
                at = 0
                for leaf in leaves(message):
                    self.assertEqual(leaf['offset'], at)
                    at += leaf['length']
                self.assertEqual(at, message['length'])

    def test_show_says_where_a_batch_is_malformed(self):
        batch = content(f'{INTEROP}/sasl-rsa/batches/001-c2s-CDATA.bin')
        code, out, _ = run('trace', 'show', '-', stdin=batch[:100])
        self.assertEqual(code, 3)
        self.assertIn('malformed at ', out)
        code, out, _ = run('trace', 'show', '--json', '-', stdin=batch[:100])
        self.assertEqual(code, 3)
        self.assertTrue(json.loads(out)['malformed'])
        self.assertEqual(run('trace', 'show', '-', stdin=batch)[0], 0)
        self.assertEqual(run('trace', 'show', self.work + '/absent')[0], 4)
        self.assertEqual(run('trace', 'replay', self.work, '--refdb', self.refdb, '--state', self.work + '/none')[0], 4)
        self.assertFalse(os.path.exists(self.work + '/none'), 'nothing is made for a folder that is no trace')


if __name__ == '__main__':
    unittest.main()
