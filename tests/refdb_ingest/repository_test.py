"""Repositories as sources of references: made on the spot with keys made on the spot, in a folder or behind a server on
the loopback interface that stalls, breaks off, changes and lies. Real tools make what there is to read: gpg, dpkg-deb,
and rpmbuild, rpmsign and createrepo_c where they are installed."""
import gzip, hashlib, http.server, json, lzma, os, resource, select, shutil, signal, socket, ssl, subprocess, tempfile, threading, time, unittest
from email.utils import formatdate
from urllib.parse import urlsplit

GATEHOUSE = os.environ['GATEHOUSE']
WORK = tempfile.mkdtemp(prefix='gatehouse-repository-')
GPG = dict(os.environ, GNUPGHOME=os.path.join(WORK, 'keys'), LC_ALL='C')
RPM_TOOLS = [tool for tool in ('rpmbuild', 'rpmsign', 'createrepo_c') if shutil.which(tool) is None]
DAY = 86400


def gpg(*arguments, data=None):
    return subprocess.run(['gpg', '--batch', '--quiet', '--no-tty', '--yes', *arguments], input=data, env=GPG, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout


def setUpModule():
    os.mkdir(GPG['GNUPGHOME'], 0o700)
    for name in ('good', 'other', 'revoked'):
        gpg('--passphrase', '', '--quick-gen-key', name, 'ed25519', 'sign', 'never')
    gpg('--faked-system-time', '20200101T000000', '--passphrase', '', '--quick-gen-key', 'expired', 'ed25519', 'sign', '30d')
    # Good today, but of a time in which it could sign something that has expired since.
    gpg('--faked-system-time', '20200101T000000', '--passphrase', '', '--quick-gen-key', 'old', 'ed25519', 'sign', 'never')
    for name in ('good', 'other', 'revoked', 'expired', 'old'):
        with open(keyring(name), 'wb') as file:
            file.write(gpg('--export', name))
    # Who signs with a revoked key doesn't heed that: only the keyring says so.
    home = os.path.join(WORK, 'heedful')
    os.mkdir(home, 0o700)
    with open(os.path.join(GPG['GNUPGHOME'], 'openpgp-revocs.d', fingerprint('revoked') + '.rev'), encoding='utf-8') as file:
        revocation = file.read().replace(':-----BEGIN', '-----BEGIN').encode()
    with open(keyring('revoked'), 'rb') as file:
        gpg('--homedir', home, '--import', data=file.read())
    gpg('--homedir', home, '--import', data=revocation)
    with open(keyring('revoked'), 'wb') as file:
        file.write(gpg('--homedir', home, '--export', 'revoked'))


def tearDownModule():
    subprocess.run(['gpgconf', '--kill', 'all'], env=GPG, check=False)
    shutil.rmtree(WORK, True)


def fingerprint(name):
    for line in gpg('--with-colons', '--list-keys', name).decode().splitlines():
        if line.startswith('fpr:'):
            return line.split(':')[9]


def keyring(name):
    return os.path.join(WORK, name + '.gpg')


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(content)
    return path


DEBS = {}


def make_deb(name, version='1', files=None, fields='', scripts={}):
    """A package file's bytes; the same for the same arguments."""
    files = files or {'/usr/bin/' + name: b'program ' + name.encode(), '/usr/share/doc/%s/copyright' % name: b'free'}
    key = (name, version, tuple(sorted(files.items())), fields, tuple(sorted(scripts.items())))
    if key not in DEBS:
        tree = os.path.join(WORK, 'tree')
        shutil.rmtree(tree, True)
        for path, content in files.items():
            write(tree + path, content)
        write(tree + '/DEBIAN/control', ('Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: nobody <n@example.org>\n'
                                         '%sDescription: a test\n' % (name, version, fields)).encode())
        for script, content in scripts.items():
            write(tree + '/DEBIAN/' + script, content)
            os.chmod(tree + '/DEBIAN/' + script, 0o755)
        subprocess.run(['dpkg-deb', '--root-owner-group', '-Zgzip', '--build', tree, WORK + '/made.deb'], check=True,
                       stdout=subprocess.DEVNULL)
        with open(WORK + '/made.deb', 'rb') as file:
            DEBS[key] = file.read()
    return DEBS[key]


class AptRepository:
    """A folder that publish() writes: packages, indexes, Release and signatures."""

    def __init__(self, folder, key='good'):
        self.folder, self.key, self.suite, self.codename = folder, key, 'stable', 'testing'
        self.date, self.valid_until, self.by_hash, self.packages = time.time() - DAY, None, False, []
        self.sign_options = []

    def add(self, name, section='utils', priority='optional', version='1', files=None, path=None, content=None, **fields):
        content = content if content is not None else make_deb(name, version, files)
        self.packages.append({'Package': name, 'Version': version, 'Architecture': 'amd64', 'Section': section, 'Priority': priority,
                              'Filename': path or 'pool/%s_%s_amd64.deb' % (name, version), 'Size': str(len(content)),
                              'SHA256': hashlib.sha256(content).hexdigest(), 'Description': 'a test\n more\n .\n of it', **fields})
        if '..' not in self.packages[-1]['Filename']:
            write(os.path.join(self.folder, self.packages[-1]['Filename']), content)
        return self

    def index(self):
        return '\n'.join(''.join('%s: %s\n' % field for field in p.items()) for p in self.packages).encode()

    def publish(self):
        suite = os.path.join(self.folder, 'dists', 'testing')
        shutil.rmtree(suite, True)
        digests = ''
        for name, content in (('Packages', self.index()), ('Packages.gz', gzip.compress(self.index(), mtime=0)),
                              ('Packages.xz', lzma.compress(self.index()))):
            path = 'main/binary-amd64/' + name
            digest = hashlib.sha256(content).hexdigest()
            digests += ' %s %d %s\n' % (digest, len(content), path)
            if name != 'Packages':
                write(os.path.join(suite, 'main/binary-amd64/by-hash/SHA256/' + digest if self.by_hash else path), content)
        self.release = 'Origin: Test\nSuite: %s\nCodename: %s\nDate: %s\n' % (self.suite, self.codename, formatdate(self.date, usegmt=True))
        if self.valid_until:
            self.release += 'Valid-Until: %s\n' % formatdate(self.valid_until, usegmt=True)
        if self.by_hash:
            self.release += 'Acquire-By-Hash: yes\n'
        self.release += 'Architectures: amd64\nComponents: main\nSHA256:\n' + digests
        self.write_release()
        return self

    def write_release(self):
        suite = os.path.join(self.folder, 'dists', 'testing')
        if self.key is None:
            write(suite + '/Release', self.release.encode())
        else:
            write(suite + '/InRelease', gpg(*self.sign_options, '-u', self.key, '--clearsign', data=self.release.encode()))


class Server:
    """Serves a folder. `faults` maps a path, or None for all, to what is done instead of a plain answer: called with the
    handler and the content, it returns True when that was all. With a certificate it speaks TLS. A proxy's request names a
    host, too: that is kept, and answered as if it were ours; a tunnel goes to `behind`."""

    def __init__(self, folder, certificate=None, behind=None):
        self.folder, self.faults, self.requests, self.released = folder, {}, [], threading.Event()
        self.hosts, self.credentials = [], []
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            ranges = True

            def log_message(self, *_):
                pass

            def do_CONNECT(self):
                outer.hosts.append(self.path)
                self.send_response(200)
                self.end_headers()
                with socket.create_connection(behind.http.server_address) as other:
                    ends = {self.connection: other, other: self.connection}
                    while True:
                        for end in select.select(list(ends), [], [])[0]:
                            content = end.recv(65536)
                            if not content:
                                self.close_connection = True
                                return
                            ends[end].sendall(content)

            def do_GET(self):
                outer.hosts.append(urlsplit(self.path).netloc)
                outer.credentials.append(self.headers.get('Proxy-Authorization'))
                path = self.translate_path(urlsplit(self.path).path)
                name = os.path.relpath(path, folder)
                outer.requests.append((name, self.headers.get('Range')))
                content = None
                if os.path.isfile(path):
                    with open(path, 'rb') as file:
                        content = file.read()
                fault = outer.faults.get(name) or outer.faults.get(None)
                try:
                    if fault and fault(self, content):
                        return
                    self.answer(content)
                except OSError:
                    pass

            def answer(self, content):
                if content is None:
                    return self.head(404, 0)
                start, wanted = 0, self.headers.get('Range')
                if wanted and self.ranges:
                    start = int(wanted[len('bytes='):].split('-')[0])
                    if start >= len(content):
                        return self.head(416, 0)
                self.head(206 if wanted and self.ranges else 200, len(content) - start)
                self.wfile.write(content[start:])

            def head(self, status, size):
                self.send_response(status)
                self.send_header('Content-Length', str(size))
                self.end_headers()

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # whoever hangs up
                pass

        self.http = Quiet(('127.0.0.1', 0), lambda *a: Handler(*a, directory=folder))
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # The handshake is for the thread that answers.
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()
        self.url = '%s://127.0.0.1:%d' % ('https' if certificate else 'http', self.http.server_address[1])

    def close(self):
        self.released.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def names(self):
        return [name for name, _ in self.requests]


def cut(after, times=1):
    """Breaks the connection off behind so many bytes of the answer, so many times."""
    left = [times]

    def fault(handler, content):
        if left[0] == 0:
            return False
        left[0] -= 1
        start = int((handler.headers.get('Range') or 'bytes=0-')[6:].split('-')[0])
        handler.head(206 if start else 200, len(content) - start)
        handler.wfile.write(content[start:start + after])
        handler.close_connection = True
        return True
    return fault


class Ran:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err.decode('utf-8')

    def json(self):
        return json.loads(self.out.decode('utf-8'))

    def reasons(self):
        return {f['source'].rsplit('/', 1)[-1]: f['reason'] for f in self.json()['failed']}


def environment():
    out = {k: v for k, v in os.environ.items() if not k.lower().endswith('_proxy')}
    out['HOME'] = WORK
    return out


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=WORK)
        self.repository = AptRepository(self.path('repository'))
        self.refdb, self.cache = self.path('refdb'), self.path('cache')

    def path(self, name):
        return os.path.join(self.folder, name)

    def serve(self, folder=None, **how):
        server = Server(folder or self.repository.folder, **how)
        self.addCleanup(server.close)
        return server

    def arguments(self, place, *more, kind='apt', key='good', refdb=None, cache=None):
        out = [GATEHOUSE, 'refdb', 'ingest', '--refdb', refdb or self.refdb, '--product', 'p', '--json', '--cache', cache or self.cache]
        if kind == 'apt' and '--suite' not in more:
            out += ['--suite', 'testing', '--architecture', 'amd64']
        if key:
            out += ['--keyring', keyring(key)]
        return out + [*more, kind + ':' + place]

    def ingest(self, place, *more, limit=None, variables=None, **options):
        p = subprocess.run(self.arguments(place, *more, **options), stdin=subprocess.DEVNULL, capture_output=True, env={**environment(), **(variables or {})},
                           preexec_fn=limit)
        return Ran(p.returncode, p.stdout, p.stderr)

    def taken(self, place, *more, packages, code=0, **options):
        ran = self.ingest(place, *more, **options)
        self.assertEqual(ran.code, code, ran.err)
        self.assertEqual(ran.json()['packages'], packages, ran.err)
        return ran

    def refused(self, place, reason, *more, **options):
        """Nothing is taken, the reason is said, and the store is what it was."""
        before = self.store(options.get('refdb'))
        ran = self.ingest(place, *more, **options)
        self.assertEqual(ran.code, 3, ran.err)
        self.assertIn(reason, ran.json()['failed'][0]['reason'])
        self.assertIn(reason, ran.err)
        self.assertEqual(self.store(options.get('refdb')), before)
        return ran

    def store(self, refdb=None):
        p = subprocess.run([GATEHOUSE, 'refdb', 'stats', '--refdb', refdb or self.refdb, '--json'], capture_output=True)
        out = json.loads(p.stdout) if p.returncode == 0 else {}
        return out.get('generation', 0), out.get('content_digest', '0' * 64) if out.get('generation') else None

    def lookup(self, query, refdb=None):
        p = subprocess.run([GATEHOUSE, 'refdb', 'lookup', '--refdb', refdb or self.refdb, '--json', query], capture_output=True)
        return json.loads(p.stdout)['matches']


