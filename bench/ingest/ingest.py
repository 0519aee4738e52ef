"""What ingestion costs beside what it has to cost: real Debian packages, RPM packages by their headers, a repository again
and after a day. Ratios of interleaved rounds, by the clock and by processor time; medians. scripts/bench.sh runs it.
Packages come from the mirror of apt, once; without a network, and without rpmbuild, what needs them is left out and said."""
import argparse, hashlib, json, os, random, resource, shutil, statistics, subprocess, sys, time
from email.utils import formatdate

PRODUCT = 'Debian x86_64'
JOBS = 2


def say(text):
    print(text, file=sys.stderr, flush=True)


# Packages: a sample of the distribution

def paragraphs(text):
    for paragraph in text.split('\n\n'):
        fields = dict(line.split(': ', 1) for line in paragraph.split('\n') if ': ' in line and line[0] != ' ')
        if fields:
            yield fields, paragraph


def sample(megabytes):
    """Of all that Debian has as many packages as that takes, in an order that has nothing to do with what is in them."""
    indexes = subprocess.run(['apt-get', 'indextargets', '--format', '$(FILENAME)', 'Created-By: Packages', 'Origin: Debian'], check=True,
                             capture_output=True, text=True).stdout.split()
    newest = {}
    for index in indexes:
        text = subprocess.run(['/usr/lib/apt/apt-helper', 'cat-file', index], check=True, capture_output=True, text=True).stdout
        for fields, paragraph in paragraphs(text):
            newest[fields['Package']] = (fields, paragraph)  # security updates come last in apt's list, as in the release
    out, size = [], 0
    for name in sorted(newest, key=lambda name: hashlib.sha256(name.encode()).digest()):
        fields, paragraph = newest[name]
        # One of those would be the whole sample.
        if int(fields['Size']) > megabytes * 100_000:
            continue
        out.append((fields, paragraph))
        size += int(fields['Size'])
        if size >= megabytes * 1_000_000:
            return out
    return []


def download(folder, chosen):
    """The packages as files; an empty list where they can't be had."""
    os.makedirs(folder, exist_ok=True)
    def path(fields):
        return os.path.join(folder, '%s_%s_%s.deb' % (fields['Package'], fields['Version'].replace(':', '%3a'), fields['Architecture']))
    missing = ['%s=%s' % (fields['Package'], fields['Version']) for fields, _ in chosen if not os.path.exists(path(fields))]
    for at in range(0, len(missing), 50):
        say('fetching packages: %d of %d' % (at, len(missing)))
        subprocess.run(['apt-get', '-qq', '-o', 'APT::Sandbox::User=root', 'download', *missing[at:at + 50]], cwd=folder, check=False)
    files = [path(fields) for fields, _ in chosen]
    return files if all(os.path.exists(file) for file in files) else []


# Measuring

class Run:
    """What one command took, with all that it started."""

    def __init__(self, command, code=0, **options):
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **options)
        self.wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if ran.returncode != code:
            sys.exit('%s: exit code %d: %s' % (' '.join(command[:4]), ran.returncode, ran.stderr.decode()[-500:]))
        self.out = ran.stdout


def interleaved(rounds, ways):
    """Each way once a round, in another order each time: lists of runs by name."""
    order, runs, number = list(ways), {name: [] for name in ways}, random.Random(1)
    for i in range(rounds):
        number.shuffle(order)
        for name in order:
            runs[name].append(ways[name]())
            say('round %d of %d, %s: %.2f s, CPU %.2f s' % (i + 1, rounds, name, runs[name][-1].wall, runs[name][-1].cpu))
    return runs


def figures(runs):
    return {name: {'wall_s': round(statistics.median(r.wall for r in some), 3), 'cpu_s': round(statistics.median(r.cpu for r in some), 3),
                   'spread': round((max(r.wall for r in some) - min(r.wall for r in some)) / statistics.median(r.wall for r in some), 3)}
            for name, some in runs.items()}


