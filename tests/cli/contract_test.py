"""The command line as scripts rely on it: exit codes, one JSON object on standard output, diagnostics on standard error,
help with an example, bounded memory for what is malformed, and a store that no kill takes away."""
import hashlib, json, os, shutil, signal, struct, subprocess, sys, tempfile, unittest

GATEHOUSE = os.environ['GATEHOUSE']
MIB = 1 << 20

COMMANDS = ['eventlog', 'ima', 'verify', 'refdb', 'refdb ingest', 'refdb lookup', 'refdb stats', 'refdb generations', 'refdb diff',
            'refdb rollback', 'refdb prune', 'refdb product', 'refdb product list', 'refdb product show', 'refdb product add',
            'refdb product remove', 'refdb explain', 'refdb key', 'refdb export', 'refdb import', 'device', 'device list',
            'device show', 'device add', 'device import', 'device trust', 'device revoke', 'device remove',
            'device suspend', 'device resume', 'device retire', 'device set', 'device history', 'device overdue', 'device export',
            'device baseline announce', 'device baseline announcements', 'device baseline withdraw',
            'device baseline', 'device baseline list', 'device baseline approve', 'device baseline diff', 'device software',
            'device reassess', 'policy', 'policy check', 'session', 'session list', 'session show', 'session why', 'user', 'user add',
            'user remove', 'user list', 'radius', 'radius list', 'radius disconnect', 'trace', 'trace show', 'trace replay', 'serve',
            'capacity']


class Ran:
    def __init__(self, code, out, err, peak=0):
        self.code, self.out, self.err, self.peak = code, out, err.decode('utf-8'), peak  # standard error is UTF-8, always

    def json(self):
        return json.loads(self.out.decode('utf-8'))


def run(*arguments, stdin=b'', stdout=subprocess.PIPE):
    p = subprocess.run([GATEHOUSE, *arguments], input=stdin, stdout=stdout, stderr=subprocess.PIPE)
    return Ran(p.returncode, p.stdout or b'', p.stderr)


