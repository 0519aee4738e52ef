#!/usr/bin/env python3
"""The benchmarks' report: values and goals of what was measured, and a reason for what wasn't."""
import json, os, subprocess, sys, tempfile, unittest
import xml.etree.ElementTree as ElementTree

REPORT = os.environ['GATEHOUSE_REPORT']
sys.path.insert(0, REPORT)
import plot, report


def roofline(total, physical=1000.0):
    return {'sum_us': total, 'physical_us': physical, 'bare_server_us': 1.3 * total, 'primitives_us': {'tls_handshake': total - 100, 'quote': 100.0}}


def cost(mutual, kept, password, machine=1.0):
    """A round on a machine that is so much slower."""
    return {'mutual_us': machine * mutual, 'kept_us': machine * kept, 'password_us': machine * password,
            'roofline_mutual': roofline(machine * 2000, machine * 1000), 'roofline_server': roofline(machine * 1000), 'roofline_kept': roofline(machine * 500)}


SERVER = {
    'scale': 'full', 'not_measured': {'overload': 'gatehouse-fleet run ended with 4'},
    'cost': [cost(2400, 700, 1500), cost(2400, 700, 1500, 1.7), cost(2600, 800, 1500)],
    'sweep': [{'concurrency': c, 'rate': 300.0 * c / (c + 1), 'spread': 0.1, 'p50_ms': 2.0 * c, 'p90_ms': 3.0 * c, 'p99_ms': 5.0 * c, 'server_cpu_us': 2400.0,
               'fleet_cpu_us': 1500.0} for c in (1, 2, 4, 8)],
    'connected': {'endpoints': 10_000, 'connections': 10_000, 'attestations': 20_000, 'verdicts': {'allow': 20_000}, 'failures': {}, 'wrong': 0, 'seconds': 50.0,
                  'resident_bytes': {'before': 1, 'at_rest': 2}, 'bytes_a_connection': 35 * 1024},
    'fairness': {'active': 100, 'others': {'idle': 3300, 'stalled': 1300, 'slow': 300}, 'connections': 4900, 'alone_p99_ms': [100.0, 100.0, 110.0, 90.0],
                 'beside_p99_ms': [150.0, 210.0, 230.0]},
    'references': {'few': 100_000, 'many': 10_000_000, 'rounds': [{'few_us': 2000.0, 'many_us': 2200.0}] * 3},
    'judged_again': {'sessions': 1000, 'rounds': [{'seconds': s, 'cpu_seconds': 9.0} for s in (6.0, 61.0, 7.5)]},
    'radius_cost': [{'pt_tls_us': 2000.0, 'radius_us': 2800.0, 'radius_large_us': 2400.0, 'radius_shared_us': 2600.0}, {'pt_tls_us': 4000.0, 'radius_us': 5600.0, 'radius_large_us': 4400.0, 'radius_shared_us': 5200.0}, {'pt_tls_us': 2000.0, 'radius_us': 3100.0, 'radius_large_us': 2600.0, 'radius_shared_us': 2800.0}],
    'radius_waiting': {'endpoints': 3000, 'after_handshake': {'conversations': 3000, 'bytes_each': 30 * 1024}, 'half_way': {'conversations': 2900, 'bytes_each': 65 * 1024}},
    'radius_in_flight': {'endpoints': 10_000, 'most': 9990, 'verdicts': {'allow': 9999}, 'failures': {'no verdict in time': 1}, 'wrong': 0, 'repeated': 7, 'seconds': 60.0},
    'radius_lossy': {'attestations': 2000, 'verdicts': {'allow': 2000}, 'failures': {}, 'wrong': 0, 'repeated': 9000},
    'radius_overload': {'endpoints': 10_000, 'rounds': [{'limit': 100.0, 'goodput': 95.0}] * 3},
}


def benchmark(name, items, cpu=10.0):
    return [{'name': name + '_median', 'run_name': name, 'aggregate_name': 'median', 'cpu_time': cpu, 'real_time': cpu, 'time_unit': 'us', 'items_per_second': items},
            {'name': name + '_cv', 'run_name': name, 'aggregate_name': 'cv', 'cpu_time': 0.02, 'real_time': 0.02, 'time_unit': 'us'}]


