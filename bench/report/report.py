#!/usr/bin/env python3
"""Makes the benchmarks' report of what each of them printed: report.json, report.md and throughput.svg.

  report.py --folder build/bench [--previous FILE] [--peer-cpu-ms X]

Reads micro.json (gatehouse-bench), server.json (bench/server), store.json (gatehouse-store-bench), verdicts.json
(randomised_attestations), state.json (gatehouse-state-bench) and ingest.json (bench/ingest) in the folder; what isn't there is said to be not measured. A row's value is the median of the rounds'
values, where numerator and denominator were measured in the same round; its spread is (most - least) / median."""
import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import plot  # pylint: disable=wrong-import-position

FORMAT = 1  # of report.json; a report of another format isn't compared with


class Row:
    """One line of the table of goals."""

    def __init__(self, key, what, goal, unit=''):
        self.key, self.what, self.goal, self.unit = key, what, goal, unit
        self.value = self.spread = self.why_not = None
        self.how, self.comparable = '', True

    def rounds(self, values, how, digits=3):
        values = list(values)
        self.value, self.how = round(statistics.median(values), digits), how
        if len(values) > 1 and self.value:
            self.spread = round((max(values) - min(values)) / abs(self.value), 3)
        return self

    def one(self, value, how):
        self.value, self.how = value, how
        return self

    def not_measured(self, why):
        self.why_not = why
        return self

    def smaller(self, why):
        """Measured, but at another size than the goal's: neither met nor missed."""
        self.comparable = False
        self.how += '; ' + why
        return self

    @property
    def met(self):
        if self.value is None or not self.comparable:
            return None
        sense, bound = self.goal
        return self.value <= bound if sense == 'at most' else self.value >= bound if sense == 'at least' else self.value == bound

    def as_json(self):
        return {'key': self.key, 'what': self.what, 'value': self.value, 'unit': self.unit, 'goal': '%s %s' % self.goal, 'met': self.met, 'spread': self.spread,
                'how': self.how, 'not_measured': self.why_not}


