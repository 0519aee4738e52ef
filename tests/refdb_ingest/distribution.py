"""A distribution as reference, from the mirror that this machine installs from: 2 GB of its packages (--mb), the chain of
signatures from the archive's key on. Killed 20 times at random, the ingestion ends with the contents of one that nobody
disturbed, and answers for every file of every package, by path and by digest, as dpkg-deb, tarfile and hashlib say.
scripts/test.sh --long ingest runs it; packages are kept in the folder, and fetched once."""
import argparse, collections, concurrent.futures, fnmatch, hashlib, json, lzma, os, random, re, shutil, subprocess, sys, tarfile, threading, time
import urllib.request

SOURCES = '/etc/apt/sources.list.d/debian.sources'
# Signed by none of today's keys.
WRONG_KEYRING = '/usr/share/keyrings/debian-archive-removed-keys.gpg'
PRODUCT = 'Debian x86_64'
BANKS = ('sha1', 'sha256', 'sha384', 'sha512')
# As many of these, in order, as it takes.
PATTERNS = ('priority:required', 'priority:important', 'priority:standard', 'section:shells', 'section:httpd', 'section:vcs', 'section:interpreters',
            'section:perl', 'section:mail', 'section:editors', 'section:admin', 'section:database', 'section:web', 'section:net', 'section:libs', 'section:*')
KILLS = 20
# Of one question: more packages have an empty file.
MOST_MATCHES = 1000


def say(text):
    print(text, flush=True)


def need(condition, what):
    if not condition:
        sys.exit('distribution.py: ' + what)


class Mirror:
    """The first suite of the first entry in apt's own list."""

    def __init__(self, path):
        with open(path, encoding='utf-8') as file:
            stanza = file.read().split('\n\n')[0]
        fields = dict(line.split(': ', 1) for line in stanza.splitlines() if ': ' in line and not line.startswith('#'))
        self.url, self.suite = fields['URIs'].split()[0].rstrip('/'), fields['Suites'].split()[0]
        self.keyring = fields['Signed-By'].strip()
        self.architecture = subprocess.run(['dpkg', '--print-architecture'], check=True, capture_output=True, text=True).stdout.strip()

    def packages(self):
        url = '%s/dists/%s/main/binary-%s/Packages.xz' % (self.url, self.suite, self.architecture)
        with urllib.request.urlopen(url, timeout=60) as answer:
            text = lzma.decompress(answer.read()).decode()
        for paragraph in text.split('\n\n'):
            fields = dict(line.split(': ', 1) for line in paragraph.split('\n') if ': ' in line and line[0] != ' ')
            if fields:
                yield {name: fields.get(name, '') for name in ('Package', 'Version', 'Architecture', 'Section', 'Priority', 'Size', 'SHA256')}


def takes(pattern, package):
    kind, _, rest = pattern.partition(':')
    return fnmatch.fnmatchcase(package.get(kind.capitalize(), ''), rest)


def select(mirror, most):
    """Patterns, and the packages that they name: by digest, since some come under several."""
    packages, patterns, chosen, size = list(mirror.packages()), [], {}, 0
    for pattern in PATTERNS:
        if size >= most:
            break
        patterns.append(pattern)
        for package in packages:
            if takes(pattern, package) and package['SHA256'] not in chosen:
                chosen[package['SHA256']] = package
                size += int(package['Size'])
    return patterns, chosen, size


