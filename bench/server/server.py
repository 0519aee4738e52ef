#!/usr/bin/env python3
"""What a running server costs and bears: gatehouse serve on the loopback interface under gatehouse-fleet.

Prints one JSON object with what was measured, round by round; bench/report makes rows and ratios of it. Each part is
measured for itself: one that fails or can't be run is named in "not_measured" with the reason, and the others go on.
The server's CPU time is its process's (utime + stime) over the attestations of a run."""
import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

PRODUCT = 'Debian 12 x86_64'
USER = 'endpoint'

SCALES = {
    'quick': {'rounds': 3, 'attestations': 250, 'roofline_rounds': 21, 'transport': 300, 'sweep_seconds': 1.5, 'sweep_rounds': 1, 'connected': 1000,
              'active': 100, 'idle': 500, 'stalled': 200, 'slow': 40, 'fairness_seconds': 3, 'overload_seconds': 4, 'overload_rounds': 1,
              'references': (20_000, 200_000), 'kept_sessions': 100, 'waiting': 300, 'lossy': 100},
    'full': {'rounds': 9, 'attestations': 1500, 'roofline_rounds': 101, 'transport': 2000, 'sweep_seconds': 6, 'sweep_rounds': 3, 'connected': 10_000,
             'active': 100, 'idle': 3300, 'stalled': 1300, 'slow': 300, 'fairness_seconds': 8, 'overload_seconds': 20, 'overload_rounds': 3,
             'references': (100_000, 10_000_000), 'kept_sessions': 1000, 'waiting': 3000, 'lossy': 2000},
}
PARTS = ('cost', 'sweep', 'connected', 'fairness', 'overload', 'references', 'judged_again', 'radius_cost', 'radius_waiting', 'radius_in_flight',
         'radius_lossy', 'radius_overload')
MAIN_ENDPOINTS = 128  # the sweep's most


class NotMeasured(Exception):
    pass


def say(text):
    print('bench/server: ' + text, file=sys.stderr, flush=True)


def run(*command, code=0):
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if ran.returncode != code:
        raise NotMeasured('%s %s ended with %d: %s' % (os.path.basename(command[0]), ' '.join(command[1:3]), ran.returncode, ran.stderr.strip()[-400:]))
    return ran.stdout


def raise_descriptors(wanted):
    """As many descriptors as are allowed; children inherit them. Returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # root may have more than the limit says
        if hard != resource.RLIM_INFINITY and hard < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def established(port):
    """Connections to a local port, as the kernel lists them."""
    count, want = 0, ':%04X' % port
    with open('/proc/net/tcp', encoding='ascii') as table:
        next(table)
        for line in table:
            fields = line.split()
            count += fields[1].endswith(want) and fields[3] == '01'
    return count


def port_of(log, server, name, what='PT-TLS listening'):
    """The server says where it listens as soon as it does."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with open(log, encoding='utf-8', errors='replace') as file:
            for line in file:
                if what + ' on 127.0.0.1:' in line:
                    return int(line.rsplit(':', 1)[1])
        if server.poll() is not None:
            break
        time.sleep(0.05)
    with open(log, encoding='utf-8', errors='replace') as file:
        raise NotMeasured('the server %s doesn\'t start: %s' % (name, file.read()[-400:]))