def rows_of_server(server, peer_cpu_ms):
    """What bench/server measured; `server`: its object, or an empty one."""
    missing = server.get('not_measured', {})
    quick = server.get('scale') == 'quick'

    def given(part):
        return server.get(part)

    def absent(part):
        return missing.get(part) or 'bench/server has not run'

    first = Row('first', 'server CPU for a first attestation ÷ sum of the roofline', ('at most', 1.25))
    password = Row('password', "server-only TLS and a password ÷ strongSwan's lowest", ('at most', 0.025))
    kept = Row('kept', 'server CPU for a re-attestation on a kept connection ÷ sum of the roofline', ('at most', 1.5))
    physical = Row('physical', 'sum of the roofline ÷ physical, mutual TLS', ('at most', 2.2))
    if rounds := given('cost'):
        median = lambda name: statistics.median(r[name] for r in rounds)

        def bare(name, of=None):
            """What the primitives come to on the kernel's sockets with nothing else behind these: any server's least."""
            return "; on the kernel's sockets the same primitives alone come to %.3f of it" % statistics.median(r[name]['bare_server_us'] / (of or r[name]['sum_us']) for r in rounds)

        first.rounds((r['mutual_us'] / r['roofline_mutual']['sum_us'] for r in rounds),
                     '136 + 1,732 items, mutual TLS 1.3, ECDSA certificates, RSA AK, evidence not kept; %.0f us ÷ %.0f us, %d rounds interleaved%s' %
                     (median('mutual_us'), statistics.median(r['roofline_mutual']['sum_us'] for r in rounds), len(rounds), bare('roofline_mutual')))
        kept.rounds((r['kept_us'] / r['roofline_kept']['sum_us'] for r in rounds),
                    'a connection is kept, its first attestation taken off; %.0f us ÷ %.0f us, %d rounds interleaved%s' %
                    (median('kept_us'), statistics.median(r['roofline_kept']['sum_us'] for r in rounds), len(rounds), bare('roofline_kept')))
        physical.rounds((r['roofline_mutual']['sum_us'] / r['roofline_mutual']['physical_us'] for r in rounds), 'gatehouse-roofline of the same rounds')
        ours = 'ours: %.0f us, %.2f of the roofline for server-only TLS; the password by SCRAM-SHA-256' % (
            median('password_us'), statistics.median(r['password_us'] / r['roofline_server']['sum_us'] for r in rounds))
        if peer_cpu_ms:
            password.rounds((r['password_us'] / (peer_cpu_ms * 1000) for r in rounds),
                            '%s%s; the peer: %g ms, measured beside (--peer-cpu-ms)' % (ours, bare('roofline_server', peer_cpu_ms * 1000), peer_cpu_ms), 4)
        else:
            password.not_measured('the peer was not measured: --peer-cpu-ms; ' + ours)
    else:
        for row in (first, password, kept, physical):
            row.not_measured(absent('cost'))

    memory = Row('idle_memory', 'memory for each connected idle endpoint', ('at most', 36), 'KiB')
    all_at_once = Row('connected', '10,000 endpoints connected at once, all attested in turn: lost or wrong', ('exactly', 0))
    if c := given('connected'):
        lost = 2 * c['endpoints'] - c['verdicts'].get('allow', 0) + abs(c['connections'] - c['endpoints'])
        memory.one(round(c['bytes_a_connection'] / 1024, 1), "growth of the server's resident memory ÷ %d connections, each after two attestations" % c['connections'])
        all_at_once.one(lost, '%d endpoints on %d connections, two attestations each; failures: %s' % (c['endpoints'], c['connections'], c['failures'] or 'none'))
        if c['endpoints'] < 10_000:
            all_at_once.smaller('the goal is for 10,000')
            memory.smaller('what the allocator keeps weighs more with few connections')
    else:
        memory.not_measured(absent('connected'))
        all_at_once.not_measured(absent('connected'))

    fair = Row('fairness', 'p99 of 100 active endpoints while 4,900 others idle, stall or read slowly ÷ alone', ('at most', 2))
    if f := given('fairness'):
        alone = statistics.median(f['alone_p99_ms'])
        fair.rounds((p / alone for p in f['beside_p99_ms']), '%d active in a closed loop beside %s: p99 %.0f ms, alone before and after %.0f ms' %
                    (f['active'], ', '.join('%d %s' % (n, what) for what, n in f['others'].items()), statistics.median(f['beside_p99_ms']), alone), 2)
        if sum(f['others'].values()) < 4900:
            fair.smaller('the goal is for 4,900 others')
    else:
        fair.not_measured(absent('fairness'))

    over = Row('overload', 'goodput at 3 times the sustainable rate ÷ at the limit', ('at least', 0.9))
    if o := given('overload'):
        over.rounds((r['goodput'] / r['limit'] for r in o['rounds']), 'arrivals at three times %.0f/s by %d endpoints, on the processors that the server has, too' %
                    (statistics.median(r['limit'] for r in o['rounds']), o['endpoints']), 3)
        if quick:
            over.smaller('for some seconds only')
    else:
        over.not_measured(absent('overload'))

    size = Row('references', 'server CPU for an attestation with 10,000,000 references ÷ with 100,000', ('at most', 1.2))
    if s := given('references'):
        size.rounds((r['many_us'] / r['few_us'] for r in s['rounds']), 'first attestations, %s ÷ %s references; %.0f us ÷ %.0f us, %d rounds interleaved' %
                    ('{:,}'.format(s['many']), '{:,}'.format(s['few']), statistics.median(r['many_us'] for r in s['rounds']),
                     statistics.median(r['few_us'] for r in s['rounds']), len(s['rounds'])))
        if s['many'] < 10_000_000:
            size.smaller('the goal is for 10,000,000')
    else:
        size.not_measured(absent('references'))

    judged = Row('judged_again', '1,000 kept sessions judged again by policy test', ('at most', 60), 's')
    if j := given('judged_again'):
        judged.rounds((r['seconds'] for r in j['rounds']), '%s sessions of 136 + 1,732 items on all processors, %.1f s of CPU time' %
                      ('{:,}'.format(j['sessions']), statistics.median(r['cpu_seconds'] for r in j['rounds'])), 2)
        if j['sessions'] < 1_000:
            judged.smaller('the goal is for 1,000')
    else:
        judged.not_measured(absent('judged_again'))
    if quick:
        for row in (first, password, kept):
            row.how += '; few attestations a round' if row.value is not None else ''
    return [first, password, kept, physical], [memory, all_at_once, fair, over], [size, judged]