class Apt(Case):
    def test_a_server_and_a_folder_give_the_same_references_and_say_where_each_came_from(self):
        self.repository.add('alpha').add('beta').publish()
        server = self.serve()
        self.taken(self.repository.folder, packages=2)
        ran = self.taken(server.url, packages=2, refdb=self.path('other'))
        self.assertEqual(ran.json()['files'], 4)
        self.assertEqual(self.store()[1], self.store(self.path('other'))[1])
        self.assertEqual(self.lookup('/usr/bin/alpha', self.path('other'))[0]['source'],
                         'apt:%s testing pool/alpha_1_amd64.deb (signed by %s)' % (server.url, fingerprint('good')))
        debs = self.path('debs')
        shutil.copytree(self.repository.folder + '/pool', debs)
        subprocess.run([GATEHOUSE, 'refdb', 'ingest', '--refdb', self.path('files'), '--product', 'p', debs], check=True, capture_output=True)
        self.assertEqual(self.store()[1], self.store(self.path('files'))[1])
        # The same package files, whichever way they came first.
        self.taken(self.repository.folder, packages=0, refdb=self.path('files'))

    def test_what_is_known_is_not_fetched_again(self):
        self.repository.add('alpha').add('beta').publish()
        server = self.serve()
        self.taken(server.url, packages=2)
        self.assertEqual(os.listdir(self.cache + '/indexes').__len__(), 1)
        self.assertEqual([f for _, _, files in os.walk(self.cache + '/packages') for f in files], [])
        server.requests.clear()
        before = self.store()
        self.assertEqual(self.taken(server.url, packages=0).json()['skipped'], 2)
        self.assertEqual(server.names(), ['dists/testing/InRelease'])
        self.assertEqual(self.store(), before)
        self.repository.add('gamma').date += 60
        self.repository.publish()
        server.requests.clear()
        self.taken(server.url, packages=1)
        self.assertEqual(sorted(server.names()), ['dists/testing/InRelease', 'dists/testing/main/binary-amd64/Packages.xz', 'pool/gamma_1_amd64.deb'])

    def test_an_update_says_since_when_the_older_version_is_superseded(self):
        # As a release and its security updates: each a layer, taken each night.
        def command(*arguments):
            p = subprocess.run([GATEHOUSE, 'refdb', *arguments, '--refdb', self.refdb, '--json'], capture_output=True)
            return json.loads(p.stdout)
        first = int(self.repository.date)
        old, new = ({'/usr/bin/alpha': text} for text in (b'old', b'new'))
        self.repository.add('alpha', files=old).add('beta').publish()
        self.taken(self.repository.folder, packages=2)
        security = AptRepository(self.path('security'))
        security.date = first + 100
        security.add('alpha', version='1+deb12u1', files=new).publish()
        self.taken(security.folder, '--layer', 'security', packages=1)
        digest = hashlib.sha256(b'old').hexdigest()
        why = command('explain', '--product', 'p', '/usr/bin/alpha', digest)
        self.assertEqual((why['verdict'], why['reason']), ('ok', 'superseded'))
        self.assertEqual([r['version'] for r in why['references']], ['1'])
        utc = lambda seconds: time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(seconds))
        self.assertEqual(why['references'][0]['superseded'], {'version': '1+deb12u1', 'layer': 'security', 'since': utc(first + 100)})
        self.assertEqual([m['layer'] for m in self.lookup('/usr/bin/alpha')], ['release', 'security'])
        # A point release without it.
        self.repository.packages = [p for p in self.repository.packages if p['Package'] == 'beta']
        self.repository.date = first + 200
        self.repository.publish()
        self.taken(self.repository.folder, packages=0)
        versions = {m['version']: m for m in self.lookup('package:alpha')}
        self.assertEqual((versions['1']['first_seen'], versions['1']['last_seen']), (utc(first), utc(first)))
        self.assertEqual(versions['1+deb12u1']['first_seen'], utc(first + 100))
        self.assertNotIn('last_seen', versions['1+deb12u1'])
        before = self.store()
        self.taken(self.repository.folder, packages=0)
        self.assertEqual(self.store(), before)

    def test_packages_stay_in_the_cache_when_asked_for(self):
        self.repository.add('alpha').publish()
        server = self.serve()
        self.taken(server.url, '--keep-packages', packages=1)
        server.requests.clear()
        self.taken(server.url, packages=1, refdb=self.path('other'))
        self.assertEqual(server.names(), ['dists/testing/InRelease'])

    def test_no_more_is_fetched_than_there_is_room_for(self):
        for i in range(6):
            self.repository.add('p%d' % i, files={'/usr/bin/big': os.urandom(3_000_000)})
        self.repository.publish()
        server, held = self.serve(), []

        def fault(handler, content):
            if content and content.startswith(b'!<arch>'):
                held.append(sum(not name.endswith('.part') for _, _, names in os.walk(self.cache + '/packages') for name in names))
        server.faults[None] = fault
        self.taken(server.url, '--ahead', '0', '--downloads', '1', packages=6)
        self.assertEqual(held, [0] * 6)

    def test_indexes_by_their_hash(self):
        self.repository.by_hash = True
        self.repository.add('alpha').publish()
        server = self.serve()
        self.taken(server.url, packages=1)
        self.assertIn('/by-hash/SHA256/', server.names()[1])

    def test_names_are_quoted_in_urls_and_never_names_in_the_cache(self):
        self.repository.add('alpha', path='pool/a b/alpha%3a+~1.deb').publish()
        server = self.serve()
        self.taken(server.url, '--keep-packages', packages=1)
        digest = self.repository.packages[0]['SHA256']
        self.assertEqual([os.path.relpath(os.path.join(at, f), self.cache) for at, _, files in os.walk(self.cache + '/packages') for f in files],
                         ['packages/%s/%s' % (digest[:2], digest)])

    def test_a_flat_repository(self):
        content = make_deb('alpha')
        index = b'Package: alpha\nVersion: 1\nArchitecture: amd64\nFilename: ./alpha.deb\nSize: %d\nSHA256: %s\n' % (
            len(content), hashlib.sha256(content).hexdigest().encode())
        folder = self.path('flat')
        write(folder + '/alpha.deb', content)
        write(folder + '/Packages', index)
        release = b'Date: %s\nSHA256:\n %s %d Packages\n' % (formatdate(usegmt=True).encode(), hashlib.sha256(index).hexdigest().encode(), len(index))
        write(folder + '/Release', release)
        write(folder + '/Release.gpg', gpg('-u', 'good', '--armor', '--detach-sign', data=release))
        self.taken(folder, '--suite', './', packages=1)

    def test_selection(self):
        self.repository.add('alpha').add('beta', section='games').add('alpha-doc', section='doc').add('gamma', priority='required').publish()
        chosen = {('--profile', 'server'): ['alpha', 'gamma'], ('--include', 'alpha*', '--exclude', 'section:doc'): ['alpha'],
                  ('--include', 'priority:required'): ['gamma'], ('--exclude', 'section:games', '--exclude', '[a-b]*'): ['gamma']}
        for n, (options, names) in enumerate(chosen.items()):
            refdb = self.path('refdb%d' % n)
            ran = self.taken(self.repository.folder, *options, packages=len(names), refdb=refdb)
            self.assertEqual((ran.json()['skipped'], ran.json()['excluded']['packages']), (4 - len(names), 4 - len(names)))
            found = [name for name in ('alpha', 'beta', 'alpha-doc', 'gamma') if self.lookup('/usr/bin/' + name, refdb)]
            self.assertEqual(found, names)

    def test_paths_that_are_left_out_are_counted_and_come_with_another_selection(self):
        self.repository.add('alpha').add('beta').publish()
        ran = self.taken(self.repository.folder, '--exclude', '/usr/share/doc/*', packages=2)
        self.assertEqual((ran.json()['files'], ran.json()['excluded']), (2, {'packages': 0, 'files': 2}))
        self.assertEqual(self.lookup('/usr/share/doc/alpha/copyright'), [])
        self.taken(self.repository.folder, '--exclude', '/usr/share/doc/*', packages=0)
        self.taken(self.repository.folder, packages=2)
        self.assertEqual(len(self.lookup('/usr/share/doc/alpha/copyright')), 1)