class Server:
    """One gatehouse serve, with a state of its own."""

    def __init__(self, bench, name, refdb, fleets, password=False, proved_mb=256, keep='none', radius=None):
        self.name, folder = name, bench.path('servers', name)
        shutil.rmtree(folder, True)
        os.makedirs(folder)
        at = lambda file: os.path.join(folder, file)
        run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at('server.key'), '-out',
            at('server.pem'), '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '2')
        who = 'client_ca = "ca.pem"\nauth = "tls"'
        if password:
            bench.password = at('password')
            with open(bench.password, 'w', encoding='ascii') as file:
                file.write('a password of some length\n')
            run(bench.gatehouse, 'user', 'add', USER, '--users', at('users.db'), '--password-file', bench.password)
            who = 'users = "users.db"\nauth = "sasl"'
        with open(at('ca.pem'), 'w', encoding='ascii') as out:
            for fleet in fleets:
                with open(os.path.join(bench.path(fleet), 'ca.pem'), encoding='ascii') as ca:
                    out.write(ca.read())
        with open(at('gatehouse.toml'), 'w', encoding='utf-8') as config:
            config.write('[pt_tls]\nlisten = ["127.0.0.1:0"]\ncertificate = "server.pem"\nkey = "server.key"\n%s\ntls_min = "1.3"\n'
                         'max_connections_per_address = 20000\n[server]\nproved_evidence_mb = %d\n[refdb]\npath = "%s"\n[state]\npath = "state"\nkeep_evidence = "%s"\n' %
                         (who, proved_mb, os.path.abspath(bench.path(refdb)), keep))
            if radius is not None:
                config.write('[metrics]\nlisten = "127.0.0.1:0"\n[radius]\nlisten = ["127.0.0.1:0"]\ntls_client_auth = "required"\nclient_ca = "ca.pem"\n%s'
                             '[[radius.client]]\naddress = "127.0.0.1"\nsecret_file = "gateways.secret"\n' % radius)
        self.radius_secret = at('gateways.secret')
        if radius is not None:
            with open(os.open(self.radius_secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w', encoding='ascii') as file:
                file.write('what gateways and this server share\n')
        for fleet in fleets:
            run(bench.gatehouse, 'device', 'import', '--state', at('state'), os.path.join(bench.path(fleet), 'devices.jsonl'))
        with open(at('log'), 'w', encoding='utf-8') as log:
            self.process = subprocess.Popen([bench.gatehouse, 'serve', '--config', at('gatehouse.toml')], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=log)
        try:
            self.port = port_of(at('log'), self.process, name)
            self.radius_port = port_of(at('log'), self.process, name, 'RADIUS listening') if radius is not None else None
            self.metrics_port = port_of(at('log'), self.process, name, 'metrics') if radius is not None else None
        except BaseException:
            self.stop()
            raise

    def metric(self, name):
        """As the metrics port tells it now."""
        with urllib.request.urlopen('http://127.0.0.1:%d/metrics' % self.metrics_port) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(name + ' '):
                    return int(float(line.rsplit(' ', 1)[1]))
        raise NotMeasured('the metrics port doesn\'t tell of ' + name)

    def conversations(self):
        return self.metric('gatehouse_eap_conversations')

    def requests(self):
        return self.metric('gatehouse_radius_requests_total{kind="access"}')

    def cpu_ticks(self):
        with open('/proc/%d/stat' % self.process.pid, encoding='ascii') as file:
            fields = file.read().rsplit(')', 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def resident_at_rest(self):
        """Resident bytes once nothing has been worked on for three seconds, so that what work took is given back."""
        ticks, quiet = self.cpu_ticks(), 0
        while quiet < 30:
            time.sleep(0.1)
            now = self.cpu_ticks()
            quiet = quiet + 1 if now - ticks <= 1 else 0
            ticks = now
        with open('/proc/%d/statm' % self.process.pid, encoding='ascii') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGESIZE')

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Bench:
    def __init__(self, binaries, folder, scale):
        self.gatehouse, self.fleet_program = os.path.join(binaries, 'gatehouse'), os.path.join(binaries, 'gatehouse-fleet')
        self.roofline_program, self.store_bench = os.path.join(binaries, 'gatehouse-roofline'), os.path.join(binaries, 'gatehouse-store-bench')
        self.folder, self.scale, self.number = folder, scale, random.Random(1)
        self.servers, self.started, self.password, self.limit_rate = {}, [], None, None

    def path(self, *names):
        return os.path.join(self.folder, *names)

    # What there is to begin with

    def references(self, name, files):
        """A store of synthetic references in the shape of Debian's archive; one that is there is used again."""
        store = self.path(name)
        with contextlib.suppress(NotMeasured, ValueError, KeyError):
            if json.loads(run(self.gatehouse, 'refdb', 'stats', '--refdb', store, '--json'))['files'] >= 0.9 * files and os.path.exists(store + '.made'):
                return
        if shutil.disk_usage(self.folder).free < 600 * files:
            raise NotMeasured('a store of %d references needs more room than there is' % files)
        say('a store of %d references' % files)
        run(self.store_bench, '--files', str(files), '--store', store, '--insert-only', '--keep')
        with open(store + '.made', 'w', encoding='ascii'):
            pass

    def make(self, name, endpoints, ak='ecc', refdb='references', keys=None):
        """A fleet; one that was made alike is used again, and keys are used again in any case: to make those takes longest."""
        keys = os.path.abspath(keys or self.path('keys-' + name))
        command = [self.fleet_program, 'make', self.path(name), '--endpoints', str(endpoints), '--ak', ak, '--images', '4', '--refdb', self.path(refdb),
                   '--product', PRODUCT, '--keys', keys]
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if ran.returncode == 2:
            shutil.rmtree(self.path(name), True)
            run(*command)
        elif ran.returncode != 0:
            raise NotMeasured('gatehouse-fleet make ended with %d: %s' % (ran.returncode, ran.stderr.strip()[-400:]))

    def main_fleet(self):
        self.references('references', self.scale['references'][0])
        self.make('main', MAIN_ENDPOINTS, 'rsa')

    def server(self, name, **options):
        if name not in self.servers:
            say('starting the server ' + name)
            self.servers[name] = Server(self, name, **options)
        return self.servers[name]

    def main_server(self):
        """With the fleet whose workload is the seed's: 136 + 1,732 items, RSA keys, ECDSA certificates."""
        self.main_fleet()
        return self.server('main', refdb='references', fleets=['main'])

    def first_server(self):
        """The same for first attestations: what an endpoint sent before is judged again."""
        self.main_fleet()
        return self.server('first', refdb='references', fleets=['main'], proved_mb=0)

    def many(self):
        """With the fleets of many endpoints. ECC keys: of RSA keys so many take half an hour to make."""
        self.main_fleet()
        s = self.scale
        self.make('many', max(s['connected'], s['idle']))
        self.make('stalled', s['stalled'])
        self.make('slow', s['slow'])
        return self.server('many', refdb='references', fleets=['main', 'many', 'stalled', 'slow'])

    def gateways(self, name='gateways', radius=''):
        """With the fleets, over RADIUS besides PT-TLS. radius: more of its configuration."""
        self.main_fleet()
        self.make('many', max(self.scale['connected'], self.scale['idle']))
        return self.server(name, refdb='references', fleets=['main', 'many'], proved_mb=0, radius=radius)

    def patient(self):
        """The same, whose gateways wait for as long as it takes: as many at once as come."""
        return self.gateways('patient', 'conversations_per_processor = 65536\n')

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait()
        for server in self.servers.values():
            server.stop()

    # Running

    def command(self, fleet, server, concurrency, *options):
        """`--radius` among the options: over RADIUS, with the gateways played, too."""
        way = ['--server', '127.0.0.1:%d' % server.port]
        if '--radius' in options:
            options = [option for option in options if option != '--radius']
            way = ['--radius', 'localhost:%d' % server.radius_port, '--secret-file', server.radius_secret, '--ca', self.path('servers', server.name, 'server.pem')]
        out = [self.fleet_program, 'run', self.path(fleet), *way, '--concurrency', str(concurrency), '--json', *options]
        if server.name == 'password':
            out += ['--no-certificate', '--user', USER, '--password-file', self.password]
        return out

    def attest(self, fleet, server, concurrency, *options, good=True):
        """A run's report; `good`: everybody has to be allowed, and nobody to fail."""
        expected = ['--expect', 'allow'] if good else []
        ran = subprocess.run(self.command(fleet, server, concurrency, '--server-pid', str(server.process.pid), *expected, *options),
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if server.process.poll() is not None:
            raise NotMeasured('the server %s ended with %d' % (server.name, server.process.returncode))
        if not ran.stdout:
            raise NotMeasured('gatehouse-fleet run ended with %d: %s' % (ran.returncode, ran.stderr.strip()[-400:]))
        report = json.loads(ran.stdout)
        if good and ran.returncode != 0:
            raise NotMeasured('not everybody was allowed: verdicts %s, failures %s' % (report['verdicts'], report['failures']))
        return report

    def beside(self, fleet, server, concurrency, *options):
        """A run that goes on meanwhile."""
        self.started.append(subprocess.Popen(self.command(fleet, server, concurrency, *options), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                             stderr=subprocess.DEVNULL))
        return self.started[-1]

    def beside_report(self, fleet, server, concurrency, *options):
        """The same, whose report counts: report_of()."""
        self.started.append(subprocess.Popen(self.command(fleet, server, concurrency, *options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                             stderr=subprocess.DEVNULL, text=True))
        return self.started[-1]

    @staticmethod
    def report_of(process):
        text, _ = process.communicate()
        if not text:
            raise NotMeasured('gatehouse-fleet run ended with %d' % process.returncode)
        return json.loads(text)

    def roofline(self, tls, kept=False):
        report = json.loads(run(self.roofline_program, '--tls', tls, '--rounds', str(self.scale['roofline_rounds']), '--transport', str(self.scale['transport']),
                                '--json', *(['--kept'] if kept else [])))
        # The primitives, where TLS runs over the kernel's sockets.
        bare = report['transport_us'] + report['sum_us'] - sum(report['primitives_us'][name] for name in ('tls_handshake', 'records'))
        return {'sum_us': report['sum_us'], 'physical_us': report['physical_us'], 'primitives_us': report['primitives_us'],
                'extend_shape': report['extend_shape'], 'in_process_ratio': report['ratio'], 'bare_server_us': round(bare, 1)}

    # The parts

    def first(self, server, attestations, fleet='main', *options, concurrency=8):
        report = self.attest(fleet, server, concurrency, '--attestations', str(attestations), *options)
        return round(report['server_cpu_seconds'] / report['attestations'] * 1e6, 1)

    def again(self, server, attestations):
        """Runs begin with a first attestation on each connection: what those cost, in a run just before, is taken off. Of more than
        five again on one connection within seconds the server makes an end (docs/interoperability.md): endpoints don't do that."""
        attestations = min(attestations, 4 * MAIN_ENDPOINTS)
        each = self.first(server, attestations)
        report = self.attest('main', server, 8, '--keep', '--attestations', str(attestations + MAIN_ENDPOINTS))
        connections = report['connections']
        return round((report['server_cpu_seconds'] * 1e6 - connections * each) / (report['attestations'] - connections), 1)

    def interleaved(self, rounds, ways, what):
        """Each way once a round, in another order each time."""
        out, order = [], list(ways)
        for i in range(rounds):
            self.number.shuffle(order)
            out.append({name: ways[name]() for name in order})
            say('%s, round %d of %d: %s' % (what, i + 1, rounds, ', '.join('%s %s' % (n, v) for n, v in out[-1].items() if not isinstance(v, dict))))
        return out

    def cost(self):
        main, n = self.main_server(), self.scale['attestations']
        first = self.first_server()
        password = self.server('password', refdb='references', fleets=['main'], password=True, proved_mb=0)
        for server in (main, first, password):
            self.first(server, MAIN_ENDPOINTS)  # fills the caches
        return self.interleaved(self.scale['rounds'], {
            'mutual_us': lambda: self.first(first, n), 'password_us': lambda: self.first(password, n), 'kept_us': lambda: self.again(main, n),
            'roofline_mutual': lambda: self.roofline('mutual'), 'roofline_server': lambda: self.roofline('server'),
            'roofline_kept': lambda: self.roofline('mutual', True)}, 'server CPU')

    def sweep(self):
        main, out = self.main_server(), []
        self.first(main, MAIN_ENDPOINTS)
        steps = [1, 2, 4, 8, 16, 32, 64, 128]
        runs = {step: [] for step in steps}
        for _ in range(self.scale['sweep_rounds']):
            for step in self.number.sample(steps, len(steps)):
                runs[step].append(self.attest('main', main, step, '--duration', str(self.scale['sweep_seconds'])))
        for step, some in runs.items():
            rates = [r['rate'] for r in some]
            rate = statistics.median(rates)
            row = {'concurrency': step, 'rate': rate, 'spread': round((max(rates) - min(rates)) / rate, 3)}
            for p in ('p50', 'p90', 'p99'):
                row[p + '_ms'] = round(statistics.median(r['latency_ms'][p] for r in some), 2)
            row['server_cpu_us'] = round(statistics.median(r['server_cpu_seconds'] / r['attestations'] * 1e6 for r in some), 1)
            row['fleet_cpu_us'] = round(statistics.median(r['cpu_seconds'] / r['attestations'] * 1e6 for r in some), 1)
            say('concurrency %d: %.0f/s, p50 %.1f ms, p99 %.1f ms' % (step, rate, row['p50_ms'], row['p99_ms']))
            out.append(row)
        return out

    def connected(self):
        """All connect and attest, and attest again in turn while all are connected; then they are idle."""
        n = self.scale['connected']
        limit = raise_descriptors(n + 1000)
        if limit < n + 200:
            raise NotMeasured('%d connections need more than the %d descriptors that a process may have' % (n, limit))
        server = self.many()
        # What a load leaves in the allocator isn't the connections'.
        self.attest('many', server, 64, '--attestations', '400')
        say('%d endpoints connect, and attest twice' % n)
        report = self.attest('many', server, 64, '--keep', '--attestations', str(2 * n), '--hold', '1', good=False)
        resident = report['server_resident_bytes']
        return {'endpoints': n, 'connections': report['connections'], 'attestations': report['attestations'], 'verdicts': report['verdicts'],
                'failures': report['failures'], 'wrong': report['wrong'], 'seconds': report['seconds'], 'resident_bytes': resident,
                'bytes_a_connection': round((resident['at_rest'] - resident['before']) / max(report['connections'], 1))}

    def fairness(self):
        s = self.scale
        server = self.many()
        alone = lambda: self.attest('main', server, s['active'], '--duration', str(s['fairness_seconds']))['latency_ms']['p99']
        alone()
        before = [alone(), alone()]
        say('%d idle, %d stalled and %d slow endpoints besides' % (s['idle'], s['stalled'], s['slow']))
        idle = self.beside('many', server, 32, '--keep', '--attestations', str(s['idle']), '--hold', '3600')
        others = [idle]
        until = time.monotonic() + 60 + s['idle'] / 20
        while established(server.port) < s['idle']:
            if time.monotonic() > until or idle.poll() is not None:
                raise NotMeasured("the idle endpoints don't all connect")
            time.sleep(0.2)
        # The server ends who stalls after two minutes: they come last.
        others.append(self.beside('stalled', server, s['stalled'], '--stalled', '1', '--ramp', '5', '--attestations', str(s['stalled']), '--timeout', '600'))
        others.append(self.beside('slow', server, s['slow'], '--slow', '1', '--ramp', '5', '--duration', '3600', '--timeout', '600'))
        while established(server.port) < s['idle'] + s['stalled'] + 0.5 * s['slow']:
            if time.monotonic() > until:
                raise NotMeasured("those that stall and dawdle don't all connect")
            time.sleep(0.2)
        beside, connections = [], []
        for _ in range(3):
            beside.append(alone())
            connections.append(established(server.port))
        for other in others:
            other.terminate()
            other.wait()
        while established(server.port) > 0 and time.monotonic() < until + 60:
            time.sleep(0.2)
        return {'active': s['active'], 'others': {k: s[k] for k in ('idle', 'stalled', 'slow')}, 'connections': min(connections),
                'alone_p99_ms': before + [alone(), alone()], 'beside_p99_ms': beside}

    def overload(self):
        """Closed loop at its best, then arrivals at three times that rate, whatever the server does."""
        return self.overloaded(self.many())

    def overloaded(self, server, *way):
        s = self.scale
        seconds = str(s['overload_seconds'])
        best = lambda: self.attest('many', server, 32, '--duration', seconds, *way)['rate']
        best()
        rounds = []
        for i in range(s['overload_rounds']):
            limit = best()
            report = self.attest('many', server, min(s['connected'], 10_000), '--rate', str(round(3 * limit)), '--duration', seconds, '--timeout', '30', *way,
                                 good=False)
            rounds.append({'limit': limit, 'goodput': report['rate'], 'failures': report['failures'], 'wrong': report['wrong'],
                           'p99_ms': report['latency_ms']['p99']})
            say('overload, round %d: %.0f/s of %.0f/s' % (i + 1, report['rate'], limit))
        return {'endpoints': s['connected'], 'rounds': rounds}

    def store_size(self):
        few, many = self.scale['references']
        small = self.first_server()
        self.references('references-many', many)
        self.make('main-many', MAIN_ENDPOINTS, 'rsa', 'references-many', self.path('keys-main'))
        large = self.server('references-many', refdb='references-many', fleets=['main-many'], proved_mb=0)
        self.first(small, MAIN_ENDPOINTS)
        self.first(large, MAIN_ENDPOINTS, 'main-many')
        n = self.scale['attestations']
        return {'few': few, 'many': many, 'rounds': self.interleaved(self.scale['rounds'], {
            'few_us': lambda: self.first(small, n), 'many_us': lambda: self.first(large, n, 'main-many')}, 'references')}

    def judged_again(self):
        """policy test over sessions whose evidence is kept; the server that has them does nothing else meanwhile."""
        self.main_fleet()
        server, sessions = self.server('keeping', refdb='references', fleets=['main'], keep='all'), self.scale['kept_sessions']
        self.first(server, sessions)
        folder = self.path('servers', 'keeping')
        policy = os.path.join(folder, 'next.toml')
        with open(policy, 'w', encoding='ascii') as out:
            out.write('[groups.all]\nask = ["TPMRA"]\n')
        rounds = []
        for _ in range(self.scale['sweep_rounds']):
            before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            told = json.loads(run(self.gatehouse, 'policy', 'test', '--policy', policy, '--sessions', str(sessions), '--config', os.path.join(folder, 'gatehouse.toml'),
                                  '--json').splitlines()[-1])
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            rounds.append({'seconds': round(time.monotonic() - begun, 3),
                           'cpu_seconds': round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3)})
            say('judged again: %s' % rounds[-1])
            if told['judged'] != sessions or told['same'] != sessions:
                raise NotMeasured('not every session was judged again and is the same: %s' % told)
        return {'sessions': sessions, 'rounds': rounds}

    # Behind gateways

    def radius_cost(self):
        server, n = self.gateways(), self.scale['attestations']
        self.first(server, MAIN_ENDPOINTS)
        self.first(server, MAIN_ENDPOINTS, 'main', '--radius')
        # As many at once as one gateway may have: what a packet costs depends on how many come together.
        cost = lambda *options: self.first(server, n, 'main', *options, concurrency=64)
        return self.interleaved(self.scale['rounds'], {'pt_tls_us': cost, 'radius_us': lambda: cost('--radius'),
                                                       'radius_large_us': lambda: cost('--radius', '--fragment-size', '3072'),
                                                       'radius_shared_us': lambda: cost('--radius', '--per-gateway', '64')},
                                'server CPU behind gateways')

    def waiting(self, server, n, requests, *options):
        """What each conversation takes whose gateway is halted, once the server has nothing left to do: after so many requests for each,
        or (0) when they say nothing more by themselves."""
        before, enough = server.resident_at_rest(), server.requests() + n * requests
        fleet = self.beside('many', server, n, '--radius', '--timeout', '600', *options)
        until = time.monotonic() + 300
        while server.requests() < enough or server.conversations() < 0.9 * n:
            if time.monotonic() > until or fleet.poll() is not None:
                raise NotMeasured("the endpoints behind gateways don't get on: %d conversations" % server.conversations())
            time.sleep(0.1)
        said = None
        while requests == 0 and said != (said := server.requests()):
            time.sleep(3)
        fleet.send_signal(signal.SIGSTOP)
        now, waiting = server.resident_at_rest(), server.conversations()
        fleet.kill()
        fleet.wait()
        while server.conversations() > 0:  # until they are given up
            time.sleep(0.5)
        say('waiting conversations: %d, %.1f KiB each' % (waiting, (now - before) / 1024 / max(waiting, 1)))
        return {'conversations': waiting, 'bytes_each': round((now - before) / max(waiting, 1))}

    def radius_waiting(self):
        server, n = self.patient(), self.scale['waiting']
        # What a load leaves in the allocator isn't the conversations'.
        before = server.requests()
        self.attest('many', server, 64, '--radius', '--attestations', str(n))
        whole = (server.requests() - before) / n
        handshake = self.waiting(server, n, 0, '--attestations', str(n), '--stalled', '1')
        half_way = self.waiting(server, n, whole / 2, '--duration', '3600')
        return {'endpoints': n, 'requests': round(whole), 'after_handshake': handshake, 'half_way': half_way}

    def radius_in_flight(self):
        """All begin at once, and go on side by side."""
        server, n = self.patient(), self.scale['connected']
        say('%d endpoints behind gateways' % n)
        fleet, most = self.beside_report('many', server, n, '--radius', '--attestations', str(n), '--timeout', '600'), 0
        while fleet.poll() is None:
            most = max(most, server.conversations())
            time.sleep(0.2)
        report = self.report_of(fleet)
        return {'endpoints': n, 'most': most, 'verdicts': report['verdicts'], 'failures': report['failures'], 'wrong': report['wrong'],
                'repeated': report['repeated'], 'seconds': report['seconds']}

    def radius_lossy(self):
        server, n = self.gateways(), self.scale['lossy']
        report = self.attest('many', server, min(n, 500), '--radius', '--attestations', str(n), '--loss', '0.05', '--late', '0.05', '--resend', '0.5',
                             '--timeout', '600', good=False)
        return {'attestations': n, 'verdicts': report['verdicts'], 'failures': report['failures'], 'wrong': report['wrong'], 'repeated': report['repeated']}

    def radius_overload(self):
        return self.overloaded(self.gateways(), '--radius')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--binaries', default='build/release/bin')
    parser.add_argument('--folder', default='build/bench/server', help='keys, fleets and stores are kept in it')
    parser.add_argument('--quick', action='store_true', help='less of everything: whether it works, no figures to compare')
    parser.add_argument('--parts', default=','.join(PARTS))
    options = parser.parse_args()
    parts = options.parts.split(',')
    if unknown := set(parts) - set(PARTS):
        parser.error('no such part: ' + ', '.join(sorted(unknown)))
    scale = 'quick' if options.quick else 'full'
    folder = os.path.abspath(options.folder)
    os.makedirs(folder, exist_ok=True)
    raise_descriptors(20_000)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))  # and what was started ends
    bench, out = Bench(os.path.abspath(options.binaries), folder, SCALES[scale]), {'scale': scale, 'not_measured': {}}
    ways = {'cost': bench.cost, 'sweep': bench.sweep, 'connected': bench.connected, 'fairness': bench.fairness, 'overload': bench.overload,
            'references': bench.store_size, 'judged_again': bench.judged_again, 'radius_cost': bench.radius_cost, 'radius_waiting': bench.radius_waiting,
            'radius_in_flight': bench.radius_in_flight, 'radius_lossy': bench.radius_lossy, 'radius_overload': bench.radius_overload}
    try:
        for part in parts:
            begun = time.monotonic()
            try:
                out[part] = ways[part]()
            except (NotMeasured, OSError) as error:
                say('%s: not measured: %s' % (part, error))
                out['not_measured'][part] = str(error)
            say('%s took %.0f s' % (part, time.monotonic() - begun))
    finally:
        bench.close()
    print(json.dumps(out))


if __name__ == '__main__':
    main()