def rows_of_gateways(server):
    """What bench/server measured over RADIUS."""
    missing = server.get('not_measured', {})
    absent = lambda part: missing.get(part) or 'bench/server has not run'
    quick = server.get('scale') == 'quick'
    cost = Row('radius', 'first attestation over RADIUS ÷ over PT-TLS, server CPU, EAP packets of 1,024 bytes', ('at most', 1.5))
    large = Row('radius_large', 'the same with EAP packets of 3,072 bytes', ('at most', 1.5))
    shared = Row('radius_shared', 'the same with EAP packets of 1,024 bytes, where conversations of a gateway share its socket', ('at most', 1.5))
    for row, name in ((cost, 'radius_us'), (large, 'radius_large_us'), (shared, 'radius_shared_us')):
        if rounds := server.get('radius_cost'):
            median = lambda key: statistics.median(r[key] for r in rounds)
            row.rounds((r[name] / r['pt_tls_us'] for r in rounds), 'one server; %.0f us ÷ %.0f us, %d rounds interleaved%s' %
                       (median(name), median('pt_tls_us'), len(rounds), '; few attestations a round' if quick else ''))
        else:
            row.not_measured(absent('radius_cost'))

    memory = Row('radius_memory', 'memory for each conversation behind a gateway that waits', ('at most', 64), 'KiB')
    if w := server.get('radius_waiting'):
        each = {name: round(w[name]['bytes_each'] / 1024, 1) for name in ('after_handshake', 'half_way')}
        memory.one(max(each.values()), "growth of the server's resident memory ÷ conversations; after the handshake %.1f KiB of %d, half way through the evidence %.1f KiB of %d" %
                   (each['after_handshake'], w['after_handshake']['conversations'], each['half_way'], w['half_way']['conversations']))
        if w['endpoints'] < 2000:
            memory.smaller('what the allocator keeps weighs more with few conversations')
    else:
        memory.not_measured(absent('radius_waiting'))

    flight = Row('radius_in_flight', '10,000 EAP conversations in flight over RADIUS: lost or wrong', ('exactly', 0))
    if f := server.get('radius_in_flight'):
        flight.one(f['endpoints'] - f['verdicts'].get('allow', 0) + f['wrong'], '%s begun at once, %s open at the most, %.0f s, %s requests repeated; failures: %s' %
                   ('{:,}'.format(f['endpoints']), '{:,}'.format(f['most']), f['seconds'], '{:,}'.format(f['repeated']), f['failures'] or 'none'))
        if f['endpoints'] < 10_000:
            flight.smaller('the goal is for 10,000')
    else:
        flight.not_measured(absent('radius_in_flight'))

    lossy = Row('radius_lossy', 'verdicts lost over RADIUS where 5 % of the packets get lost each way and 5 % come late', ('exactly', 0))
    if f := server.get('radius_lossy'):
        lossy.one(f['attestations'] - f['verdicts'].get('allow', 0) + f['wrong'], '%s attestations, %s requests repeated; failures: %s' %
                  ('{:,}'.format(f['attestations']), '{:,}'.format(f['repeated']), f['failures'] or 'none'))
    else:
        lossy.not_measured(absent('radius_lossy'))

    over = Row('radius_overload', 'goodput over RADIUS at 3 times the sustainable rate ÷ at the limit', ('at least', 0.9))
    if o := server.get('radius_overload'):
        over.rounds((r['goodput'] / r['limit'] for r in o['rounds']), 'arrivals at three times %.0f/s by %d endpoints and as many gateways, on the processors that the server has, too' %
                    (statistics.median(r['limit'] for r in o['rounds']), o['endpoints']), 3)
        if quick:
            over.smaller('for some seconds only')
    else:
        over.not_measured(absent('radius_overload'))
    return [cost, large, shared, memory, flight, lossy, over]