class Selection(Case):
    """Of sources that are no repositories."""

    def take(self, *sources, refdb=None):
        p = subprocess.run([GATEHOUSE, 'refdb', 'ingest', '--refdb', refdb or self.refdb, '--product', 'p', '--json', *sources], capture_output=True)
        self.assertEqual(p.returncode, 0, p.stderr)
        out = json.loads(p.stdout)
        return out['packages'], out['files'], out['skipped'], out['excluded']

    def debs(self):
        folder = self.path('debs')
        for name, fields in (('alpha', 'Section: utils\nPriority: required\n'), ('beta', 'Section: games\n'),
                             ('alpha-doc', 'Section: doc\nPriority: optional\n'), ('gamma', '')):
            write('%s/%s.deb' % (folder, name), make_deb(name, fields=fields))
        return folder

    def test_diversions_and_alternatives_that_scripts_declare(self):
        folder = self.path('declared')
        write(folder + '/less.deb', make_deb('less', files={'/usr/bin/less': b'less'}, scripts={
            'postinst': b'#!/bin/sh\nset -e\nupdate-alternatives --install /usr/bin/pager pager /usr/bin/less 77\n'}))
        write(folder + '/wrapper.deb', make_deb('wrapper', files={'/usr/bin/tool': b'wrapper'}, scripts={
            'preinst': b'#!/bin/sh\ndpkg-divert --package wrapper --rename --divert /usr/bin/tool.real --add /usr/bin/tool\n'}))
        write(folder + '/tool.deb', make_deb('tool', files={'/usr/bin/tool': b'tool'}))
        for n, options in enumerate(([], ['--no-sandbox'])):
            refdb = self.path('refdb%d' % n)
            self.assertEqual(self.take(*options, folder, refdb=refdb)[:2], (3, 3))
            for path, package, content in (('/usr/bin/pager', 'less', b'less'), ('/usr/bin/tool.real', 'tool', b'tool')):
                matches = self.lookup(path, refdb)
                self.assertEqual([(m['package'], m['digests']['sha256']) for m in matches], [(package, hashlib.sha256(content).hexdigest())])

    def test_packages_in_files_are_chosen_by_what_their_control_file_says(self):
        folder = self.debs()
        chosen = {('--profile', 'server'): ['alpha', 'gamma'], ('--include', 'alpha*', '--exclude', 'section:doc'): ['alpha'],
                  ('--include', 'priority:required'): ['alpha'], ('--exclude', 'section:games', '--exclude', 'alpha*'): ['gamma']}
        for n, (options, names) in enumerate(chosen.items()):
            refdb = self.path('refdb%d' % n)
            left = 4 - len(names)
            for packages in (len(names), 0):  # and again: what is left out is no less left out, what is known is known
                self.assertEqual(self.take(*options, folder, refdb=refdb),
                                 (packages, 2 * packages, left if packages else 4, {'packages': left, 'files': 0}))
            self.assertEqual([name for name in ('alpha', 'beta', 'alpha-doc', 'gamma') if self.lookup('/usr/bin/' + name, refdb)], names)

    def test_paths_in_files_are_left_out_and_come_with_another_selection(self):
        folder, without = self.debs(), ('--exclude', '/usr/share/doc/*')
        self.assertEqual(self.take(*without, folder), (4, 4, 0, {'packages': 0, 'files': 4}))
        self.assertEqual(self.lookup('/usr/share/doc/alpha/copyright'), [])
        self.assertEqual(self.take(*without, folder)[::2], (0, 4))
        self.assertEqual(self.take(folder)[:2], (4, 8))
        self.assertEqual(len(self.lookup('/usr/share/doc/alpha/copyright')), 1)
        # Known whole, and so by its file alone: what is part of it isn't.
        self.assertEqual(self.take('--include', '/usr/share/doc/*', folder), (4, 4, 0, {'packages': 0, 'files': 4}))
        self.assertEqual(self.take(folder)[::2], (0, 4))

    def test_a_package_is_the_same_part_of_itself_as_a_file_and_in_a_repository(self):
        self.repository.add('alpha').publish()
        without = ('--exclude', '/usr/share/doc/*')
        self.taken(self.repository.folder, *without, packages=1)
        self.assertEqual(self.take(*without, self.repository.folder + '/pool')[::2], (0, 1))

    def test_trees_and_lists_are_chosen_by_their_paths_alone(self):
        tree = self.path('tree')
        for path in ('/usr/bin/a', '/usr/share/doc/a', '/etc/b'):
            write(tree + path, path.encode())
        digest = hashlib.sha256(b'c').hexdigest()
        listed = write(self.path('list'), ('%s  /usr/bin/c\n%s  /etc/c\n' % (digest, digest)).encode())
        sources = ('root:' + tree, 'sha256sums:' + listed)
        self.assertEqual(self.take('--profile', 'server', '--include', 'bash', '--include', '/usr/*', '--exclude', '/usr/share/*', *sources),
                         (0, 2, 0, {'packages': 0, 'files': 3}))
        self.assertEqual([len(self.lookup(path)) for path in ('/usr/bin/a', '/usr/bin/c', '/usr/share/doc/a', '/etc/b', '/etc/c')],
                         [1, 1, 0, 0, 0])
        self.assertEqual(self.take(*sources), (0, 5, 0, {'packages': 0, 'files': 0}))