# A process starts with the peak of the one that it was forked from: a small one has to be between.
MEASURE = """import os, sys
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
open(sys.argv[1], 'w').write(str(usage.ru_maxrss * 1024))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run_measured(*arguments):
    with tempfile.NamedTemporaryFile() as peak:
        p = subprocess.run([sys.executable, '-S', '-c', MEASURE, peak.name, GATEHOUSE, *arguments],
                           stdin=subprocess.DEVNULL, capture_output=True)
        return Ran(p.returncode, p.stdout, p.stderr, int(peak.read()))


def lines(ran):
    return [json.loads(line) for line in ran.out.splitlines()]


def field(b):
    return struct.pack('<I', len(b)) + b


def ng(name, content=b'x'):
    return field(b'sha256:\0' + hashlib.sha256(content).digest()) + field(name + b'\0')


def entry(template, data, pcr=10):
    return struct.pack('<I', pcr) + hashlib.sha1(data).digest() + field(template) + field(data)


AGGREGATE = entry(b'ima-ng', ng(b'boot_aggregate'))
SPEC_ID = struct.pack('<II', 0, 3) + bytes(20) + field(
    b'Spec ID Event03\0' + struct.pack('<IBBBBI', 0, 0, 2, 0, 2, 2) + struct.pack('<HHHH', 4, 20, 11, 32) + b'\0')


def event(pcr, kind, data):
    return (struct.pack('<III', pcr, kind, 2) + struct.pack('<H', 4) + hashlib.sha1(data).digest() +
            struct.pack('<H', 11) + hashlib.sha256(data).digest() + field(data))


class Contract(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='gatehouse-cli-')
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        path = os.path.join(os.fsencode(self.folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as f:
            f.write(content)
        return path

    def test_generations_are_listed_compared_gone_back_to_and_removed(self):
        refdb, sums = self.path('refdb'), self.path('sums')
        for i in range(3):
            with open(sums, 'wb') as f:
                f.write(b'%s  /usr/bin/%d\n' % (hashlib.sha256(b'%d' % i).hexdigest().encode(), i))
            self.assertEqual(run('refdb', 'ingest', '--refdb', refdb, '--product', 'p', b'sha256sums:' + sums.encode()).code, 0)
        listed = lines(run('refdb', 'generations', '--refdb', refdb, '--json'))
        self.assertEqual([(g['generation'], g['current'], g['files']) for g in listed], [(3, True, 3), (2, False, 2), (1, False, 1)])
        diff = run('refdb', 'diff', '--refdb', refdb, '1', '3', '--files', '--json').json()
        self.assertEqual((diff['from'], diff['to'], diff['files']), (1, 3, {'added': 2, 'removed': 0, 'changed': 0}))
        self.assertEqual(diff['paths'], [{'change': 'added', 'product': 'p', 'layer': 'release', 'path': '/usr/bin/%d' % i} for i in (1, 2)])
        self.assertEqual([p['change'] for p in diff['packages']], ['added'])
        self.assertNotIn('paths', run('refdb', 'diff', '--refdb', refdb, '1', '3', '--json').json())
        back = run('refdb', 'rollback', '--refdb', refdb, '1', '--json').json()
        self.assertEqual((back['generation'], back['contents_of'], back['content_digest']), (4, 1, listed[2]['content_digest']))
        self.assertEqual(run('refdb', 'lookup', '--refdb', refdb, '/usr/bin/2').code, 1)
        self.assertEqual(run('refdb', 'rollback', '--refdb', refdb, '4').code, 2)
        absent = run('refdb', 'diff', '--refdb', refdb, '1', '9', '--json')
        self.assertEqual((absent.code, absent.out), (2, b''))
        self.assertEqual(run('refdb', 'prune', '--refdb', refdb, '--keep', '1', '--json').json(), {'removed': 2})
        self.assertEqual([g['generation'] for g in lines(run('refdb', 'generations', '--refdb', refdb, '--json'))], [4, 3])
        for command in (['generations'], ['diff', '1', '2'], ['rollback', '1'], ['prune']):
            self.assertEqual(run('refdb', command[0], '--refdb', self.path('absent'), *command[1:]).code, 4)

    def test_products_have_layers_and_answers_say_which(self):
        refdb, debian, tools = self.path('layers'), 'Debian 12 x86_64', 'Site tools'
        for n, (product, layer) in enumerate(((debian, 'release'), (debian, 'updates'), (tools, 'release'))):
            sums = self.path('sums%d' % n)
            with open(sums, 'w') as file:
                file.write('%s  /usr/bin/%d\n' % (hashlib.sha256(b'%d' % n).hexdigest(), n))
            self.assertEqual(run('refdb', 'ingest', '--refdb', refdb, '--product', product, '--layer', layer, b'sha256sums:' + sums.encode()).code, 0)
        site = ['--layer', 'site=' + tools]
        self.assertEqual(run('refdb', 'product', 'add', '--refdb', refdb, debian, *site, '--json').json(), {'generation': 4, 'changed': True})
        self.assertEqual(run('refdb', 'product', 'add', '--refdb', refdb, debian, *site, '--json').json(), {'generation': 4, 'changed': False})
        shown = run('refdb', 'product', 'show', '--refdb', refdb, debian, '--json').json()
        self.assertEqual(shown['layers'], [{'layer': 'release', 'packages': 0, 'files': 1}, {'layer': 'updates', 'packages': 0, 'files': 1},
                                           {'layer': 'site', 'from': tools, 'packages': 0, 'files': 1}])
        self.assertEqual([p['product'] for p in lines(run('refdb', 'product', 'list', '--refdb', refdb, '--json'))], [debian, tools])
        match = run('refdb', 'lookup', '--refdb', refdb, '--product', debian, '--json', '/usr/bin/2').json()['matches']
        self.assertEqual([(m['product'], m['layer']) for m in match], [(debian, 'site')])
        self.assertEqual(run('refdb', 'product', 'remove', '--refdb', refdb, debian, *site).code, 0)
        self.assertEqual(run('refdb', 'lookup', '--refdb', refdb, '--product', debian, '/usr/bin/2').code, 1)
        for arguments in (['add', debian, '--layer', 'site'], ['add', debian, '--layer', 'other=x'], ['add', debian, '--layer', 'site=' + debian]):
            self.assertEqual(run('refdb', 'product', *arguments, '--refdb', refdb).code, 2)
        self.assertEqual(run('refdb', 'product', 'show', '--refdb', refdb, 'Nothing').code, 1)
        self.assertEqual(run('refdb', 'ingest', '--refdb', refdb, '--product', debian, '--layer', 'x', 'y').code, 2)

    def test_explain_says_why(self):
        refdb, sums = self.path('explained'), self.path('explained-sums')
        good, bad = hashlib.sha256(b'good').hexdigest(), hashlib.sha256(b'bad').hexdigest()
        with open(sums, 'w') as file:
            file.write('%s  /usr/bin/x\n' % good)
        self.assertEqual(run('refdb', 'ingest', '--refdb', refdb, '--product', 'p', b'sha256sums:' + sums.encode()).code, 0)
        explain = ['refdb', 'explain', '--refdb', refdb, '--product', 'p']
        for query, verdict, reason in ((['/usr/bin/x', good], 'ok', 'known'), ([bad, '/usr/bin/x'], 'differ', 'changed'),
                                       (['/usr/bin/y', good], 'unknown', 'other-path'), ([bad], 'unknown', 'no-reference')):
            why = run(*explain, *query, '--json').json()
            self.assertEqual((why['verdict'], why['reason']), (verdict, reason))
            said = run(*explain, *query)
            self.assertEqual(said.code, 0)
            self.assertTrue(said.out.decode().startswith(verdict + ': '), said.out)
        for query in (['/a', '/b'], [good, bad], ['xyz']):
            self.assertEqual(run(*explain, *query).code, 2)
        self.assertEqual(run('refdb', 'explain', '--refdb', refdb, '--product', 'q', '/usr/bin/x').code, 2)

    def test_help_and_usage(self):
        self.assertIn('gatehouse', run('--version').out.decode())
        self.assertIn('Example', run('--help').out.decode())
        for command in COMMANDS:
            with self.subTest(command):
                shown = run(*command.split(), '--help')
                self.assertEqual((shown.code, shown.err), (0, ''))
                self.assertIn('Example:\n  gatehouse ' + command.split()[0], shown.out.decode())
                refused = run(*command.split(), '--no-such-option')
                self.assertEqual((refused.code, refused.out), (2, b''))
                self.assertNotEqual(refused.err, '')

    def test_a_word_that_nothing_takes_is_named(self):
        for arguments, word in ((['atest'], 'atest'), (['device', 'lst'], 'lst'), (['refdb', 'ingest', '--rfdb', 'x'], '--rfdb'),
                                (['\x1b[31m'], '\\x1B[31m')):
            with self.subTest(arguments):
                refused = run(*arguments)
                self.assertEqual((refused.code, refused.out), (2, b''))
                self.assertIn('not expected: ' + word + '\n', refused.err)

    def test_values_that_are_no_values(self):
        empty = self.write('list', b'')
        for arguments in (['verify'], ['verify', '--ima', ''], ['verify', '--ima', empty, '--nonce', ''],
                          ['verify', '--ima', empty, '--nonce', 'abc'], ['verify', '--ima', empty, '--threads', '-1'],
                          ['verify', '--ima', empty, '--segment-bytes', '0'], ['verify', '--ima', empty, '--symlink', 'a=b'],
                          ['session', 'list', '--last', '-1', '--state', 'x'], ['device', 'list'],
                          ['device', 'baseline', 'approve', 'd', '--number', '-1', '--state', 'x'],
                          ['refdb', 'ingest', '--refdb', 'r', '--product', '', 'x'],
                          ['refdb', 'ingest', '--refdb', 'r', '--product', 'p', '--jobs', '-1', 'x']):
            with self.subTest(arguments):
                refused = run(*arguments)
                self.assertEqual((refused.code, refused.out), (2, b''), refused.err)
        refused = run('device', 'add', b'\xff\xfe', '--state', self.path('state'))
        self.assertEqual(refused.code, 2, refused.err)

    def test_evidence_is_judged_by_the_rules_of_a_policy(self):
        variable = lambda space, name, data: (space + struct.pack('<QQ', len(name), len(data)) + name.encode('utf-16-le') + data)
        vendor = bytes.fromhex('cbb219d73a3d9645a3bcdad00e67656f')
        separators = b''.join(event(pcr, 4, bytes(4)) for pcr in range(8))
        authority = event(7, 0x800000E0, variable(vendor, 'db', bytes(16) + b'certificate'))
        log = self.write('log', SPEC_ID + separators + authority)
        listing = self.write('list', AGGREGATE + entry(b'ima-ng', ng(b'/usr/bin/x')))
        write = lambda text: self.write('policy.toml', text.encode())
        judge = lambda policy, *more: run('verify', '--eventlog', log, '--ima', listing, '--policy', policy, '--json', *more)
        rules = '[rules.r.firmware]\nauthorities = "@authorities.txt"\n[groups.servers]\nrules = "r"\n'
        self.write('authorities.txt', b'# ours\n' + hashlib.sha256(b'certificate').hexdigest().encode() + b'\n')
        everybody = write(rules + 'ask = ["TPMRA"]\n')
        self.assertEqual(judge(everybody).json()['checks']['L8'], 'ok')
        self.assertEqual(judge(everybody).json()['checks']['L10'], 'absent')
        self.write('authorities.txt', hashlib.sha256(b'another').hexdigest().encode())
        verdict = judge(everybody).json()
        self.assertEqual((verdict['checks']['L8'], verdict['recommendation']), ('failed', 'isolate'))
        self.assertTrue(any(f['reason'].startswith('L8: ') and '(rules "r")' in f['reason'] for f in verdict['findings']))
        # Who is judged by them follows from the device or its product, and what follows from the entry.
        one = write(rules + 'devices = ["d1"]\nproducts = ["p *"]\non_fail = "block"\nask = ["TPMRA"]\n')
        self.assertEqual(judge(one).json()['checks']['L8'], 'absent')
        for who in (['--device', 'd1'], ['--product', 'p 1']):
            self.assertEqual((judge(one, *who).code, judge(one, *who).json()['recommendation']), (1, 'block'))
        self.assertEqual(judge(one, '--device', 'd1').json()['device'], 'd1')
        denied = judge(write('[groups.stolen]\ndevices = ["d1"]\nask = ["DENY"]\n'), '--device', 'd1')
        self.assertEqual((denied.code, denied.json()['recommendation']), (1, 'block'))
        wrong = judge(write('[rules.r.firmware]\nauthorities = ["abc"]\n'))
        self.assertEqual((wrong.code, wrong.out), (2, b''))
        self.assertIn('policy.toml:2: rules.r.firmware.authorities: wants SHA-1', wrong.err)
        self.assertEqual(judge(self.path('absent.toml')).code, 4)
        self.assertEqual(run('verify', '--ima', listing, '--device', 'd1').code, 2)

    def test_a_full_standard_output_is_said(self):
        listing, log = self.write('list', AGGREGATE), self.write('log', SPEC_ID + event(0, 8, b'x'))
        for arguments in (['ima', listing], ['ima', listing, '--json'], ['eventlog', log], ['eventlog', log, '--json', '--events'],
                          ['verify', '--ima', listing, '--json']):
            with open('/dev/full', 'wb') as full:
                ran = run(*arguments, stdout=full)
            self.assertEqual(ran.code, 4, arguments)
            self.assertIn('standard output', ran.err)

    def test_json_is_json_whatever_the_bytes(self):
        listing = self.write('list', AGGREGATE + entry(b'\xff\x1b', field(b'z')) + entry(b'\\xFF\\x1B', field(b'z')) +
                             entry(b'ima-ng', field(b'\xfe\x1b:\0' + bytes(32)) + field(b'/\xff\x1b[31m\0')))
        replay = run('ima', listing, '--json').json()
        self.assertEqual(replay['templates'], {'ima-ng': 2, '\\xFF\\x1B': 2})
        verdict = run('verify', '--ima', listing, '--product', b'\xff\x1b', '--json').json()
        self.assertEqual(verdict['product'], '\\xFF\\x1B')
        self.assertEqual(verdict['findings'][-1]['path'], '/\\xFF\\x1B[31m')
        log = self.write('log', SPEC_ID + event(5, 5, b'\xff\x1b') + event(7, 0x80000001, bytes(16) + struct.pack('<QQ', 2, 1) + b'\0\xd8A\0z'))
        rows = run('eventlog', log, '--events', '--json').json()['list']
        self.assertEqual([len(rows), rows[1]['data']['text']], [3, '\\xFF\\x1B'])
        name = b'n\xff\x1b.txt'
        bad = self.write(name, b'nonsense')
        report = run('refdb', 'ingest', '--refdb', self.path('refdb'), '--product', 'p', '--json', b'sha256sums:' + bad)
        self.assertEqual(report.code, 3)
        self.assertIn('n\\xFF\\x1B.txt: byte 0: malformed', report.json()['failed'][0]['reason'])
        self.assertNotIn('\x1b', report.err)
        for command in ('ima', 'eventlog'):
            self.assertNotIn('\x1b', run(command, bad).err)

    def test_malformed_input_names_file_offset_and_reason_within_its_memory(self):
        many = b''.join(entry(b'ima-ng', ng(b'/usr/bin/%d' % i)) for i in range(100_000))
        events = b''.join(event(i % 8, 8, b'%d' % i) for i in range(100_000))
        templates = b''.join(entry(b'%d' % i, field(b'')) for i in range(300_000))
        cases = [('ima', [], AGGREGATE + many + b'\1', 0), ('ima', [], AGGREGATE + templates + b'\1', 1), ('ima', [], bytes(64 * MIB), 2),
                 ('ima', [], b'10 ' + b'a' * (32 * MIB), 3), ('eventlog', [], SPEC_ID + events + b'\1', 4),
                 ('eventlog', ['--events'], SPEC_ID + events + b'\1', 5), ('eventlog', [], bytes(64 * MIB), 6),
                 ('eventlog', [], SPEC_ID + b'\xff' * (64 * MIB) + b'x', 7), ('verify --ima', [], AGGREGATE + many + b'\1', 8),
                 ('verify --eventlog', [], SPEC_ID + events + b'\1', 9)]
        for command, more, content, n in cases:
            with self.subTest(command, n=n):
                path = self.write('input', content)
                ran = run_measured(*command.split(), path, *more, '--json')
                self.assertEqual((ran.code, ran.out), (3, b''), ran.err)
                self.assertRegex(ran.err, r'^gatehouse: %s: byte \d+: ' % os.fsdecode(path))
                if not os.environ.get('GATEHOUSE_INSTRUMENTED'):
                    self.assertLess(ran.peak, len(content) + 64 * MIB)

    def test_a_verdict_on_a_long_list_is_the_same_with_any_threads_in_bounded_memory(self):
        entries = 300_000 if os.environ.get('GATEHOUSE_INSTRUMENTED') != 'thread' else 30_000  # that one takes a hundred times
        content = AGGREGATE + b''.join(entry(b'ima-ng', ng(b'/usr/bin/%d' % i)) for i in range(entries))
        path = self.write('list', content)
        verdicts = set()
        for threads in ('1', '2', '8'):
            ran = run_measured('verify', '--ima', path, '--threads', threads, '--json')
            self.assertEqual(ran.json()['ima']['unknown'], entries)
            verdicts.add(ran.out)
            if not os.environ.get('GATEHOUSE_INSTRUMENTED'):
                self.assertLess(ran.peak, len(content) + 192 * MIB)
        self.assertEqual(len(verdicts), 1)
        log = self.write('log', SPEC_ID + b''.join(event(i % 8, 8, b'%d' % i) for i in range(10_000)))
        self.assertEqual(run('verify', '--eventlog', log, '--json').json()['boot']['processed'], 10_000)

    def test_lookup_answers_each_line(self):
        refdb, digest = self.path('refdb'), hashlib.sha256(b'x').hexdigest()
        sums = self.write('sums', ('%s  /usr/bin/x\n' % digest).encode())
        self.assertEqual(run('refdb', 'ingest', '--refdb', refdb, '--product', 'p', b'sha256sums:' + sums).code, 0)
        ran = run('refdb', 'lookup', '--refdb', refdb, '-', stdin=b'/usr/bin/x\n\nnonsense\n/nope\n%s\n/bin/x' % digest.encode())
        answers = lines(ran)
        self.assertEqual([(a['query'], a['found']) for a in answers],
                         [('/usr/bin/x', True), ('', False), ('nonsense', False), ('/nope', False), (digest, True), ('/bin/x', True)])
        self.assertEqual(ran.code, 2)
        for query, code in (('/usr/bin/x', 0), ('/nope', 1), ('sha256:' + digest, 0), ('sha1:' + digest, 2), ('md5:' + digest, 2), ('', 2)):
            self.assertEqual(run('refdb', 'lookup', '--refdb', refdb, query).code, code, query)

    def test_a_killed_ingestion_leaves_before_or_after(self):
        refdb, sources = self.path('refdb'), []
        for n in range(40):
            sums = ''.join('%s  /usr/share/%d/%d\n' % (hashlib.sha256(b'%d %d' % (n, i)).hexdigest(), n, i) for i in range(500))
            sources.append(b'sha256sums:' + self.write('sums%d' % n, sums.encode()))
        ingest = ['refdb', 'ingest', '--refdb', refdb, '--product', 'p']
        before = run(*ingest, *sources[:1])
        self.assertEqual(before.code, 0)
        digest = lambda: run('refdb', 'stats', '--refdb', refdb, '--json').json()['content_digest']
        first = digest()
        shutil.copytree(refdb, self.path('whole'))
        self.assertEqual(run('refdb', 'ingest', '--refdb', self.path('whole'), '--product', 'p', *sources).code, 0)
        last = run('refdb', 'stats', '--refdb', self.path('whole'), '--json').json()['content_digest']
        for n in range(20):
            child = subprocess.Popen([GATEHOUSE, *ingest, *sources], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                child.wait(timeout=0.01 * n)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.wait()
            self.assertIn(digest(), (first, last))
        self.assertEqual(run(*ingest, *sources).code, 0)
        self.assertEqual(digest(), last)
        self.assertNotIn('table.new', os.listdir(refdb))

    def test_capacity_says_what_follows_from_what_it_measured(self):
        # The smallest measurement there is: whether its figures are right is bench's business, that they agree is ours.
        small = ['capacity', '--seconds', '0.1', '--bios', '16', '--ima', '20', '--unknown', '2', '--ak', 'ecc', '--folder', self.folder]
        ran = run(*small, '--utilisation', '50', '--json')
        self.assertEqual((ran.code, len(ran.out.splitlines())), (0, 1), ran.err)
        said = ran.json()
        self.assertEqual(said['workload'], {'boot': 16, 'ima': 20, 'bank': 'sha256', 'tls': 'mutual', 'ak': 'ecc'})
        self.assertEqual(said['utilisation'], 0.5)
        for way in ('first', 'kept'):
            cost = said[way]
            self.assertTrue(cost['cpu_us'] > 0 and cost['spread'] >= 0 and cost['attestations'] >= 5, cost)
            self.assertAlmostEqual(cost['per_second'] * cost['cpu_us'] / 1e6, 0.5 * said['processors'])
        self.assertEqual([row['interval_seconds'] for row in said['intervals']], [300, 900, 3600, 14400, 86400])
        memory = 0.5 * said['memory_available_bytes'] / max(said['idle_connection_bytes'], 1)
        for row in said['intervals']:
            self.assertAlmostEqual(row['first']['endpoints'], said['first']['per_second'] * row['interval_seconds'], delta=1)
            cpu = said['kept']['per_second'] * row['interval_seconds']
            if row['kept']['limit'] == 'cpu':
                self.assertAlmostEqual(row['kept']['endpoints'], cpu, delta=1)
            else:
                self.assertEqual(row['kept']['limit'], 'memory')
                self.assertLess(row['kept']['endpoints'], cpu)
                self.assertAlmostEqual(row['kept']['endpoints'] / memory, 1, delta=0.01)
        self.assertEqual(os.listdir(self.folder), [])
        text = run(*small).out.decode()
        for word in ('new connection', 'kept connection', '15 min', '24 h'):
            self.assertIn(word, text)

    def test_capacity_gives_up_cleanly(self):
        for arguments in (['--seconds', '0'], ['--utilisation', '101'], ['--ak', 'dsa'], ['--ima', '5', '--unknown', '6'], ['--folder', self.path('absent')]):
            refused = run('capacity', *arguments)
            self.assertEqual((refused.code, refused.out), (2, b''), arguments)
        stopped = subprocess.Popen([GATEHOUSE, 'capacity', '--folder', self.folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertIn(b'measuring', stopped.stderr.readline())
        stopped.send_signal(signal.SIGTERM)
        out, err = stopped.communicate()
        self.assertEqual((stopped.returncode, out), (4, b''))
        self.assertIn(b'interrupted', err)
        self.assertEqual(os.listdir(self.folder), [])

    def test_serve_checks_what_it_would_use(self):
        config = self.write('g.toml', b'[pt_tls]\nlisten = ["127.0.0.1:0"]\ncertificate = "c.pem"\nkey = "k.pem"\n'
                                      b'[refdb]\npath = "r"\n[state]\npath = "s"\n')
        self.assertEqual(run('serve', '--config', self.path('absent'), '--check').code, 4)
        refused = run('serve', '--config', config, '--check')
        self.assertEqual(refused.code, 4)
        self.assertIn('c.pem', refused.err)
        mistaken = self.write('m.toml', b'[pt_tls]\nlisten = 7\nbogus = 1\n')
        refused = run('serve', '--config', mistaken, '--check')
        self.assertEqual(refused.code, 2)
        self.assertIn('m.toml:3: pt_tls.bogus: unknown key', refused.err)


if __name__ == '__main__':
    unittest.main()