def medians(micro):
    """Benchmarks by name: the median with its coefficient of variation."""
    out, variation = {}, {}
    for b in micro.get('benchmarks', []):
        name = b.get('run_name', b['name'])
        if b.get('aggregate_name') == 'median':
            out[name] = b
        elif b.get('aggregate_name') == 'cv':
            variation[name] = b.get('cpu_time')
    return out, variation


def rows_of_evidence_plane(micro, flags):
    """Of benchmarks that are named evidence_plane/…; those of one name but for a number of threads, or of entries, belong
    together: "threads:2", "entries:100000"."""
    found, variation = medians(micro)
    plane = {name: b['items_per_second'] for name, b in found.items() if name.startswith('evidence_plane/') and b.get('items_per_second')}
    wide = 'avx512bw' in flags
    core = Row('plane', 'evidence plane alone, items/s a core, warm cache', ('at least', 6_000_000 if wide else 3_000_000), 'items/s')
    threads = Row('plane_threads', 'evidence plane alone, items/s with 2 threads ÷ 1 thread', ('at least', 1.8))
    long = Row('plane_long', 'a 100,000-entry list, CPU per item ÷ that of a 1,732-entry list', ('at most', 1.1))

    def pair(what, one, other, of='pipeline'):
        """The first two benchmarks of the pipeline, or of the bare primitives, whose names differ in this number alone."""
        for name in sorted(plane):
            if ('primitives' in name) != (of == 'primitives'):
                continue
            twin = re.sub(r'\b%s:%d\b' % (what, one), '%s:%d' % (what, other), name)
            if twin != name and twin in plane:
                return name, twin
        return None

    single = {name: rate for name, rate in plane.items() if not re.search(r'\bthreads:([2-9]|\d\d)', name) and 'entries:100000' not in name and 'primitives' not in name}
    if single:
        best = max(single, key=single.get)
        core.one(round(single[best]), best)
        core.spread = variation.get(best) and round(variation[best], 3)
    if twins := pair('threads', 1, 2):
        threads.one(round(plane[twins[1]] / plane[twins[0]], 3), '%s ÷ %s' % (twins[1], twins[0]))
        if bare := pair('threads', 1, 2, 'primitives'):
            scale = plane[bare[1]] / plane[bare[0]]
            threads.goal = ('at least', round(min(1.8, 0.95 * scale), 3))
            threads.how += '; the bare primitives scale by %.3f' % scale
    if twins := pair('entries', 1732, 100000):
        long.one(round(plane[twins[0]] / plane[twins[1]], 3), '%s ÷ %s' % (twins[1], twins[0]))
        if bare := pair('entries', 1732, 100000, 'primitives'):
            long.how += '; the bare primitives: %.3f' % (plane[bare[0]] / plane[bare[1]])
    for row in (core, threads, long):
        if row.value is None:
            row.not_measured('gatehouse-bench has no such benchmark' if micro else 'gatehouse-bench has not run')
    return [core, threads, long]


def row_of_verdicts(verdicts):
    equal = Row('verdicts', 'verdicts that differ between 1, 2 and 8 threads, caches on and off', ('exactly', 0))
    if not verdicts:
        return equal.not_measured('randomised_attestations has not run')
    equal.one(verdicts['differ'], '{attestations:,} randomised attestations with {entries:,} entries, {verdicts:,} verdicts of graphs held against those without one'.format(**verdicts))
    return equal if verdicts['attestations'] >= 100_000 else equal.smaller('the goal is for 100,000 attestations')