class Signatures(Case):
    def test_only_a_good_key_of_the_keyring_counts(self):
        for key, options, reason in (('other', [], "signed by a key that isn't in the keyring"), ('revoked', [], 'signed by a key that was revoked'),
                                     ('expired', ['--faked-system-time', '20200102T000000'], 'signed by a key that has expired'),
                                     ('old', ['--faked-system-time', '20200102T000000', '--default-sig-expire', '1'], 'the signature has expired'),
                                     ('good', ['--digest-algo', 'SHA1'], 'signed with a digest that is too weak')):
            with self.subTest(key):
                repository = AptRepository(self.path('of ' + key), key).add('alpha')
                repository.sign_options = options
                repository.publish()
                self.refused(repository.folder, reason, key='good' if key == 'other' else key)

    def test_of_several_signatures_one_has_to_count(self):
        self.repository.add('alpha').sign_options = ['-u', 'other']
        self.repository.publish()
        ran = self.taken(self.repository.folder, packages=1)
        self.assertEqual(ran.err, '')
        self.refused(self.repository.folder, "isn't in the keyring", key='revoked')

    def test_an_armored_keyring_and_several(self):
        self.repository.add('alpha').publish()
        armored = write(self.path('keys.asc'), b'A comment\n' + gpg('--armor', '--export', 'other') + gpg('--armor', '--export', 'good'))
        self.taken(self.repository.folder, '--keyring', armored, packages=1, key=None)
        self.taken(self.repository.folder, '--keyring', keyring('good'), packages=1, key='other', refdb=self.path('other'))
        damaged = write(self.path('damaged.asc'), gpg('--armor', '--export', 'good')[:200])
        self.assertEqual(self.ingest(self.repository.folder, '--keyring', damaged, key=None).code, 3)

    def test_text_that_was_changed_or_is_not_signed(self):
        self.repository.add('alpha').publish()
        path = self.repository.folder + '/dists/testing/InRelease'
        with open(path, 'rb') as file:
            signed = file.read()
        write(path, signed.replace(b'Origin: Test', b'Origin: Tset'))
        self.refused(self.repository.folder, 'a signature is wrong: the text was changed')
        write(path, self.repository.release.encode())
        self.refused(self.repository.folder, 'not signed')
        write(path, signed + signed)
        self.refused(self.repository.folder, 'not one signed text')
        # What is around the signed text isn't read.
        write(path, signed + b'\nValid-Until: Thu, 01 Jan 1970 00:00:00 UTC\n')
        self.taken(self.repository.folder, packages=1)
        write(path, b'Date: x\n' + signed)
        self.refused(self.repository.folder, 'not signed')

    def test_a_repository_that_nobody_signed(self):
        self.repository.key = None
        self.repository.add('alpha').publish()
        self.refused(self.repository.folder, 'not signed')
        ran = self.taken(self.repository.folder, '--allow-unsigned', packages=1, key=None)
        self.assertIn('warning: apt:%s testing: taken without a signature' % self.repository.folder, ran.err)
        self.assertTrue(self.lookup('/usr/bin/alpha')[0]['source'].endswith('pool/alpha_1_amd64.deb (not signed)'))

    def test_what_was_signed_before_has_to_stay_so(self):
        self.repository.add('alpha').publish()
        self.taken(self.repository.folder, packages=1)
        self.repository.key = None
        self.repository.add('beta').publish()
        self.refused(self.repository.folder, 'not signed')
        # With a keyring, what is signed has to be signed well, even where a missing signature is allowed.
        self.repository.key = 'other'
        self.repository.publish()
        self.refused(self.repository.folder, "isn't in the keyring", '--allow-unsigned')

    def test_without_gpgv_nothing_is_taken(self):
        self.repository.add('alpha').publish()
        p = subprocess.run(self.arguments(self.repository.folder), capture_output=True, env=dict(environment(), PATH='/nonexistent'))
        self.assertEqual(p.returncode, 3)
        self.assertIn("can't run gpgv", p.stderr.decode())


