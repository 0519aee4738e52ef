#!/usr/bin/env python3
"""A server under mixed load for as long as is wanted: what it was built with (a sanitizer) has nothing to say, its memory
stays where it was, and every honest endpoint is allowed.

  soak.py --binaries build/optimized/bin [--minutes 60] [--folder DIR]

All at once: honest endpoints with new connections, and others that keep theirs while their lists grow; changed, forged,
slow, stalled and vanishing ones; strangers; a few with the largest lists; connections that say nothing, that drip a byte at
a time, that begin handshakes and leave, and that talk no TLS. The server reloads and is asked for its metrics meanwhile.
Exit code 1: something was wrong, and is named. The server's log stays in the folder."""
import argparse
import hashlib
import json
import os
import pathlib
import random
import re
import resource
import selectors
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

PRODUCT = 'Debian 12 x86_64'
REPORTS = re.compile(r'ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion|assertion failed')
FILES = 4000
LATE = 'more arrivals than may be in flight'  # gatehouse-fleet's own: the machine was at other work


def run(*command, code=0):
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if ran.returncode != code:
        sys.exit('%s ended with %d:\n%s%s' % (' '.join(command), ran.returncode, ran.stdout, ran.stderr))
    return ran.stdout


def client_hello():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname='localhost').do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


class Crowd(threading.Thread):
    """So many connections at a time from addresses of their own, each replaced when it is gone."""

    def __init__(self, name, port, size, network, per_second, drip=None, first=b'', answer_ends=False):
        super().__init__(daemon=True)
        self.crowd, self.port, self.size, self.network, self.per_second = name, port, size, network, per_second
        self.drip, self.first, self.answer_ends = drip, first, answer_ends
        self.selector, self.open, self.done = selectors.DefaultSelector(), {}, threading.Event()
        self.counts = {'begun': 0, 'ended by the server': 0, 'left': 0, 'refused': 0}
        self.most = 0

    def connect(self):
        s = socket.socket()
        s.setblocking(False)
        try:
            s.bind(('127.0.%d.%d' % (self.network, 1 + self.counts['begun'] % 8), 0))
            s.connect_ex(('127.0.0.1', self.port))
        except OSError:
            s.close()
            self.counts['refused'] += 1
            return
        self.counts['begun'] += 1
        self.open[s] = [False, 0]
        self.selector.register(s, selectors.EVENT_READ)

    def leave(self, s, how):
        self.selector.unregister(s)
        del self.open[s]
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')  # no state is left of so many
        s.close()
        self.counts[how] += 1

    def run(self):
        tick = 0.05
        while not self.done.wait(tick):
            for _ in range(max(1, int(self.per_second * tick))):
                if len(self.open) < self.size:
                    self.connect()
            self.most = max(self.most, len(self.open))
            for s, state in list(self.open.items()):
                try:
                    if not state[0]:
                        s.send(self.first)
                        state[0] = True
                    elif self.drip:
                        s.send(self.drip[state[1] % len(self.drip):][:1])
                        state[1] += 1
                except BlockingIOError:
                    pass
                except OSError:
                    if state[0]:
                        self.leave(s, 'ended by the server')
            for key, _ in self.selector.select(0):
                s = key.fileobj
                try:
                    if s.recv(65536) and not self.answer_ends:
                        continue
                    self.leave(s, 'left' if self.answer_ends else 'ended by the server')
                except BlockingIOError:
                    pass
                except OSError:
                    self.leave(s, 'ended by the server')
        for s in list(self.open):
            self.leave(s, 'left')