MACHINE = {'cpu': 'A <CPU> & more', 'cores': 2, 'memory_gib': 4.0, 'instructions': ['sha_ni'], 'system': 'Debian', 'kernel': '6', 'load_average': [0.1, 0.1, 0.1]}
VERSIONS = {'gatehouse': 'gatehouse 0', 'commit': 'abc', 'changed': False, 'compiler': 'c++', 'openssl': 'OpenSSL', 'rocksdb': '7', 'onetbb': '2021'}


def made(parts, flags=(), previous=None, peer=None):
    return report.make_report(parts, MACHINE, set(flags), VERSIONS, previous, peer)


class Report(unittest.TestCase):
    def rows(self, *arguments, **more):
        return {row['key']: row for row in made(*arguments, **more)['rows']}

    def test_every_goal_of_the_table_is_a_row(self):
        keys = [row['key'] for row in made({})['rows']]
        self.assertEqual(keys, ['first', 'password', 'kept', 'physical', 'plane', 'plane_threads', 'plane_long', 'idle_memory', 'connected', 'fairness', 'overload',
                                'radius', 'radius_large', 'radius_shared', 'radius_memory', 'radius_in_flight', 'radius_lossy', 'radius_overload', 'verdicts', 'references', 'judged_again', 'state', 'answers'])

    def test_what_was_not_measured_says_why_and_meets_nothing(self):
        for row in self.rows({}).values():
            self.assertEqual((row['value'], row['met'], row['spread']), (None, None, None), row)
            self.assertTrue(row['not_measured'], row)
        self.assertEqual(self.rows({'server': SERVER})['overload']['not_measured'], 'gatehouse-fleet run ended with 4')
        self.assertEqual(self.rows({'micro': {'benchmarks': benchmark('parse_list', 1e6)}})['plane']['not_measured'], 'gatehouse-bench has no such benchmark')

    def test_ratios_are_of_one_round(self):
        rows = self.rows({'server': SERVER})
        # The round in which everything took 1.7 times as long counts like the others.
        self.assertEqual((rows['first']['value'], rows['first']['met'], rows['first']['spread']), (1.2, True, 0.083))
        self.assertIn('come to 1.300 of it', rows['first']['how'])
        self.assertEqual((rows['kept']['value'], rows['kept']['met']), (1.4, True))
        self.assertEqual((rows['physical']['value'], rows['physical']['met']), (2.0, True))
        self.assertEqual((rows['references']['value'], rows['references']['met']), (1.1, True))

    def test_goals_are_bounds(self):
        rows = self.rows({'server': SERVER})
        self.assertEqual((rows['fairness']['value'], rows['fairness']['met']), (2.1, False))
        self.assertEqual((rows['idle_memory']['value'], rows['idle_memory']['met']), (35.0, True))
        self.assertEqual((rows['connected']['value'], rows['connected']['met']), (0, True))
        self.assertEqual((rows['judged_again']['value'], rows['judged_again']['met'], rows['judged_again']['unit']), (7.5, True, 's'))
        lossy = json.loads(json.dumps(SERVER))
        lossy['connected'].update(verdicts={'allow': 19_998, 'isolate': 1}, failures={'no verdict in time': 1})
        self.assertEqual((self.rows({'server': lossy})['connected']['value'], self.rows({'server': lossy})['connected']['met']), (2, False))

    def test_gateways_have_rows_of_their_own(self):
        rows = self.rows({'server': SERVER})
        told = {key: (row['value'], row['met']) for key, row in rows.items() if key.startswith('radius')}
        self.assertEqual(told, {'radius': (1.4, True), 'radius_large': (1.2, True), 'radius_shared': (1.3, True), 'radius_memory': (65.0, False), 'radius_in_flight': (1, False), 'radius_lossy': (0, True),
                                'radius_overload': (0.95, True)})
        fewer = json.loads(json.dumps(SERVER))
        fewer['radius_in_flight']['endpoints'] = 9999
        fewer['radius_waiting']['endpoints'] = 300
        fewer['scale'] = 'quick'
        rows = self.rows({'server': fewer})
        self.assertEqual([rows[key]['met'] for key in ('radius_memory', 'radius_in_flight', 'radius_overload')], [None] * 3)
        failed = dict(SERVER, not_measured={'radius_cost': 'it ended'})
        del failed['radius_cost']
        self.assertEqual(self.rows({'server': failed})['radius']['not_measured'], 'it ended')

    def test_a_peer_is_compared_with_where_it_was_measured(self):
        self.assertIn('--peer-cpu-ms', self.rows({'server': SERVER})['password']['not_measured'])
        row = self.rows({'server': SERVER}, peer=72.0)['password']
        self.assertEqual((row['value'], row['met']), (0.0208, True))

    def test_smaller_sizes_meet_no_goal(self):
        small = json.loads(json.dumps(SERVER))
        small['connected'].update(endpoints=1000, connections=1000, verdicts={'allow': 2000})
        small['fairness']['others'] = {'idle': 10, 'stalled': 5, 'slow': 1}
        small['references']['many'] = 200_000
        small['judged_again']['sessions'] = 100
        rows = self.rows({'server': small})
        for key in ('connected', 'idle_memory', 'fairness', 'references', 'judged_again'):
            self.assertIsNotNone(rows[key]['value'])
            self.assertIsNone(rows[key]['met'])
            self.assertTrue(rows[key]['how'])

    def test_verdicts_that_differ_are_counted(self):
        verdicts = {'attestations': 100_000, 'entries': 14_000_000, 'verdicts': 600_000, 'differ': 0, 'seconds': 100.0}
        row = self.rows({'verdicts': verdicts})['verdicts']
        self.assertEqual((row['value'], row['met']), (0, True))
        self.assertIn('600,000', row['how'])
        row = self.rows({'verdicts': dict(verdicts, differ=1)})['verdicts']
        self.assertEqual((row['value'], row['met']), (1, False))
        self.assertIsNone(self.rows({'verdicts': dict(verdicts, attestations=5000)})['verdicts']['met'])

    def test_policy_and_state_store_are_held_against_attestations(self):
        asked = {'median_ms': 0.1, 'p99_ms': 0.4, 'most_ms': 3.0}
        state = {'session': {'cpu_us': [236.0, 115.0, 106.0], 'at_once': 16}, 'policy': {'cpu_us': [4.0, 5.0, 2.0], 'site_cpu_us': [20.0, 21.0, 22.0], 'site_groups': 100},
                 'many': {'devices': 1_000_000, 'results': 10_000_000, 'open_ms': 20.0, 'device_show': asked, 'session_show': dict(asked, p99_ms=60.0), 'session_list': asked}}
        rows = self.rows({'server': SERVER, 'state': state})
        self.assertEqual((rows['state']['value'], rows['state']['met']), (0.046, True))
        self.assertEqual((rows['answers']['value'], rows['answers']['met']), (60.0, False))
        state['many'].update(results=100_000, session_show=asked)
        rows = self.rows({'state': state})
        self.assertIn('store 115 us, policy 4.0 us (21.0 us with 100 groups)', rows['state']['not_measured'])
        self.assertEqual((rows['answers']['value'], rows['answers']['met']), (0.4, None))

    def test_the_evidence_plane_by_the_numbers_in_the_names(self):
        micro = {'benchmarks': [b for name, rate in (('evidence_plane/warm/entries:1732/threads:1', 7e6), ('evidence_plane/warm/entries:1732/threads:2', 13e6),
                                                     ('evidence_plane/warm/entries:100000/threads:1', 6.5e6)) for b in benchmark(name, rate)]}
        rows = self.rows({'micro': micro}, flags=['avx512bw'])
        self.assertEqual((rows['plane']['value'], rows['plane']['goal'], rows['plane']['met'], rows['plane']['spread']), (7_000_000, 'at least 6000000', True, 0.02))
        self.assertEqual((rows['plane_threads']['value'], rows['plane_threads']['met']), (1.857, True))
        self.assertEqual((rows['plane_long']['value'], rows['plane_long']['met']), (1.077, True))
        self.assertEqual(self.rows({'micro': micro})['plane']['goal'], 'at least 3000000')
        # Two threads needn't scale better than the bare primitives do on the machine, nor count as a core.
        for threads, rate in ((1, 20e6), (2, 30e6)):
            micro['benchmarks'] += benchmark('evidence_plane/primitives/threads:%d' % threads, rate)
        rows = self.rows({'micro': micro}, flags=['avx512bw'])
        self.assertEqual((rows['plane']['value'], rows['plane_threads']['value'], rows['plane_threads']['goal']), (7_000_000, 1.857, 'at least 1.425'))

    def test_a_previous_report_is_compared_with(self):
        before = made({'server': SERVER, 'micro': {'benchmarks': benchmark('parse', 1e6, 10.0)}})
        now = made({'server': SERVER, 'micro': {'benchmarks': benchmark('parse', 1e6, 12.0) + benchmark('new', 1e6)}}, previous=json.loads(json.dumps(before)))
        figures = {f['name']: f['ratio'] for f in now['previous']['figures']}
        self.assertEqual(figures['parse, CPU'], 1.2)
        self.assertEqual(figures['attestations/s, 4 at a time'], 1.0)
        self.assertNotIn('new, CPU', figures)
        self.assertNotIn('previous', made({}, previous={'format': 0}))

    def test_it_is_read(self):
        whole = made({'server': SERVER, 'micro': {'benchmarks': benchmark('parse', 1e6)}}, previous=made({'server': SERVER}))
        text = report.markdown(whole)
        table = [line for line in text.split('\n') if line.startswith('| server CPU for a first')]
        self.assertEqual(len(table), 2)  # among the goals, and against the previous report
        self.assertIn('| 1.2 | at most 1.25 | yes | 8 % |', table[0])
        self.assertIn('| not measured | at least 0.9 |', text)
        # Every line of a table has as many cells as its head.
        for block in text.split('\n\n'):
            cells = {line.count('|') for line in block.strip('\n').split('\n') if line.startswith('|')}
            self.assertLessEqual(len(cells), 1, block)

    def test_the_plot_is_well_formed(self):
        space = '{http://www.w3.org/2000/svg}'
        for sweep in (SERVER['sweep'], SERVER['sweep'][:1], [dict(SERVER['sweep'][0], p50_ms=0.0, p99_ms=0.0)]):
            root = ElementTree.fromstring(plot.throughput_and_latency(sweep, 'On <this> & that'))
            width, height = float(root.get('width')), float(root.get('height'))
            dots = root.findall(space + 'circle')
            self.assertEqual(len(dots), 3 * len(sweep))
            for dot in dots:
                self.assertTrue(0 < float(dot.get('cx')) < width and 0 < float(dot.get('cy')) < height)
            words = [text.text for text in root.findall(space + 'text')]
            for label in ('On <this> & that', 'attestations/s', 'latency, ms', 'attestations at a time', 'p50', 'p99'):
                self.assertIn(label, words)

    def test_the_program_makes_a_report_of_whatever_is_there(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, 'server.json'), 'w') as file:
                json.dump(SERVER, file)
            command = [sys.executable, '-B', os.path.join(REPORT, 'report.py'), '--folder', folder, '--binaries', folder]
            subprocess.run(command, check=True)
            with open(os.path.join(folder, 'report.json')) as file:
                first = json.load(file)
            self.assertEqual(first['scale'], 'full')
            self.assertEqual(first['roofline'][0]['sum_us'], 2000)
            os.rename(os.path.join(folder, 'report.json'), os.path.join(folder, 'previous.json'))
            subprocess.run(command, check=True)
            with open(os.path.join(folder, 'report.json')) as file:
                self.assertIn('previous', json.load(file))
            self.assertEqual(sorted(os.listdir(folder)), ['previous.json', 'report.json', 'report.md', 'server.json', 'throughput.svg'])
            self.assertNotEqual(subprocess.run(command + ['--previous', os.path.join(folder, 'server.json')], capture_output=True).returncode, 0)


if __name__ == '__main__':
    unittest.main()
