#!/usr/bin/env python3
"""A fleet is made, imported and attests against a running server: what is honest is allowed, nothing else is."""
import hashlib, json, os, pathlib, re, signal, socket, subprocess, tempfile, time, unittest

GATEHOUSE, FLEET = os.environ['GATEHOUSE'], os.environ['GATEHOUSE_FLEET']
PRODUCT = 'Debian 12 x86_64'


def run(*arguments, code=0):
    ran = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if code is not None and ran.returncode != code:
        raise AssertionError('%s ended with %d:\n%s%s' % (' '.join(arguments), ran.returncode, ran.stdout, ran.stderr))
    return ran


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Fleet(unittest.TestCase):
    @classmethod
    def at(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        at = cls.at
        with open(at('sums'), 'w') as sums:
            for n in range(400):
                sums.write('%s  /usr/bin/tool-%d\n' % (hashlib.sha256(b'%d' % n).hexdigest(), n))
        run(GATEHOUSE, 'refdb', 'ingest', '--refdb', at('refdb'), '--product', PRODUCT, 'sha256sums:' + at('sums'))
        cls.make = [FLEET, 'make', at('fleet'), '--endpoints', '6', '--ak', 'ecc', '--images', '2', '--bios', '30', '--ima', '120',
                    '--unknown', '7', '--more', '5', '--refdb', at('refdb'), '--product', PRODUCT]
        run(*cls.make)
        run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at('server.key'),
            '-out', at('server.pem'), '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '2')
        port = free_port()
        cls.server_name = 'localhost:%d' % port
        with open(at('gatehouse.toml'), 'w') as config:
            config.write('[pt_tls]\nlisten = ["127.0.0.1:%d", "[::1]:%d"]\ncertificate = "server.pem"\nkey = "server.key"\n'
                         'client_ca = "fleet/ca.pem"\n[refdb]\npath = "refdb"\n[state]\npath = "state"\n[radius]\nlisten = ["127.0.0.1:0"]\n'
                         'tls_client_auth = "required"\n[[radius.client]]\naddress = "127.0.0.1"\nsecret_file = "radius.secret"\n' % (port, port))
        for name in 'radius.secret', 'other.secret':
            with open(at(name), 'w', opener=lambda path, flags: os.open(path, flags, 0o600)) as secret:
                secret.write('%s of some length\n' % name)
        os.mkdir(at('state'))
        run(GATEHOUSE, 'device', 'import', '--state', at('state'), at('fleet/devices.jsonl'))
        cls.log = open(at('server.log'), 'w+')
        cls.server = subprocess.Popen([GATEHOUSE, 'serve', '--config', at('gatehouse.toml')], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=cls.log)
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(('127.0.0.1', port)).close()
                where = re.search(r'RADIUS listening on (127\.0\.0\.1:\d+)', pathlib.Path(at('server.log')).read_text())
                if where is None:
                    raise OSError
                cls.radius = where.group(1)
                break
            except OSError:
                if cls.server.poll() is not None or time.monotonic() > until:
                    raise AssertionError(pathlib.Path(at('server.log')).read_text())

    @classmethod
    def tearDownClass(cls):
        cls.server.send_signal(signal.SIGTERM)
        cls.server.wait()
        cls.log.close()
        cls.folder.cleanup()

    def attest(self, *options, code=0):
        ran = run(FLEET, 'run', self.at('fleet'), '--server', self.server_name, '--ca', self.at('server.pem'), '--json', *options, code=code)
        return json.loads(ran.stdout)

    def test_each_endpoint_is_allowed_from_its_first_attestation_on(self):
        report = self.attest('--concurrency', '3', '--attestations', '13', '--expect', 'allow', '--server-pid', str(self.server.pid))
        self.assertEqual((report['attestations'], report['verdicts'], report['failures']), (13, {'allow': 13}, {}))
        self.assertEqual(report['connections'], 13)
        latency = report['latency_ms']
        self.assertTrue(0 < latency['p50'] <= latency['p90'] <= latency['p99'] <= latency['max'])
        self.assertGreater(report['bytes_sent'], 120 * 100)
        self.assertTrue(report['cpu_seconds'] > 0 and report['server_cpu_seconds'] > 0 and report['rate'] > 0)

    def test_what_it_says_is_what_the_server_recorded(self):
        self.attest('--concurrency', '1', '--attestations', '1', '--expect', 'allow')
        last = json.loads(run(GATEHOUSE, 'session', 'list', '--last', '1', '--json', '--state', self.at('state')).stdout)
        self.assertEqual((last['product'], last['recommendation']), (PRODUCT, 'allow'))
        self.assertEqual((last['boot']['processed'], last['boot']['ok']), (30, 30))
        self.assertEqual((last['ima']['processed'], last['ima']['ok'], last['ima']['unknown']), (120, 113, 7))
        self.assertEqual(last['record']['identity'], 'CN=endpoint-000000')

    def test_connections_are_kept_and_lists_grow(self):
        report = self.attest('--keep', '--grow', '2', '--concurrency', '6', '--attestations', '24', '--expect', 'allow', '--hold', '0.1')
        self.assertEqual((report['verdicts'], report['connections'], report['failures']), ({'allow': 24}, 6, {}))
        last = json.loads(run(GATEHOUSE, 'session', 'list', '--last', '1', '--json', '--state', self.at('state')).stdout)
        self.assertEqual(last['ima']['ok'], 113 + 5)

    def test_what_the_server_takes_is_seen_while_connections_are_there(self):
        report = self.attest('--keep', '--concurrency', '6', '--attestations', '6', '--hold', '0.5', '--server-pid', str(self.server.pid))
        resident = report['server_resident_bytes']
        self.assertTrue(resident['before'] > 1 << 20 and resident['at_rest'] > 1 << 20)

    def test_bad_evidence_is_not_allowed(self):
        for manner in ('--changed', '--forged'):
            report = self.attest(manner, '1', '--concurrency', '2', '--attestations', '6', '--expect', 'allow')
            self.assertEqual((report['attestations'], report['wrong'], report['failures']), (6, 0, {}), manner)
            self.assertNotIn('allow', report['verdicts'])
        mixed = self.attest('--changed', '0.5', '--concurrency', '2', '--attestations', '40', '--expect', 'allow')
        self.assertEqual((mixed['wrong'], sum(mixed['verdicts'].values())), (0, 40))
        self.assertTrue(0 < mixed['verdicts']['allow'] < 40)

    def test_others_that_dawdle_or_vanish_hinder_nobody(self):
        report = self.attest('--slow', '0.2', '--vanishing', '0.2', '--concurrency', '6', '--attestations', '30', '--expect', 'allow')
        self.assertEqual(report['failures'], {})
        self.assertTrue(report['disturbers']['slow'] and report['disturbers']['vanishing'])
        self.assertEqual(set(report['verdicts']), {'allow'})
        stalled = self.attest('--stalled', '1', '--timeout', '0.5', '--concurrency', '6', '--attestations', '6', '--expect', 'allow')
        self.assertEqual((stalled['disturbers'], stalled['attestations']), ({'stalled': 6}, 0))

    def attest_by_radius(self, *options, code=0, secret='radius.secret'):
        ran = run(FLEET, 'run', self.at('fleet'), '--radius', self.radius, '--secret-file', self.at(secret), '--ca', self.at('server.pem'), '--json',
                  *options, code=code)
        return json.loads(ran.stdout)

    def test_over_radius_the_same_endpoints_are_allowed(self):
        report = self.attest_by_radius('--concurrency', '6', '--attestations', '13', '--expect', 'allow')
        self.assertEqual((report['verdicts'], report['failures']), ({'allow': 13}, {}))
        last = json.loads(run(GATEHOUSE, 'session', 'list', '--last', '1', '--json', '--state', self.at('state')).stdout)
        self.assertEqual((last['ima']['ok'], last['record']['identity'][:12]), (113, 'CN=endpoint-'))

    def test_over_radius_conversations_may_share_a_gateways_socket(self):
        report = self.attest_by_radius('--per-gateway', '4', '--concurrency', '7', '--attestations', '14', '--threads', '1', '--expect', 'allow')
        self.assertEqual((report['verdicts'], report['failures']), ({'allow': 14}, {}))
        report = self.attest_by_radius('--per-gateway', '8', '--loss', '0.05', '--late', '0.05', '--resend', '0.05', '--concurrency', '6', '--attestations', '12',
                                       '--expect', 'allow')
        self.assertEqual(report['verdicts'], {'allow': 12})
        self.assertGreater(report['repeated'], 0)
        stalled = self.attest_by_radius('--per-gateway', '4', '--stalled', '1', '--timeout', '0.5', '--concurrency', '6', '--attestations', '6')
        self.assertEqual(stalled['disturbers'], {'stalled': 6})
        gone = self.attest_by_radius('--per-gateway', '4', '--vanishing', '1', '--concurrency', '3', '--attestations', '6')
        self.assertEqual(sum(gone['disturbers'].values()) + sum(gone['verdicts'].values()), 6)

    def test_over_radius_bad_evidence_is_not_allowed(self):
        report = self.attest_by_radius('--changed', '1', '--concurrency', '2', '--attestations', '4')
        self.assertEqual((report['attestations'], report['wrong'], report['failures']), (4, 0, {}))
        self.assertNotIn('allow', report['verdicts'])

    def test_lost_and_late_datagrams_cost_no_verdict(self):
        report = self.attest_by_radius('--loss', '0.05', '--late', '0.05', '--resend', '0.05', '--concurrency', '6', '--attestations', '12',
                                       '--expect', 'allow')
        self.assertEqual((report['verdicts'], report['failures']), ({'allow': 12}, {}))
        self.assertGreater(report['repeated'], 0)

    def test_another_secret_gets_no_answer(self):
        report = self.attest_by_radius('--concurrency', '1', '--attestations', '1', '--resend', '0.05', '--timeout', '0.5', code=4, secret='other.secret')
        self.assertEqual(report['failures'], {'no verdict in time': 1})

    def test_arrivals_at_a_rate(self):
        report = self.attest('--rate', '200', '--concurrency', '6', '--attestations', '20')
        self.assertEqual(report['attestations'] + sum(report['failures'].values()), 20)

    def test_a_verdict_other_than_the_expected_one_is_told_by_the_exit_code(self):
        self.attest('--concurrency', '1', '--attestations', '1', '--expect', 'block', code=1)

    def test_a_server_that_nobody_answers_for(self):
        port = free_port()
        ran = run(FLEET, 'run', self.at('fleet'), '--server', '127.0.0.1:%d' % port, '--concurrency', '1', '--attestations', '1', '--json', code=4)
        self.assertEqual(json.loads(ran.stdout)['failures'], {'connection refused': 1})

    def test_a_certificate_that_the_ca_did_not_issue(self):
        report = json.loads(run(FLEET, 'run', self.at('fleet'), '--server', self.server_name, '--ca', self.at('fleet/ca.pem'), '--concurrency', '1',
                                '--attestations', '1', '--json', code=4).stdout)
        self.assertEqual(report['failures'], {"the server's certificate isn't trusted": 1})

    def test_making_it_again_changes_nothing(self):
        names = [os.path.join(folder, name) for folder, _, files in os.walk(self.at('fleet')) for name in files]
        contents = {name: pathlib.Path(name).read_bytes() for name in names}
        run(*self.make)
        self.assertEqual(contents, {name: pathlib.Path(name).read_bytes() for name in names})
        ran = run(*self.make, '--seed', '2', code=2)
        self.assertIn('there is a fleet that was made otherwise', ran.stderr)

    def test_mistakes(self):
        ran = run(FLEET, 'make', self.at('other'), '--endpoints', '1', '--refdb', self.at('refdb'), '--product', 'Nobody', code=2)
        self.assertIn('too few references', ran.stderr)
        self.assertFalse(os.path.exists(self.at('other')))
        run(FLEET, 'run', self.at('fleet'), '--server', 'nowhere', '--concurrency', '1', '--attestations', '1', code=2)
        run(FLEET, 'run', self.at('fleet'), '--server', self.server_name, '--concurrency', '1', code=2)
        run(FLEET, 'run', self.at('absent'), '--server', self.server_name, '--concurrency', '1', '--attestations', '1', code=4)
        run(FLEET, code=2)


if __name__ == '__main__':
    unittest.main()