def ratio(runs, above, below, what='wall'):
    """The median of the rounds' ratios: what disturbs the machine for longer than a round disturbs both."""
    return round(statistics.median(getattr(a, what) / getattr(b, what) for a, b in zip(runs[above], runs[below])), 4)


class Bench:
    def __init__(self, binaries, folder, rounds):
        self.gatehouse, self.limits = os.path.join(binaries, 'gatehouse'), os.path.join(binaries, 'gatehouse-ingest-bench')
        self.folder, self.rounds = folder, rounds

    def path(self, name):
        return os.path.join(self.folder, name)

    def ingest(self, *arguments, fresh=True, store='store'):
        if fresh:
            shutil.rmtree(self.path(store), True)
        return Run([self.gatehouse, 'refdb', 'ingest', '--json', '--refdb', self.path(store), '--product', PRODUCT, '--jobs', str(JOBS), *arguments])

    def debs(self, files):
        listed, folder = self.path('debs.txt'), self.path('chosen')
        shutil.rmtree(folder, True)
        os.makedirs(folder)
        for file in files:
            os.symlink(file, os.path.join(folder, os.path.basename(file)))
        with open(listed, 'w', encoding='utf-8') as file:
            file.write('\n'.join(files) + '\n')
        pipeline = 'while read -r f; do dpkg-deb --fsys-tarfile "$f" | tar -xO | sha256sum; done < "$0"'
        runs = interleaved(self.rounds, {
            'ingest': lambda: self.ingest(folder, '--hash', 'sha256'),
            'no_sandbox': lambda: self.ingest('--no-sandbox', folder, '--hash', 'sha256'),
            'all_banks': lambda: self.ingest(folder),
            'limit': lambda: Run([self.limits, 'decode', '--json', '--jobs', str(JOBS), *files]),
            'pipeline': lambda: Run(['taskset', '-c', '0', 'sh', '-c', pipeline, listed]),
        })
        size = sum(os.path.getsize(file) for file in files)
        out = {'packages': len(files), 'bytes': size, 'files': json.loads(runs['ingest'][0].out)['files'], 'runs': figures(runs),
               'pipeline_by_ingest': ratio(runs, 'pipeline', 'ingest'), 'pipeline_by_ingest_cpu': ratio(runs, 'pipeline', 'ingest', 'cpu'),
               'ingest_by_limit': ratio(runs, 'ingest', 'limit'), 'ingest_by_limit_cpu': ratio(runs, 'ingest', 'limit', 'cpu'),
               'sandbox': ratio(runs, 'ingest', 'no_sandbox'), 'sandbox_cpu': ratio(runs, 'ingest', 'no_sandbox', 'cpu'),
               'all_banks_by_ingest': ratio(runs, 'all_banks', 'ingest')}
        out['mb_per_s'] = round(size / 1e6 / out['runs']['ingest']['wall_s'], 2)
        return out

    def rpms(self, folder):
        runs = interleaved(max(self.rounds, 5), {
            'ingest': lambda: self.ingest(folder, '--hash', 'sha256'),
            'no_sandbox': lambda: self.ingest('--no-sandbox', folder, '--hash', 'sha256'),
            'limit': lambda: Run([self.limits, 'headers', '--json', '--jobs', str(JOBS), folder]),
        })
        report = json.loads(runs['ingest'][0].out)
        out = {'packages': report['packages'], 'files': report['files'], 'runs': figures(runs), 'ingest_by_limit': ratio(runs, 'ingest', 'limit'),
               'sandbox': ratio(runs, 'ingest', 'no_sandbox'), 'sandbox_cpu': ratio(runs, 'ingest', 'no_sandbox', 'cpu')}
        for name in ('ingest', 'no_sandbox', 'limit'):
            out[name + '_packages_per_s'] = round(report['packages'] / out['runs'][name]['wall_s'])
        return out

    def repository(self, chosen, files):
        """Two states of one: in the second a hundredth of the packages, of middling size, are others."""
        changed = max(1, round(len(chosen) / 100))
        mean = sum(int(fields['Size']) for fields, _ in chosen) / len(chosen)
        middling = sorted(range(len(chosen)), key=lambda i: abs(int(chosen[i][0]['Size']) - mean))[:2 * changed]
        old, new = set(middling[:changed]), set(middling[changed:])
        folder = self.path('repository')
        shutil.rmtree(folder, True)
        os.makedirs(folder + '/pool')
        for file in files:
            os.symlink(file, os.path.join(folder, 'pool', os.path.basename(file)))
        key = Key(self.path('key'))

        def publish(without, date):
            index = '\n\n'.join('\n'.join('Filename: pool/' + os.path.basename(files[i]) if line.startswith('Filename:') else line
                                          for line in paragraph.strip('\n').split('\n'))
                                for i, (_, paragraph) in enumerate(chosen) if i not in without) + '\n'
            key.sign(folder, 'dists/sample', index, date)
        arguments = ['--suite', 'sample', '--architecture', chosen_architecture(), '--keyring', key.keyring, 'apt:' + folder, '--hash', 'sha256']
        runs = {'first': [], 'again': [], 'delta': []}
        for i in range(self.rounds):
            publish(new, time.time() - 7200)
            runs['first'].append(self.ingest(*arguments))
            runs['again'].append(self.ingest(*arguments, fresh=False))
            publish(old, time.time() - 3600)
            runs['delta'].append(self.ingest(*arguments, fresh=False))
            say('repository, round %d of %d: %s' % (i + 1, self.rounds, ', '.join('%s %.2f s' % (n, r[-1].wall) for n, r in runs.items())))
        took = json.loads(runs['delta'][0].out)['packages']
        if took != len(new):
            sys.exit('%d packages changed, and %d taken' % (len(new), took))
        return {'packages': len(chosen) - len(new), 'changed': len(new), 'runs': figures(runs), 'again_by_first': ratio(runs, 'again', 'first'),
                'again_by_first_cpu': ratio(runs, 'again', 'first', 'cpu'), 'delta_by_first': ratio(runs, 'delta', 'first'),
                'delta_by_first_cpu': ratio(runs, 'delta', 'first', 'cpu')}