class Release(Case):
    def test_an_older_one_than_was_taken_is_refused(self):
        self.repository.add('alpha').publish()
        self.taken(self.repository.folder, packages=1)
        self.repository.date -= 3600
        self.repository.add('beta').publish()
        self.refused(self.repository.folder, 'older than what was taken from here before')
        self.taken(self.repository.folder, '--allow-older', packages=1)
        # That was an exception: the newest date stays the measure.
        self.refused(self.repository.folder, 'older than what was taken from here before')

    def test_a_refused_one_is_not_remembered(self):
        self.repository.add('alpha').publish()
        self.repository.date += 3600
        self.repository.suite = self.repository.codename = 'unstable'
        self.repository.publish()
        self.refused(self.repository.folder, "the Release file is another suite's")
        self.repository.date -= 3600
        self.repository.suite = 'testing'
        self.repository.publish()
        self.taken(self.repository.folder, packages=1)

    def test_valid_until_and_the_future(self):
        self.repository.valid_until = time.time() - 60
        self.repository.add('alpha').publish()
        self.refused(self.repository.folder, 'Valid-Until has passed')
        self.taken(self.repository.folder, '--allow-older', packages=1)
        self.repository.date, self.repository.valid_until = time.time() + 2 * DAY, None
        self.repository.publish()
        self.refused(self.repository.folder, 'of the future')

    def test_what_is_not_there_is_named(self):
        self.repository.add('alpha').publish()
        self.refused(self.repository.folder, 'names no such index', '--component', 'contrib')
        self.refused(self.repository.folder, 'no Release file', '--suite', 'nonsense')
        self.refused(self.path('nowhere'), "can't open")
        write(self.repository.folder + '/dists/testing/InRelease', gpg('-u', 'good', '--clearsign', data=b'Suite: testing\nSHA256:\n x\n'))
        self.refused(self.repository.folder, 'InRelease: byte 0: malformed: the Release file has no date')

    def test_other_suites_go_on(self):
        self.repository.add('alpha').publish()
        ran = self.taken(self.repository.folder, '--suite', 'nonsense', '--suite', 'testing', '--architecture', 'amd64', packages=1, code=3)
        self.assertEqual(len(ran.json()['failed']), 1)


class Damage(Case):
    def test_a_package_that_fails_is_named_and_the_rest_is_taken(self):
        broken = make_deb('broken')[:-60]
        self.repository.add('alpha').add('changed').add('longer').add('broken', content=broken).add('gone').add('beta')
        self.repository.add('out', path='pool/../../out.deb').add('absolute', path='/etc/passwd').add('nothing', SHA256='0' * 63)
        self.repository.publish()
        pool = self.repository.folder + '/pool/'
        content = bytearray(make_deb('changed'))
        content[-1] ^= 1
        write(pool + 'changed_1_amd64.deb', bytes(content))
        write(pool + 'longer_1_amd64.deb', make_deb('longer') + b'x')
        os.unlink(pool + 'gone_1_amd64.deb')
        server = self.serve()
        for place in (self.repository.folder, server.url):
            with self.subTest(place):
                ran = self.taken(place, packages=2, code=3, refdb=self.path('refdb-' + place.split(':')[0].strip('/').split('/')[0]))
                reasons = {name.split('_')[0].split(' ')[-1]: reason for name, reason in ran.reasons().items()}
                self.assertEqual(sorted(reasons), ['absolute', 'broken', 'changed', 'gone', 'longer', 'nothing', 'out'])
                self.assertIn('not the file that the index names', reasons['changed'])
                self.assertIn('not the file that the index names', reasons['longer'])
                self.assertRegex(reasons['broken'], r'testing pool/broken_1_amd64.deb: byte \d+: malformed: member longer than the file')
                self.assertIn('no such file' if place == server.url else 'No such file', reasons['gone'])
                self.assertIn('outside the repository', reasons['out'])
                self.assertIn('outside the repository', reasons['absolute'])
                self.assertIn('no SHA-256 digest', reasons['nothing'])
        self.assertFalse(any('..' in name or 'passwd' in name for name in server.names()))

    def test_an_index_that_is_not_the_one_of_the_release_file(self):
        self.repository.add('alpha').publish()
        index = self.repository.folder + '/dists/testing/main/binary-amd64/Packages.xz'
        write(index, lzma.compress(b'Package: evil\n'))
        server = self.serve()
        for place in (self.repository.folder, server.url):
            ran = self.refused(place, 'not the file that the index names')
            self.assertIn('also after the Release file was read again', ran.err)
        self.assertEqual(server.names().count('dists/testing/InRelease'), 2)

    def test_a_mirror_that_changes_under_way_is_read_once_more(self):
        self.repository.add('alpha').publish()
        with open(self.repository.folder + '/dists/testing/InRelease', 'rb') as file:
            old = file.read()
        self.repository.add('beta').publish()
        server = self.serve()
        answers = [old]

        def fault(handler, content):
            handler.answer(answers.pop() if answers else content)
            return True
        server.faults['dists/testing/InRelease'] = fault
        self.taken(server.url, packages=2)

    def test_a_compressed_index_that_is_damaged(self):
        self.repository.add('alpha').publish()
        suite = self.repository.folder + '/dists/testing/'
        packed = lzma.compress(self.repository.index())[:-20]
        write(suite + 'main/binary-amd64/Packages.xz', packed)
        self.repository.release = 'Suite: testing\nDate: %s\nSHA256:\n %s %d main/binary-amd64/Packages.xz\n' % (
            formatdate(usegmt=True), hashlib.sha256(packed).hexdigest(), len(packed))
        self.repository.write_release()
        self.refused(self.repository.folder, 'Packages.xz: byte %d: malformed: truncated compressed data' % len(packed))