def rows_of_state(state, server):
    """What gatehouse-state-bench measured, held against the attestations of the same run."""
    share = Row('state', 'policy and state store, CPU for a session ÷ server CPU for a first attestation', ('at most', 0.05))
    answers = Row('answers', 'device show, session show, session list of a device with 1,000,000 devices and 10,000,000 results: the slowest 99th percentile', ('at most', 50), 'ms')
    if not state:
        return [row.not_measured('gatehouse-state-bench has not run') for row in (share, answers)]
    session, policy = state['session'], state['policy']
    store_us, policy_us, site_us = (statistics.median(us) for us in (session['cpu_us'], policy['cpu_us'], policy['site_cpu_us']))
    parts = 'store %.0f us, policy %.1f us (%.1f us with %d groups)' % (store_us, policy_us, site_us, policy['site_groups'])
    if rounds := server.get('cost'):
        whole = statistics.median(r['mutual_us'] for r in rounds)
        share.rounds(((store + rules) / whole for store, rules in zip(session['cpu_us'], policy['cpu_us'])), '%s ÷ %.0f us; %d sessions at a time share writes' %
                     (parts, whole, session['at_once']))
    else:
        share.not_measured('bench/server has not run; alone: %s' % parts)
    if many := state.get('many'):
        asked = {name: many[name]['p99_ms'] for name in ('device_show', 'session_show', 'session_list')}
        answers.one(round(max(asked.values()), 2), '%s devices, %s results; %s; opened in %.0f ms' %
                    ('{:,}'.format(many['devices']), '{:,}'.format(many['results']), ', '.join('%s %.2f ms' % one for one in asked.items()), many['open_ms']))
        if many['devices'] < 1_000_000 or many['results'] < 10_000_000:
            answers.smaller('the goal is for 1,000,000 and 10,000,000')
    else:
        answers.not_measured('no store was filled')
    return [share, answers]


def goal_rows(parts, flags, peer_cpu_ms):
    server = parts.get('server') or {}
    costs, service, rest = rows_of_server(server, peer_cpu_ms)
    equal = row_of_verdicts(parts.get('verdicts'))
    return (costs + rows_of_evidence_plane(parts.get('micro') or {}, flags) + service + rows_of_gateways(server) + [equal] + rest +
            rows_of_state(parts.get('state'), server))


def said(*command):
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ''


def machine():
    info, out = {}, {}
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        for line in file:
            name, _, value = line.partition(':')
            info.setdefault(name.strip(), value.strip())
    with open('/proc/meminfo', encoding='ascii') as file:
        out['memory_gib'] = round(int(file.readline().split()[1]) / 2**20, 1)
    flags = set(info.get('flags', '').split())
    out.update({'cpu': info.get('model name', '?'), 'cores': len(os.sched_getaffinity(0)), 'mhz': info.get('cpu MHz'), 'kernel': platform.release(),
                'architecture': platform.machine(), 'instructions': sorted(flags & {'sha_ni', 'avx2', 'avx512bw', 'avx512vl', 'vaes'}),
                'load_average': [round(x, 2) for x in os.getloadavg()]})
    with open('/etc/os-release', encoding='utf-8') as file:
        out['system'] = next((line.split('=', 1)[1].strip().strip('"') for line in file if line.startswith('PRETTY_NAME=')), '?')
    return out, flags


def versions(binaries):
    packages = {'rocksdb': 'librocksdb-dev', 'onetbb': 'libtbb-dev', 'boost': 'libboost1.81-dev'}
    out = {'gatehouse': said(os.path.join(binaries, 'gatehouse'), '--version'), 'commit': said('git', 'rev-parse', '--short', 'HEAD'),
           'changed': bool(said('git', 'status', '--porcelain', '--untracked-files=no')), 'compiler': said('c++', '--version').split('\n')[0],
           'openssl': said('openssl', 'version')}
    out.update({name: said('dpkg-query', '-W', '-f', '${Version}', package) for name, package in packages.items()})
    return out