def chosen_architecture():
    return subprocess.run(['dpkg', '--print-architecture'], check=True, capture_output=True, text=True).stdout.strip()


class Key:
    """Signs repositories; made on the spot."""

    def __init__(self, home):
        shutil.rmtree(home, True)
        os.makedirs(home, 0o700)
        self.environment, self.keyring = dict(os.environ, GNUPGHOME=home, LC_ALL='C'), os.path.join(home, 'key.gpg')
        self.gpg('--passphrase', '', '--quick-gen-key', 'bench', 'ed25519', 'sign', 'never')
        with open(self.keyring, 'wb') as file:
            file.write(self.gpg('--export'))

    def gpg(self, *arguments, data=None):
        return subprocess.run(['gpg', '--batch', '--quiet', '--no-tty', '--yes', *arguments], input=data, env=self.environment, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout

    def sign(self, folder, suite, index, date):
        path = 'main/binary-%s/Packages' % chosen_architecture()
        release = ('Origin: Sample\nSuite: sample\nCodename: sample\nDate: %s\nArchitectures: %s\nComponents: main\nSHA256:\n %s %d %s\n' %
                   (formatdate(date, usegmt=True), chosen_architecture(), hashlib.sha256(index.encode()).hexdigest(), len(index.encode()), path))
        for name, content in ((path, index.encode()), ('InRelease', self.gpg('--clearsign', data=release.encode()))):
            full = os.path.join(folder, suite, name)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, 'wb') as file:
                file.write(content)

    def close(self):
        subprocess.run(['gpgconf', '--kill', 'all'], env=self.environment, check=False)