class Network(Case):
    BIG = {'/usr/bin/big': bytes(range(256)) + os.urandom(300_000)}

    def publish(self):
        self.repository.add('big', files=self.BIG).add('alpha').publish()
        self.big = 'pool/big_1_amd64.deb'
        return self.serve()

    def ranges(self, server):
        return [asked for name, asked in server.requests if name == self.big]

    def test_a_download_that_breaks_off_goes_on_where_it_was(self):
        server = self.publish()
        server.faults[self.big] = cut(100_000, times=2)
        self.taken(server.url, packages=2)
        self.assertEqual(self.ranges(server), [None, 'bytes=100000-', 'bytes=200000-'])

    def test_a_server_without_ranges(self):
        server = self.publish()

        def fault(handler, content):
            handler.ranges = False
            return broken(handler, content)
        broken = cut(100_000)
        server.faults[self.big] = fault
        self.taken(server.url, packages=2)

    def test_a_part_of_another_file_is_fetched_anew(self):
        server = self.publish()
        digest = self.repository.packages[0]['SHA256']
        write('%s/packages/%s/%s.part' % (self.cache, digest[:2], digest), b'x' * 1000)
        self.taken(server.url, packages=2)
        self.assertEqual(self.ranges(server), ['bytes=1000-', None])

    def test_a_copy_in_the_cache_that_is_damaged_is_not_believed(self):
        server = self.publish()
        digest, size = self.repository.packages[0]['SHA256'], int(self.repository.packages[0]['Size'])
        write('%s/packages/%s/%s' % (self.cache, digest[:2], digest), bytes(size))
        self.assertIn('not the file that the index names', self.taken(server.url, packages=1, code=3).err)
        self.taken(server.url, packages=1)

    def test_one_that_always_breaks_off_or_refuses_is_given_up(self):
        server = self.publish()
        server.faults[self.big] = cut(10, times=-1)
        self.assertIn('the connection broke off', self.taken(server.url, packages=1, code=3).err)
        self.assertEqual(len(self.ranges(server)), 4)
        for status, reason, times in ((503, "the server can't answer: HTTP status 503", 4), (403, 'the server refuses: HTTP status 403', 1)):
            server.requests.clear()
            server.faults[self.big] = lambda handler, content, status=status: handler.head(status, 0) or True
            self.assertIn(reason, self.taken(server.url, packages=0, code=3).err)
            self.assertEqual(len(self.ranges(server)), times)
        server.faults.clear()
        self.taken(server.url, packages=1)

    def test_one_that_stalls_is_given_up(self):
        server = self.publish()

        def fault(handler, content):
            handler.head(200, len(content))
            handler.wfile.write(content[:1000])
            handler.wfile.flush()
            server.released.wait()
            handler.close_connection = True
            return True
        server.faults[self.big] = fault
        self.assertIn('the server stalls', self.taken(server.url, '--stall', '1', packages=1, code=3).err)

    def test_nobody_answers(self):
        server = self.publish()
        self.taken(server.url, packages=2)
        server.close()
        self.refused(server.url, 'no connection to the server')

    def test_a_server_that_vanishes_ends_the_source(self):
        for n in range(40):
            self.repository.add('alpha%d' % n)
        self.repository.publish()
        server = self.serve()
        fault = cut(0, times=-1)
        server.faults.update({p['Filename']: fault for p in self.repository.packages})
        ran = self.refused(server.url, 'the server answers no longer')
        self.assertRegex(ran.err, r'\d\d of 40 packages weren\'t fetched')
        self.assertLess(len(server.requests), 40 * 4)

    def test_more_than_the_index_says_is_not_written(self):
        server = self.publish()

        def endless(handler, content):
            handler.send_response(200)
            handler.end_headers()
            while True:
                handler.wfile.write(bytes(65536))
        server.faults['pool/alpha_1_amd64.deb'] = endless
        self.assertIn('not the file that the index names', self.taken(server.url, packages=1, code=3).err)
        self.assertEqual([name for _, _, names in os.walk(self.cache + '/packages') for name in names], [])
        server.faults['dists/testing/InRelease'] = endless
        self.assertIn('longer than it may be', self.refused(server.url, 'InRelease').err)

    def test_a_redirection_is_followed_but_not_to_files(self):
        server = self.publish()

        def to(place):
            def fault(handler, content):
                handler.send_response(302)
                handler.send_header('Location', place)
                handler.send_header('Content-Length', '0')
                handler.end_headers()
                return True
            return fault
        server.faults['pool/alpha_1_amd64.deb'] = to('/' + self.big)
        server.faults[self.big] = to('file:///etc/passwd')
        ran = self.taken(server.url, packages=0, code=3)
        self.assertEqual(len(ran.json()['failed']), 2)
        server.faults.pop(self.big)
        server.faults['pool/alpha_1_amd64.deb'] = to('/again/pool/alpha_1_amd64.deb')
        write(self.repository.folder + '/again/pool/alpha_1_amd64.deb', make_deb('alpha'))
        self.taken(server.url, packages=2)

    def test_a_killed_ingestion_leaves_the_store_and_goes_on(self):
        self.repository.add('alpha').publish()
        server = self.serve()
        self.taken(server.url, packages=1)
        before = self.store()
        self.repository.add('big', files=self.BIG).date += 60
        self.repository.publish()
        self.big = 'pool/big_1_amd64.deb'
        half = threading.Event()

        def fault(handler, content):
            handler.head(200, len(content))
            handler.wfile.write(content[:200_000])
            handler.wfile.flush()
            half.set()
            server.released.wait()
            return True
        server.faults[self.big] = fault
        child = subprocess.Popen(self.arguments(server.url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        digest = self.repository.packages[1]['SHA256']
        part = '%s/packages/%s/%s.part' % (self.cache, digest[:2], digest)
        half.wait()
        while not os.path.exists(part) or os.path.getsize(part) < 200_000:
            self.assertIsNone(child.poll())
        child.send_signal(signal.SIGKILL)
        child.wait()
        self.assertEqual(self.store(), before)
        server.faults.clear()
        server.requests.clear()
        self.taken(server.url, packages=1)
        self.assertEqual(self.ranges(server), ['bytes=200000-'])
        self.taken(self.repository.folder, packages=2, refdb=self.path('undisturbed'))
        self.assertEqual(self.store()[1], self.store(self.path('undisturbed'))[1])

    def test_a_full_disk_is_named_and_the_store_stays(self):
        self.repository.add('alpha').publish()
        self.taken(self.repository.folder, packages=1)
        before = self.store()
        self.repository.add('big', files=self.BIG).publish()
        server = self.serve()

        def full():
            # As a full disk does: writing fails beyond so many bytes.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        ran = self.ingest(server.url, limit=full, cache=self.path('full'))
        self.assertEqual(ran.code, 3, ran.err)
        self.assertIn("can't write to the cache", ran.err)
        self.assertIn("1 of 1 packages weren't fetched", ran.err)
        self.assertEqual(self.store()[1], before[1])
        self.taken(server.url, packages=1, cache=self.path('full'))

    def test_one_cache_one_ingestion(self):
        server = self.publish()
        arrived = threading.Event()

        def fault(handler, content):
            arrived.set()
            server.released.wait()
            return True
        server.faults['dists/testing/InRelease'] = fault
        child = subprocess.Popen(self.arguments(server.url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        arrived.wait()
        ran = self.ingest(server.url, refdb=self.path('other'))
        child.kill()
        child.wait()
        self.assertEqual(ran.code, 4)
        self.assertIn('another ingestion uses this cache', ran.err)


def certificate(name):
    """Key and certificate of 127.0.0.1 and mirror.invalid in one file, signed by itself."""
    path = os.path.join(WORK, name + '.pem')
    if not os.path.exists(path):
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=' + name,
                        '-addext', 'subjectAltName=IP:127.0.0.1,DNS:mirror.invalid', '-keyout', path + '.key', '-out', path + '.crt'], check=True, capture_output=True)
        with open(path, 'wb') as out:
            for part in ('.key', '.crt'):
                with open(path + part, 'rb') as file:
                    out.write(file.read())
    return path


class Ways(Case):
    """To a server by TLS and through proxies. Nobody resolves the name of mirror.invalid (RFC 6761)."""

    def setUp(self):
        super().setUp()
        self.repository.add('alpha').add('beta').publish()

    def test_tls_is_with_a_server_that_is_trusted(self):
        server, good = self.serve(certificate=certificate('server')), ('--ca', certificate('server') + '.crt')
        self.refused(server.url, 'no trusted connection to the server')
        self.refused(server.url, 'no trusted connection to the server', '--ca', certificate('another') + '.crt')
        self.refused(server.url, 'no trusted connection to the server', '--ca', self.path('none'))
        # Its certificate has that address, and not this name of the same address.
        self.refused(server.url.replace('127.0.0.1', 'localhost'), 'no trusted connection to the server', *good)
        self.assertEqual(server.requests, [])
        self.taken(server.url, *good, packages=2)
        self.assertTrue(self.lookup('/usr/bin/alpha')[0]['source'].startswith('apt:%s testing pool/alpha' % server.url))
        self.taken(self.repository.folder, packages=2, refdb=self.path('other'))
        self.assertEqual(self.store()[1], self.store(self.path('other'))[1])

    def test_tls_is_not_left_again(self):
        plain, server = self.serve(), self.serve(certificate=certificate('server'))

        def fault(handler, content):
            handler.send_response(302)
            handler.send_header('Location', plain.url + '/dists/testing/InRelease')
            handler.send_header('Content-Length', '0')
            handler.end_headers()
            return True
        server.faults['dists/testing/InRelease'] = fault
        self.refused(server.url, "the file can't be fetched", '--ca', certificate('server') + '.crt')
        self.assertEqual(plain.requests, [])

    def test_a_proxy_is_used_and_its_password_is_nowhere(self):
        proxy = self.serve()
        ran = self.taken('http://mirror.invalid', packages=2, variables={'http_proxy': proxy.url.replace('//', '//user:secret@')})
        self.assertEqual(set(proxy.hosts), {'mirror.invalid'})
        self.assertNotIn(None, proxy.credentials)
        self.assertEqual(self.lookup('/usr/bin/alpha')[0]['source'],
                         'apt:http://mirror.invalid testing pool/alpha_1_amd64.deb (signed by %s)' % fingerprint('good'))
        self.assertNotIn('secret', ran.err + ran.out.decode())
        for folder in (self.refdb, self.cache):
            for top, _, names in os.walk(folder):
                for name in names:
                    with open(os.path.join(top, name), 'rb') as file:
                        self.assertNotIn(b'secret', file.read())

    def test_tls_goes_through_a_proxy_that_sees_nothing(self):
        server = self.serve(certificate=certificate('server'))
        proxy = self.serve(behind=server)
        self.taken('https://mirror.invalid', '--ca', certificate('server') + '.crt', packages=2, variables={'https_proxy': proxy.url})
        self.assertEqual(set(proxy.hosts), {'mirror.invalid:443'})
        self.assertEqual(proxy.requests, [])
        self.assertIn('pool/alpha_1_amd64.deb', server.names())
        self.refused('https://mirror.invalid', 'no connection to the server', '--stall', '1', refdb=self.path('other'), cache=self.path('other-cache'),
                     variables={'https_proxy': 'http://127.0.0.1:9'})


class Usage(Case):
    def test_mistakes(self):
        self.repository.add('alpha').publish()
        place = self.repository.folder
        for arguments, reason in ((['--suite', 'testing', 'apt:' + place], 'needs --keyring'), (['--keyring', keyring('good'), 'apt:' + place], 'needs --suite'),
                                  (['--suite', 'testing', '--keyring', keyring('good'), 'apt:http://user:secret@127.0.0.1/'], '.netrc'),
                                  (['--suite', 'testing', '--keyring', keyring('good'), 'apt:ftp://127.0.0.1/'], 'a folder, or an http or https URL'),
                                  (['--suite', 'testing', '--keyring', keyring('good'), '--profile', 'x', 'apt:' + place], 'no such profile'),
                                  (['--suite', 'testing', place], 'are for apt: and rpm-md:')):
            p = subprocess.run([GATEHOUSE, 'refdb', 'ingest', '--refdb', self.refdb, '--product', 'p', *arguments], capture_output=True, env=environment())
            self.assertEqual(p.returncode, 2, p.stderr)
            self.assertIn(reason, p.stderr.decode())
            self.assertNotIn('secret', p.stderr.decode())
        self.assertFalse(os.path.exists(self.refdb))


@unittest.skipIf(RPM_TOOLS, 'not installed: ' + ', '.join(RPM_TOOLS))
class Rpm(Case):
    PACKAGES = {}

    @classmethod
    def package(cls, name, key=None):
        """A package file's bytes; of one for this machine alone if the name says so."""
        if (name, key) not in cls.PACKAGES:
            top, architecture = os.path.join(WORK, 'rpm'), '' if name == 'native' else 'BuildArch: noarch\n'
            spec = ('Name: NAME\nVersion: 1\nRelease: 2\nEpoch: 3\nSummary: a test\nLicense: none\nGroup: Tests\n' + architecture +
                    '%description\na test\n%install\nmkdir -p %{buildroot}/usr/bin\necho NAME > %{buildroot}/usr/bin/NAME\n'
                    '%files\n/usr/bin/NAME\n')
            write(top + '/one.spec', spec.replace('NAME', name).encode())
            subprocess.run(['rpmbuild', '-bb', '--quiet', '--define', '_topdir ' + top, '--define', '_build_id_links none', top + '/one.spec'],
                           check=True, capture_output=True)
            folder = os.uname().machine if name == 'native' else 'noarch'
            path = '%s/RPMS/%s/%s-1-2.%s.rpm' % (top, folder, name, folder)
            if key:
                subprocess.run(['rpmsign', '--addsign', '--define', '_gpg_name ' + key, '--define', '__gpg /usr/bin/gpg', path], check=True,
                               env=GPG, capture_output=True)
            with open(path, 'rb') as file:
                cls.PACKAGES[name, key] = file.read()
        return cls.PACKAGES[name, key]

    def publish(self, *names, key='good', package_key=None, revision=None, options=()):
        self.rpms = self.path('rpms')
        for name in names:
            write('%s/Packages/%s.rpm' % (self.rpms, name), self.package(name, package_key))
        shutil.rmtree(self.rpms + '/repodata', True)
        subprocess.run(['createrepo_c', '--quiet', '--revision', str(revision or int(time.time())), *options, self.rpms], check=True, capture_output=True)
        self.sign(key)
        return self.rpms

    def sign(self, key):
        if key:
            path = self.rpms + '/repodata/repomd.xml'
            gpg('-u', key, '--armor', '--detach-sign', '-o', path + '.asc', path)

    def test_a_server_a_folder_and_files_give_the_same_references(self):
        self.publish('alpha', 'beta')
        server = self.serve(self.rpms)
        self.taken(self.rpms, packages=2, kind='rpm-md')
        self.taken(server.url, packages=2, kind='rpm-md', refdb=self.path('other'))
        self.assertEqual(self.lookup('/usr/bin/alpha', self.path('other'))[0]['source'],
                         'rpm-md:%s Packages/alpha.rpm (signed by %s)' % (server.url, fingerprint('good')))
        self.assertEqual(self.lookup('/usr/bin/alpha')[0]['version'], '3:1-2')
        server.requests.clear()
        self.assertEqual(self.taken(server.url, packages=0, kind='rpm-md', refdb=self.path('other')).json()['skipped'], 2)
        self.assertEqual(server.names(), ['repodata/repomd.xml', 'repodata/repomd.xml.asc'])
        files = [GATEHOUSE, 'refdb', 'ingest', '--json', '--refdb', self.path('files'), '--product', 'p', self.rpms]
        subprocess.run(files, check=True, capture_output=True)
        self.assertEqual(self.store()[1], self.store(self.path('files'))[1])
        # Known is known, whichever way it came first.
        self.taken(self.rpms, packages=0, kind='rpm-md', refdb=self.path('files'))
        again = subprocess.run([*files[:5], self.refdb, *files[6:]], check=True, capture_output=True)
        self.assertEqual(json.loads(again.stdout)['packages'], 0)

    def test_forms_of_indexes(self):
        for form in ('xz', 'bz2'):
            with self.subTest(form):
                self.publish('alpha', options=['--general-compress-type', form, '--checksum', 'sha512'])
                self.taken(self.rpms, packages=1, kind='rpm-md', refdb=self.path(form))
                self.assertEqual(self.taken(self.rpms, packages=0, kind='rpm-md', refdb=self.path(form)).json()['skipped'], 1)

    def test_signatures(self):
        self.publish('alpha', key=None)
        self.refused(self.rpms, "neither the package nor the repository's index is signed", kind='rpm-md')
        self.publish('alpha', key='other')
        self.refused(self.rpms, "signed by a key that isn't in the keyring", kind='rpm-md')
        self.publish('alpha', key=None, package_key='other')
        self.refused(self.rpms, "signed by a key that isn't in the keyring", kind='rpm-md')
        self.publish('alpha', key='good', package_key='other')
        self.refused(self.rpms, "signed by a key that isn't in the keyring", kind='rpm-md', refdb=self.path('other'))
        # An index that nobody signed, of packages that each are signed, is how some distributions publish.
        self.publish('alpha', key=None, package_key='good')
        self.taken(self.rpms, packages=1, kind='rpm-md')
        self.assertTrue(self.lookup('/usr/bin/alpha')[0]['source'].endswith('(signed by %s)' % fingerprint('good')))
        self.publish('beta', key=None)
        ran = self.taken(self.rpms, '--allow-unsigned', packages=1, kind='rpm-md')
        self.assertIn('warning', ran.err)

    def test_a_signed_index_does_not_become_an_unsigned_one(self):
        self.publish('alpha', package_key='good')
        self.taken(self.rpms, packages=1, kind='rpm-md')
        self.publish('alpha', 'beta', key=None, package_key='good')
        self.refused(self.rpms, 'not signed any more', kind='rpm-md')

    def test_older_than_what_was_taken(self):
        self.publish('alpha', revision=2000)
        self.taken(self.rpms, packages=1, kind='rpm-md')
        self.publish('alpha', 'beta', revision=1999)
        self.refused(self.rpms, 'older than what was taken', kind='rpm-md')
        self.taken(self.rpms, '--allow-older', packages=1, kind='rpm-md')

    def test_what_was_changed(self):
        self.publish('alpha', 'beta')
        content = bytearray(self.package('alpha'))
        content[-1] ^= 1
        write(self.rpms + '/Packages/alpha.rpm', bytes(content))
        self.assertIn('not the file that the index names', self.taken(self.rpms, packages=1, kind='rpm-md', code=3).err)
        with open(self.rpms + '/repodata/repomd.xml', 'ab') as file:
            file.write(b' ')
        self.refused(self.rpms, 'a signature is wrong', kind='rpm-md')

    def test_places_outside_the_repository(self):
        self.publish('alpha', 'beta')
        repodata = self.rpms + '/repodata/'
        with open(repodata + next(n for n in os.listdir(repodata) if 'primary.xml' in n), 'rb') as file:
            primary = gzip.decompress(file.read())
        primary = primary.replace(b'href="Packages/alpha.rpm"', b'href="../alpha.rpm"').replace(b'<location href="Packages/beta', b'<location xml:base="http://127.0.0.1/" href="Packages/beta')
        repomd = ('<repomd><revision>5</revision><data type="primary"><checksum type="sha256">%s</checksum><location href="repodata/p.xml"/>'
                  '<size>%d</size></data></repomd>' % (hashlib.sha256(primary).hexdigest(), len(primary))).encode()
        write(repodata + 'p.xml', primary)
        write(repodata + 'repomd.xml', repomd)
        self.sign('good')
        ran = self.taken(self.rpms, packages=0, kind='rpm-md', code=3)
        self.assertEqual([f['reason'].count('a package file outside the repository') for f in ran.json()['failed']], [1, 1])
        write(repodata + 'repomd.xml', repomd.replace(b'repodata/p.xml', b'../../etc/passwd'))
        self.sign('good')
        self.refused(self.rpms, 'an index outside the repository', kind='rpm-md')

    def test_selection(self):
        self.publish('alpha', 'beta-doc')
        ran = self.taken(self.rpms, '--profile', 'server', packages=1, kind='rpm-md')
        self.assertEqual(ran.json()['excluded']['packages'], 1)
        self.taken(self.rpms, '--architecture', 'sparc64', '--include', 'beta*', packages=1, kind='rpm-md')
        self.publish('native')
        self.taken(self.rpms, '--architecture', 'sparc64', packages=0, kind='rpm-md')
        self.taken(self.rpms, '--architecture', os.uname().machine, packages=1, kind='rpm-md')


if __name__ == '__main__':
    unittest.main()