def compare(report, previous):
    """Every figure that both have: now, before, their ratio."""
    out = []

    def both(name, now, before, unit=''):
        if isinstance(now, (int, float)) and isinstance(before, (int, float)) and before:
            out.append({'name': name, 'now': now, 'before': before, 'ratio': round(now / before, 3), 'unit': unit})
    old_rows = {r['key']: r for r in previous['rows']}
    for row in report['rows']:
        both(row['what'], row['value'], old_rows.get(row['key'], {}).get('value'), row['unit'])
    old_micro = {b['name']: b for b in previous['micro']}
    for b in report['micro']:
        if old_micro.get(b['name'], {}).get('time_unit') == b['time_unit']:
            both(b['name'] + ', CPU', b['cpu_time'], old_micro[b['name']]['cpu_time'], b['time_unit'])
    old_sweep = {r['concurrency']: r for r in previous['sweep']}
    for row in report['sweep']:
        both('attestations/s, %d at a time' % row['concurrency'], row['rate'], old_sweep.get(row['concurrency'], {}).get('rate'), '/s')
    return out


def make_report(parts, machine_now, flags, versions_now, previous, peer_cpu_ms):
    found, variation = medians(parts.get('micro') or {})
    server = parts.get('server') or {}
    report = {'format': FORMAT, 'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'), 'machine': machine_now, 'versions': versions_now,
              'commit': versions_now['commit'], 'scale': server.get('scale'),
              'rows': [row.as_json() for row in goal_rows(parts, flags, peer_cpu_ms)],
              'micro': [{'name': name, 'cpu_time': b['cpu_time'], 'real_time': b['real_time'], 'time_unit': b['time_unit'], 'spread': variation.get(name),
                         'items_per_second': b.get('items_per_second')} for name, b in found.items()],
              'sweep': server.get('sweep') or [], 'server': server, 'store': parts.get('store'), 'state': parts.get('state'), 'ingest': parts.get('ingest')}
    report['roofline'] = [r[name] for r in (server.get('cost') or [])[-1:] for name in ('roofline_mutual', 'roofline_server', 'roofline_kept')]
    if previous is not None and previous.get('format') == FORMAT:
        report['previous'] = {'commit': previous['commit'], 'date': previous['date'], 'figures': compare(report, previous)}
    return report


def shown(value, unit=''):
    if value is None:
        return ''
    text = '{:,}'.format(value) if isinstance(value, int) else '%.4g' % value if abs(value) < 1000 else '{:,.0f}'.format(value)
    return text + (' ' + unit if unit else '')