def make_rpms(folder, count):
    """Packages whose numbers of files are spread as a distribution's: half have no more than a dozen, some have thousands."""
    done = os.path.join(folder, 'made')
    if os.path.exists(done):
        return os.path.join(folder, 'RPMS', 'noarch')
    shutil.rmtree(folder, True)
    os.makedirs(folder)
    number, each = random.Random(1), 200
    for at in range(0, count, each):
        spec = ('Name: sample%d\nVersion: 1.%d\nRelease: 2\nSummary: a sample\nLicense: none\nBuildArch: noarch\nAutoReqProv: no\n%%description\na sample\n' %
                (at, at))
        files, script = '', 'cd %{buildroot}\n'
        for n in range(at, min(at + each, count)):
            spec += '%%package -n sample-part%d\nSummary: part %d\nAutoReqProv: no\n%%description -n sample-part%d\npart %d of many\n' % (n, n, n, n)
            many = min(int(number.lognormvariate(2.5, 1.6)) + 1, 4000)
            script += 'mkdir -p usr/share/sample%d; for i in $(seq %d); do echo "%d $i" > usr/share/sample%d/file-number-$i.py; done\n' % (n, many, n, n)
            files += '%%files -n sample-part%d\n/usr/share/sample%d\n' % (n, n)
        with open(os.path.join(folder, 'one.spec'), 'w', encoding='utf-8') as file:
            file.write(spec + '%install\n' + script + files)
        say('making RPM packages: %d of %d' % (at, count))
        subprocess.run(['rpmbuild', '-bb', '--quiet', '--define', '_topdir ' + folder, '--define', '_binary_payload w1.gzdio', '--define',
                        '__os_install_post %{nil}', '--define', '_build_id_links none', os.path.join(folder, 'one.spec')], check=True, capture_output=True)
    shutil.rmtree(os.path.join(folder, 'BUILDROOT'), True)
    with open(done, 'w', encoding='utf-8'):
        pass
    return os.path.join(folder, 'RPMS', 'noarch')


GOALS = (('deb', 'pipeline_by_ingest', 1.6, 'at least'), ('deb', 'ingest_by_limit', 1.15, 'at most'), ('deb', 'sandbox', 1.02, 'at most'),
         ('rpm', 'ingest_packages_per_s', 2000, 'at least'), ('repository', 'again_by_first', 0.02, 'at most'),
         ('repository', 'delta_by_first', 0.03, 'at most'))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--binaries', default='build/release/bin')
    parser.add_argument('--folder', default='build/bench/ingest', help='packages are kept in it')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--mb', type=int, default=320, help='of Debian packages')
    parser.add_argument('--rpms', type=int, default=2000, help='how many RPM packages')
    parser.add_argument('--parts', default='deb,rpm,repository')
    options = parser.parse_args()
    folder, parts = os.path.abspath(options.folder), options.parts.split(',')
    os.makedirs(folder, exist_ok=True)
    bench, report = Bench(os.path.abspath(options.binaries), folder, options.rounds), {}
    chosen = files = None
    if 'deb' in parts or 'repository' in parts:
        chosen = sample(options.mb)
        files = download(os.path.join(folder, 'debs'), chosen)
        if not files:
            say("skipped: ingestion of Debian packages: they can't be fetched from apt's mirror")
            report['skipped'] = ["Debian packages: can't be fetched from apt's mirror"]
    if files and 'deb' in parts:
        report['deb'] = bench.debs(files)
    if 'rpm' in parts:
        if shutil.which('rpmbuild'):
            report['rpm'] = bench.rpms(make_rpms(os.path.join(folder, 'rpms-%d' % options.rpms), options.rpms))
        else:
            say('skipped: ingestion of RPM packages: rpmbuild is not installed')
            report.setdefault('skipped', []).append('RPM packages: rpmbuild is not installed')
    if files and 'repository' in parts:
        report['repository'] = bench.repository(chosen, files)
    report['goals'] = [{'part': part, 'figure': figure, 'value': report[part][figure], 'goal': '%s %s' % (sense, goal),
                        'met': report[part][figure] >= goal if sense == 'at least' else report[part][figure] <= goal}
                       for part, figure, goal, sense in GOALS if part in report]
    shutil.rmtree(bench.path('store'), True)
    print(json.dumps(report))


if __name__ == '__main__':
    main()