class Ingestion:
    def __init__(self, gatehouse, mirror, patterns, folder):
        self.gatehouse, self.mirror, self.patterns, self.folder = gatehouse, mirror, patterns, folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def command(self, refdb, cache, *more, keyring=None):
        out = [self.gatehouse, 'refdb', 'ingest', '--refdb', self.path(refdb), '--product', PRODUCT, '--json', '--cache', self.path(cache),
               '--suite', self.mirror.suite, '--architecture', self.mirror.architecture, '--keyring', keyring or self.mirror.keyring, *more]
        for pattern in self.patterns:
            out += ['--include', pattern]
        return out + ['apt:' + self.mirror.url]

    def run(self, *arguments, **options):
        """Exit code, report, and what it used with all that it started."""
        with subprocess.Popen(self.command(*arguments, **options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
            out = child.stdout.read()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        return child.returncode, json.loads(out or b'{}'), usage

    def stats(self, refdb):
        return json.loads(subprocess.run([self.gatehouse, 'refdb', 'stats', '--refdb', self.path(refdb), '--json'], check=True, capture_output=True).stdout)


def undisturbed(ingestion, chosen):
    """The report of a run that takes all, and how long its work takes where nothing is to be fetched."""
    shutil.rmtree(ingestion.path('undisturbed'), True)
    begun = time.monotonic()
    code, report, usage = ingestion.run('undisturbed', 'cache', '--keep-packages')
    need(code == 0, 'an undisturbed run fails: %s' % report.get('failed'))
    need(report['packages'] == len(chosen), '%d packages taken, the index has %d of them' % (report['packages'], len(chosen)))
    say('undisturbed: %d packages, %d files in %.0f s; the largest process had %d MiB' %
        (report['packages'], report['files'], time.monotonic() - begun, usage.ru_maxrss >> 10))
    need(usage.ru_maxrss < 512 << 10, 'more than 512 MiB in one process')
    return report, (usage.ru_utime + usage.ru_stime) / os.cpu_count()


def package_file(ingestion, digest, cache='cache'):
    return os.path.join(ingestion.path(cache), 'packages', digest[:2], digest)


def killed(ingestion, chosen, seconds, seed):
    """Kills runs until there were enough of them; one that ends before its time has come is compared and begun anew. Some
    of the packages come from the mirror again."""
    random_number = random.Random(seed)
    kills = 0
    while kills < KILLS:
        for name in ('killed', 'killed-cache'):
            shutil.rmtree(ingestion.path(name), True)
        for digest in sorted(chosen):
            if random_number.random() < 0.95:
                link = package_file(ingestion, digest, 'killed-cache')
                os.makedirs(os.path.dirname(link), exist_ok=True)
                os.link(package_file(ingestion, digest), link)
        while True:
            moment = random_number.uniform(0, 4 * seconds / KILLS) if kills < KILLS else None
            with subprocess.Popen(ingestion.command('killed', 'killed-cache'), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as child:
                try:
                    out, err = child.communicate(timeout=moment)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.communicate()
                    need(child.returncode == -9, 'killed, and ended with %d' % child.returncode)
                    kills += 1
                    say('killed after %.2f s (%d of %d)' % (moment, kills, KILLS))
                    continue
            need(child.returncode == 0, 'a run after %d kills fails: %s' % (kills, err.decode()))
            say('a run comes to its end after %d kills: %d packages' % (kills, json.loads(out)['packages']))
            break
        yield ingestion.stats('killed')


def named_in_scripts(path):
    """The absolute paths that a package's maintainer scripts name: links of alternatives and places of diverted files are
    among them."""
    out = set()
    with subprocess.Popen(['dpkg-deb', '--ctrl-tarfile', path], stdout=subprocess.PIPE) as child:
        with tarfile.open(fileobj=child.stdout, mode='r|') as tar:
            for member in tar:
                if member.isfile() and os.path.basename(member.name) in ('config', 'postinst', 'postrm', 'preinst', 'prerm'):
                    out.update(re.findall(r'/[\w.+/@:~-]+', tar.extractfile(member).read().decode('utf-8', 'replace')))
        child.stdout.read()
    return {at(name) for name in out}


def files_of(path):
    """Package, version, architecture, name and digests of each file, and what its scripts name, without anything of ours."""
    def control(field):
        return subprocess.run(['dpkg-deb', '--field', path, field], check=True, capture_output=True, text=True).stdout.strip()
    files, by_name = [], {}
    with subprocess.Popen(['dpkg-deb', '--fsys-tarfile', path], stdout=subprocess.PIPE) as child:
        with tarfile.open(fileobj=child.stdout, mode='r|', encoding='utf-8', errors='surrogateescape') as tar:
            for member in tar:
                name = '/' + member.name.removeprefix('.').lstrip('/')
                if member.islnk():
                    digests = by_name['/' + member.linkname.removeprefix('.').lstrip('/')]
                elif member.isfile():
                    hashers = [hashlib.new(bank) for bank in BANKS]
                    content = tar.extractfile(member)
                    while piece := content.read(1 << 18):
                        for hasher in hashers:
                            hasher.update(piece)
                    digests = tuple(hasher.hexdigest() for hasher in hashers)
                else:
                    continue
                by_name[name] = digests
        child.stdout.read()
    files = list(by_name.items())
    return (control('Package'), control('Version'), control('Architecture')), files, named_in_scripts(path), child.returncode


def read_packages(ingestion, chosen):
    """By path who has it with which digests, by SHA-256 who has it where, and what scripts name."""
    by_path, by_digest, named, count = collections.defaultdict(list), collections.defaultdict(set), set(), 0
    paths = [package_file(ingestion, digest) for digest in sorted(chosen, key=lambda d: -int(chosen[d]['Size']))]
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        for digest, (package, files, names, code) in zip(sorted(chosen, key=lambda d: -int(chosen[d]['Size'])), pool.map(files_of, paths)):
            need(code == 0, 'dpkg-deb fails on %s' % digest)
            index = chosen[digest]
            need(package == (index['Package'], index['Version'], index['Architecture']), '%s is another package' % digest)
            count += len(files)
            named |= names
            for name, digests in files:
                by_path[name].append((package, digests))
                by_digest[digests[1]].add((package, name))
    return by_path, by_digest, named, count


def answers(ingestion, refdb, queries):
    """What the store answers to each, in order."""
    with subprocess.Popen([ingestion.gatehouse, 'refdb', 'lookup', '--refdb', ingestion.path(refdb), '--product', PRODUCT, '-'], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        def ask():
            with child.stdin:
                for query in queries:
                    child.stdin.write(os.fsencode(query) + b'\n')
        asking = threading.Thread(target=ask)
        asking.start()
        for query in queries:
            line = child.stdout.readline()
            need(line, 'no answer to %s' % ascii(query))
            yield query, json.loads(line)['matches']
        asking.join()
        need(child.stdout.read() == b'', 'more answers than questions')


def whose(match):
    return match['package'], match['version'], match['architecture']


# Where a kernel finds what a package has at its old place.
MERGED = ('/bin/', '/sbin/', '/lib/', '/lib64/', '/lib32/', '/libx32/')


def at(path):
    return '/usr' + path if path.startswith(MERGED) else path


def compare(ingestion, refdb, by_path, by_digest, named, signed):
    wrong, elsewhere = [], 0
    for path, matches in answers(ingestion, refdb, list(by_path)):
        found = {(whose(m), tuple(m['digests'].get(bank) for bank in BANKS)) for m in matches}
        for expected in by_path[path]:
            if expected not in found:
                wrong.append('%s of %s: %s' % (ascii(path), expected[0], matches[:3]))
        for m in matches:
            need(m['source'].startswith(signed[0]) and signed[1] in m['source'], 'not signed: %s' % m['source'])
    say('%d paths asked for' % len(by_path))
    for digest, matches in answers(ingestion, refdb, list(by_digest)):
        found = {(whose(m), at(m['path'])) for m in matches if not m['path'].startswith('/var/lib/dpkg/info/')}
        expected = {(package, at(path)) for package, path in by_digest[digest] if path.isascii()}
        complete = len(matches) < MOST_MATCHES
        # Under a name that no package has for it, a file is known where a script says so.
        more = {(package, path) for package, path in found - expected if path.isascii() and '\\' not in path}
        elsewhere += len(more)
        if not found or (complete and not expected <= found) or any(path not in named for _, path in more):
            wrong.append('%s: %s' % (digest, sorted(expected ^ found)[:3]))
    say('%d digests asked for, %d files known by other names, too' % (len(by_digest), elsewhere))
    need(not wrong, '%d wrong answers: %s' % (len(wrong), '; '.join(wrong[:5])))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--gatehouse', required=True)
    parser.add_argument('--folder', required=True, help='packages are kept in it')
    parser.add_argument('--mb', type=int, default=int(os.environ.get('GATEHOUSE_LONG_INGEST_MB', 2000)), help='of packages, at least')
    parser.add_argument('--seed', type=int, default=int(time.time()))
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    mirror = Mirror(SOURCES)
    # Apart: the memory of whoever starts an ingestion counts as the ingestion's at first.
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        patterns, chosen, size = pool.submit(select, mirror, options.mb * 1_000_000).result()
    ingestion = Ingestion(os.path.abspath(options.gatehouse), mirror, patterns, options.folder)
    say('%d packages of %s, %d MB: %s; seed %d' % (len(chosen), mirror.suite, size // 1_000_000, ', '.join(patterns), options.seed))
    need(size >= options.mb * 1_000_000, 'the mirror has no more')

    shutil.rmtree(ingestion.path('refused'), True)
    code, report, _ = ingestion.run('refused', 'refused-cache', keyring=WRONG_KEYRING)
    need(code == 3 and report['packages'] == 0 and "isn't in the keyring" in report['failed'][0]['reason'], 'taken with the wrong keyring: %s' % report)

    report, seconds = undisturbed(ingestion, chosen)
    wanted = ingestion.stats('undisturbed')
    for stats in killed(ingestion, chosen, seconds, options.seed):
        for member in ('products', 'packages', 'files', 'digests', 'content_digest'):
            need(stats[member] == wanted[member], 'killed runs end with another %s: %s, %s' % (member, stats, wanted))
    say('content digest %s' % wanted['content_digest'])

    by_path, by_digest, named, count = read_packages(ingestion, chosen)
    need(count == report['files'], '%d files in the packages, %d in the store' % (count, report['files']))
    compare(ingestion, 'killed', by_path, by_digest, named, ('apt:%s %s ' % (mirror.url, mirror.suite), '(signed by '))
    for name in ('refused', 'refused-cache', 'undisturbed', 'killed', 'killed-cache'):
        shutil.rmtree(ingestion.path(name), True)
    say('passed: %d files of %d packages' % (count, len(chosen)))


if __name__ == '__main__':
    main()