def markdown(report):
    m, v, out = report['machine'], report['versions'], []
    line = lambda *texts: out.append(''.join(texts))
    table = lambda *cells: out.append('| ' + ' | '.join(cells) + ' |')
    line('# Benchmarks of commit ', v['commit'], ' with changes' if v['changed'] else '', '\n')
    line('%s, %s cores, %s GiB, %s; %s, Linux %s; load average %s. ' % (m['cpu'], m['cores'], m['memory_gib'], ', '.join(m['instructions']), m['system'], m['kernel'], m['load_average']),
         '%s; %s; %s; RocksDB %s; oneTBB %s. %s.' % (v['gatehouse'], v['compiler'], v['openssl'], v['rocksdb'], v['onetbb'], report['date']), '\n')
    if report['scale'] == 'quick':
        line('A quick run: it shows that everything works. Its figures are no figures to compare.\n')
    line('## Goals\n')
    line('Medians of interleaved rounds; the spread is (most − least) ÷ median. How each is measured: docs/performance.md.\n')
    table('what', 'value', 'goal', 'met', 'spread', 'how measured')
    table(*['---'] * 6)
    for r in report['rows']:
        met = {True: 'yes', False: 'no', None: ''}[r['met']]
        table(r['what'], 'not measured' if r['value'] is None else shown(r['value'], r['unit']), r['goal'], met, '' if r['spread'] is None else '%.0f %%' % (100 * r['spread']),
              r['not_measured'] or r['how'])
    if report['sweep']:
        line('\n## Throughput and latency\n')
        line('First attestations by so many endpoints at a time, client and server on the same processors.\n')
        line('![Throughput and latency against concurrency](throughput.svg)\n')
        table('at a time', 'attestations/s', 'spread', 'p50 ms', 'p90 ms', 'p99 ms', 'server CPU us', 'client CPU us')
        table(*['---'] * 8)
        for r in report['sweep']:
            table(str(r['concurrency']), shown(r['rate']), '%.0f %%' % (100 * r['spread']), *[shown(r[p + '_ms']) for p in ('p50', 'p90', 'p99')],
                  shown(r['server_cpu_us']), shown(r['fleet_cpu_us']))
    if report['roofline']:
        line('\n## Roofline, the last round\n')
        primitives = list(report['roofline'][0]['primitives_us'])
        table('us', *primitives, 'sum', 'physical')
        table(*['---'] * (len(primitives) + 3))
        for name, r in zip(('mutual TLS', 'server-only TLS', 'kept connection'), report['roofline']):
            table(name, *[shown(r['primitives_us'][p]) for p in primitives], shown(r['sum_us']), shown(r['physical_us']))
    if report['micro']:
        line('\n## Parts\n')
        table('benchmark', 'CPU', 'spread (cv)', 'items/s')
        table(*['---'] * 4)
        for b in report['micro']:
            table(b['name'], shown(b['cpu_time'], b['time_unit']), '' if b['spread'] is None else '%.1f %%' % (100 * b['spread']), shown(b['items_per_second']))
    if s := report['store']:
        line('\n## Reference store\n')
        line('%s files: %s references/s, %s bytes each, opened in %s ms, hot lookup %s ns, miss %s ns; a day\'s changes %s s of %s s.' %
             tuple(shown(s[k]) for k in ('files', 'references_per_s', 'bytes_per_reference', 'open_ms', 'hot_ns', 'miss_ns', 'delta_s', 'insert_s')))
    if i := report['ingest']:
        line('\n## Ingestion\n')
        table('what', 'value', 'goal', 'met')
        table(*['---'] * 4)
        for g in i['goals']:
            table('%s: %s' % (g['part'], g['figure'].replace('_', ' ')), shown(g['value']), g['goal'], 'yes' if g['met'] else 'no')
        for skipped in i.get('skipped', []):
            line('\nNot measured: ', skipped)
    if p := report.get('previous'):
        line('\n## Against commit %s of %s\n' % (p['commit'], p['date']))
        line('Between two runs a machine drifts: take the ratios among the goals for what they are, and times with care.\n')
        table('what', 'now', 'before', 'now ÷ before')
        table(*['---'] * 4)
        for f in p['figures']:
            table(f['name'], shown(f['now'], f['unit']), shown(f['before'], f['unit']), '%.3f' % f['ratio'])
    return '\n'.join(out) + '\n'


def load(path):
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except ValueError as error:
        print('%s: %s' % (path, error), file=sys.stderr)
        return None


def write(path, text):
    with open(path + '.new', 'w', encoding='utf-8') as file:
        file.write(text)
    os.replace(path + '.new', path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', default='build/bench')
    parser.add_argument('--binaries', default='build/release/bin')
    parser.add_argument('--previous', help='a report.json to compare with; default: previous.json in the folder, if there')
    parser.add_argument('--peer-cpu-ms', type=float, help="strongSwan's CPU time for the same attestation, measured beside")
    options = parser.parse_args()
    at = lambda name: os.path.join(options.folder, name)
    previous = load(options.previous or at('previous.json'))
    if options.previous and (previous is None or previous.get('format') != FORMAT):
        sys.exit('%s: no report of this format' % options.previous)
    parts = {name: load(at(name + '.json')) for name in ('micro', 'server', 'store', 'verdicts', 'state', 'ingest')}
    now, flags = machine()
    report = make_report(parts, now, flags, versions(options.binaries), previous, options.peer_cpu_ms)
    write(at('report.json'), json.dumps(report, indent=1) + '\n')
    write(at('report.md'), markdown(report))
    if report['sweep']:
        write(at('throughput.svg'), plot.throughput_and_latency(report['sweep'], 'First attestations, %s, commit %s' % (now['cpu'], report['commit'])))


if __name__ == '__main__':
    main()