class Fleet(threading.Thread):
    """One kind of endpoints, attesting in rounds until the time is over."""

    def __init__(self, soak, name, host, until, options, seconds=20):
        super().__init__(daemon=True)
        self.soak, self.kind, self.host, self.until, self.options, self.seconds = soak, name, host, until, options, seconds
        self.total = {'rounds': 0, 'attestations': 0, 'verdicts': {}, 'failures': {}, 'disturbers': {}, 'wrong': 0}
        self.trouble = []

    def run(self):
        seed = 0
        while (left := self.until - time.monotonic()) > 1:
            seed += 1
            ran = subprocess.run([self.soak.fleet_program, 'run', self.soak.at(self.kind), '--server', '%s:%d' % (self.host, self.soak.port),
                                  '--duration', '%.1f' % min(left, self.seconds), '--seed', str(seed), '--threads', '1', '--json', *self.options],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
            try:
                report = json.loads(ran.stdout)
            except ValueError:
                self.trouble.append('gatehouse-fleet ended with %d: %s' % (ran.returncode, ran.stderr[-2000:]))
                return
            if REPORTS.search(ran.stderr):
                self.trouble.append('gatehouse-fleet: ' + ran.stderr[-4000:])
            self.total['rounds'] += 1
            for key in ('attestations', 'wrong'):
                self.total[key] += report.get(key, 0)
            for key in ('verdicts', 'failures', 'disturbers'):
                for what, n in report.get(key, {}).items():
                    self.total[key][what] = self.total[key].get(what, 0) + n


class Soak:
    def __init__(self, options):
        self.gatehouse = os.path.abspath(os.path.join(options.binaries, 'gatehouse'))
        self.fleet_program = os.path.abspath(os.path.join(options.binaries, 'gatehouse-fleet'))
        self.folder, self.seconds = options.folder, options.minutes * 60
        self.trouble, self.resident, self.connections = [], [], []

    def at(self, name):
        return os.path.join(self.folder, name)

    def say(self, text):
        print('soak: ' + text, file=sys.stderr, flush=True)

    def prepare(self):
        with open(self.at('sums'), 'w', encoding='ascii') as sums:
            for n in range(FILES):
                sums.write('%s  /usr/bin/tool-%d\n' % (hashlib.sha256(b'%d' % n).hexdigest(), n))
        run(self.gatehouse, 'refdb', 'ingest', '--refdb', self.at('refdb'), '--product', PRODUCT, 'sha256sums:' + self.at('sums'))
        fleets = {'honest': (24, 300, 20, 8), 'kept': (16, 300, 20, 3000), 'bad': (24, 300, 20, 8), 'strangers': (4, 100, 10, 8),
                  'large': (2, 30_000, 27_000, 8)}
        for name, (endpoints, files, unknown, more) in fleets.items():
            run(self.fleet_program, 'make', self.at(name), '--endpoints', str(endpoints), '--ak', 'ecc', '--images', '2', '--bios', '60', '--ima', str(files),
                '--unknown', str(unknown), '--more', str(more), '--refdb', self.at('refdb'), '--product', PRODUCT)
        run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', self.at('server.key'),
            '-out', self.at('server.pem'), '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '2')
        with open(self.at('ca.pem'), 'w', encoding='ascii') as out:
            for name in fleets:
                out.write(pathlib.Path(self.at(name), 'ca.pem').read_text(encoding='ascii'))
        ports = []
        for _ in range(2):
            with socket.socket() as s:
                s.bind(('127.0.0.1', 0))
                ports.append(s.getsockname()[1])
        self.port, self.metrics = ports
        with open(self.at('gatehouse.toml'), 'w', encoding='ascii') as config:
            # What came before is kept in so little that all of it is full before memory is looked at.
            config.write('[pt_tls]\nlisten = ["127.0.0.1:%d", "[::1]:%d"]\ncertificate = "server.pem"\nkey = "server.key"\nclient_ca = "ca.pem"\n'
                         '[refdb]\npath = "refdb"\n[state]\npath = "state"\nkeep_evidence = "none"\n[server]\nidle_seconds = 5\nproved_evidence_mb = 16\n'
                         '[metrics]\nlisten = "127.0.0.1:%d"\n' % (self.port, self.port, self.metrics))
        os.mkdir(self.at('state'))
        for name in fleets:
            if name != 'strangers':
                run(self.gatehouse, 'device', 'import', '--state', self.at('state'), os.path.join(self.at(name), 'devices.jsonl'))

    def start(self):
        self.log = open(self.at('server.log'), 'w', encoding='ascii')
        self.server = subprocess.Popen([self.gatehouse, 'serve', '--config', self.at('gatehouse.toml')], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=self.log)
        until = time.monotonic() + 120
        while True:
            try:
                return socket.create_connection(('127.0.0.1', self.port)).close()
            except OSError:
                if self.server.poll() is not None or time.monotonic() > until:
                    sys.exit('the server doesn\'t start:\n' + pathlib.Path(self.at('server.log')).read_text(encoding='utf-8', errors='replace')[-4000:])
                time.sleep(0.1)

    def look(self):
        with open('/proc/%d/statm' % self.server.pid, encoding='ascii') as file:
            self.resident.append(int(file.read().split()[1]) * resource.getpagesize())
        try:
            with urllib.request.urlopen('http://127.0.0.1:%d/metrics' % self.metrics, timeout=60) as answer:
                text = answer.read().decode()
            self.connections.append(sum(float(n) for n in re.findall(r'^gatehouse_connections\{[^}]*\} (\S+)$', text, re.M)))
        except OSError as e:
            self.trouble.append('the metrics can\'t be read: %s' % e)

    def load(self):
        until = time.monotonic() + self.seconds
        hello = client_hello()
        honest = ['--ca', self.at('server.pem'), '--timeout', '300']
        # Another assessment on a kept connection is one each ten seconds, after a few at once.
        self.fleets = [
            Fleet(self, 'honest', 'localhost', until, [*honest, '--concurrency', '4']),
            Fleet(self, 'kept', 'localhost', until, [*honest, '--keep', '--grow', '1', '--concurrency', '16', '--rate', '1.2'], 120),
            Fleet(self, 'large', 'localhost', until, [*honest, '--concurrency', '1']),
            Fleet(self, 'bad', '127.0.0.1', until, ['--concurrency', '12', '--timeout', '30', '--changed', '0.2', '--forged', '0.2', '--slow', '0.1',
                                                    '--stalled', '0.15', '--vanishing', '0.25']),
            Fleet(self, 'strangers', '127.0.0.1', until, ['--concurrency', '1', '--timeout', '300'])]
        self.crowds = [
            Crowd('silent', self.port, 600, 2, 100),
            Crowd('dripping', self.port, 40, 3, 10, drip=hello),
            Crowd('half a handshake', self.port, 20, 4, 20, first=hello, answer_ends=True),
            Crowd('no TLS', self.port, 10, 5, 10, first=b'GET / HTTP/1.1\r\n\r\n')]
        for one in self.fleets + self.crowds:
            one.start()
        told, reloaded = time.monotonic(), time.monotonic()
        while time.monotonic() < until and self.server.poll() is None:
            time.sleep(min(2, max(0.1, until - time.monotonic())))
            self.look()
            if time.monotonic() - reloaded > 45:
                reloaded = time.monotonic()
                self.server.send_signal(signal.SIGHUP)
            if time.monotonic() - told > 60:
                told = time.monotonic()
                self.say('%d s left, %d MiB resident, %d connections, %d honest attestations' % (
                    until - told, self.resident[-1] >> 20, self.connections[-1] if self.connections else -1, sum(f.total['attestations'] for f in self.fleets[:3])))
        for fleet in self.fleets:
            fleet.join()
        for crowd in self.crowds:
            crowd.done.set()
            crowd.join()

    def stop(self):
        alive = self.server.poll() is None
        if alive:
            self.server.send_signal(signal.SIGTERM)
        try:
            code = self.server.wait(180)
        except subprocess.TimeoutExpired:
            self.server.kill()
            code = 'nothing within 180 s'
        self.log.close()
        if not alive or code != 0:
            self.trouble.append('the server ended %s with %s' % ('when asked to' if alive else 'by itself', code))

    def judge(self):
        with open(self.at('server.log'), encoding='utf-8', errors='replace') as log:
            reports = [line.strip() for line in log if REPORTS.search(line)]
        self.trouble += ['the server\'s log: ' + line for line in reports[:20]]
        for fleet in self.fleets:
            self.trouble += fleet.trouble
            t = fleet.total
            if t['wrong']:
                self.trouble.append('%s: %d that don\'t deserve it were allowed' % (fleet.kind, t['wrong']))
            if fleet.kind == 'strangers':
                if 'allow' in t['verdicts']:
                    self.trouble.append('strangers were allowed')
            elif fleet.kind != 'bad':
                failures = {why: n for why, n in t['failures'].items() if why != LATE}
                if failures or set(t['verdicts']) != {'allow'}:
                    self.trouble.append('%s: %s, failures %s' % (fleet.kind, t['verdicts'], failures))
        # Once everything has been there for a while nothing more is taken.
        quarter = len(self.resident) // 4
        if quarter >= 5:
            before, after = (statistics.median(self.resident[n * quarter:(n + 1) * quarter]) for n in (1, 3))
            self.growth = after - before
            if after > 1.2 * before + (32 << 20):
                self.trouble.append('memory grows: %d MiB in the second quarter, %d MiB in the last' % (before / 2**20, after / 2**20))

    def report(self):
        return {'seconds': self.seconds, 'fleets': {f.kind: f.total for f in self.fleets}, 'crowds': {c.crowd: dict(c.counts, most=c.most) for c in self.crowds},
                'resident_mib': [round(r / 2**20) for r in (self.resident[0], statistics.median(self.resident), max(self.resident), self.resident[-1])] if self.resident else [],
                'connections_most': max(self.connections, default=0), 'trouble': self.trouble}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--binaries', required=True)
    parser.add_argument('--minutes', type=float, default=60)
    parser.add_argument('--folder', help='made anew; default: a temporary one, kept where something was wrong')
    options = parser.parse_args()
    temporary = options.folder is None
    if temporary:
        options.folder = tempfile.mkdtemp(prefix='gatehouse-soak-')
    else:
        options.folder = os.path.abspath(options.folder)
        shutil.rmtree(options.folder, True)
        os.makedirs(options.folder)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    random.seed(1)
    soak = Soak(options)
    soak.say('making fleets in ' + options.folder)
    soak.prepare()
    soak.start()
    try:
        soak.load()
    finally:
        soak.stop()
    soak.judge()
    print(json.dumps(soak.report(), indent=1))
    if soak.trouble:
        sys.exit('\n'.join(soak.trouble))
    if temporary:
        shutil.rmtree(options.folder)


if __name__ == '__main__':
    main()
