"""What `cmake --install` leaves in an empty root, and that the endpoint's part configures where the server's libraries
are not installed."""
import gzip, os, re, shutil, subprocess, sys, tempfile, unittest

CMAKE = os.environ['CMAKE']
SOURCE = os.environ['GATEHOUSE_SOURCE']
BUILD = os.environ['GATEHOUSE_BUILD']


def run(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)


def cache(build):
    """The entries of a build's cache."""
    with open(os.path.join(build, 'CMakeCache.txt'), encoding='utf-8') as f:
        lines = [line.rstrip('\n') for line in f if ':' in line and '=' in line and line[0] not in '#/']
    return {line.split(':')[0]: line.split('=', 1)[1] for line in lines}


class Install(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='gatehouse-install-')
        self.addCleanup(shutil.rmtree, self.folder, True)

    def test_an_empty_root_gets_programs_and_documents(self):
        root = os.path.join(self.folder, 'root')
        installed = run(CMAKE, '--install', BUILD, '--prefix', root)
        self.assertEqual(installed.returncode, 0, installed.stdout)
        files = set()
        for folder, _, names in os.walk(root):
            files |= {os.path.relpath(os.path.join(folder, name), root) for name in names}
        for program in ('gatehouse', 'gatehouse-endpoint'):
            path = os.path.join(root, 'bin', program)
            self.assertIn('bin/' + program, files)
            self.assertTrue(os.access(path, os.X_OK))
            shown = run(path, '--version')
            self.assertEqual(shown.returncode, 0, shown.stdout)
            self.assertIn('gatehouse', shown.stdout)
        # The README, and each page under the name by which the README links it.
        documents = {'README.md'}
        for folder, _, names in os.walk(os.path.join(SOURCE, 'docs')):
            documents |= {os.path.relpath(os.path.join(folder, name), SOURCE) for name in names}
        self.assertIn('docs/operations.md', documents)
        self.assertEqual({f for f in files if f.startswith('share/')},
                         {'share/doc/gatehouse/' + name for name in documents})
        # Nothing else: no library, header or file of the tests.
        units = {'lib/systemd/system/gatehouse.service', 'lib/systemd/system/gatehouse-endpoint.service'}
        socket = 'lib/systemd/system/gatehouse.socket'
        self.assertEqual({f for f in files if not f.startswith('share/')},
                         {'bin/gatehouse', 'bin/gatehouse-endpoint', 'lib/sysusers.d/gatehouse.conf', 'etc/logrotate.d/gatehouse', socket} | units)
        for unit in units:
            self.unit_is_good(root, unit)
        if shutil.which('systemd-analyze') is None:
            self.skipTest("systemd-analyze isn't installed: the units weren't verified")
        # Beside the service that unit_is_good() has left, whose program is there.
        shutil.copy(os.path.join(root, socket), self.folder)
        verified = run('systemd-analyze', 'verify', '--man=no', os.path.join(self.folder, 'gatehouse.socket'))
        self.assertEqual((verified.returncode, verified.stdout.strip()), (0, ''))
        # What the service may do is little: an exposure of 2.0 at most, by systemd's own measure.
        whole = os.path.join(self.folder, 'whole')
        os.mkdir(whole)
        with open(os.path.join(root, 'lib/systemd/system/gatehouse.service'), encoding='utf-8') as unit:
            text = re.sub(r'^ExecStart=\S+/', 'ExecStart=%s/bin/' % root, unit.read(), flags=re.M)
        with open(os.path.join(whole, 'gatehouse.service'), 'w', encoding='utf-8') as unit:
            unit.write(text)
        exposed = run('systemd-analyze', 'security', '--offline=true', '--threshold=20', '--no-pager', os.path.join(whole, 'gatehouse.service'))
        self.assertEqual(exposed.returncode, 0, exposed.stdout[-2000:])

    def test_each_command_has_a_page_and_is_completed(self):
        pages, completion = os.path.join(self.folder, 'man1'), os.path.join(self.folder, 'completions')
        for program in ('gatehouse', 'gatehouse-endpoint'):
            made = run(sys.executable, os.path.join(SOURCE, 'packaging', 'manual.py'), os.path.join(BUILD, 'bin', program),
                       '--pages', pages, '--completion', completion)
            self.assertEqual(made.returncode, 0, made.stdout)
        text = {}
        for name in os.listdir(pages):
            with gzip.open(os.path.join(pages, name), 'rt', encoding='ascii') as page:
                text[name.removesuffix('.1.gz')] = page.read()
        for name in ('gatehouse', 'gatehouse-serve', 'gatehouse-refdb-ingest', 'gatehouse-device-baseline-approve', 'gatehouse-endpoint-attest'):
            self.assertIn(name, text)
        self.assertIn('.B \\-\\-keyring TEXT ...\n', text['gatehouse-refdb-ingest'])
        self.assertIn('gatehouse serve \\-\\-config /etc/gatehouse/gatehouse.toml\n', text['gatehouse-serve'])
        for name, page in text.items():
            self.assertRegex(page, r'^\.TH ', name)
            self.assertNotIn(BUILD, page)  # where it was built says nothing to who reads it
            # Only requests that are known begin a line.
            self.assertEqual([line for line in page.splitlines() if re.match(r"[.']", line) and not re.match(r'\.(TH|SH|TP|B|BR|PP|nf|fi)\b', line)], [], name)
        shell = '. "$1"; COMP_WORDS=("${@:2}"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _gatehouse; printf "%s\\n" "${COMPREPLY[@]}"'
        completed = lambda *words: run('bash', '-c', shell, 'bash', os.path.join(completion, 'gatehouse'), 'gatehouse', *words).stdout.split()
        self.assertEqual(completed('ref'), ['refdb'])
        self.assertEqual(completed('device', 'baseline', 'app'), ['approve'])
        self.assertIn('--keyring', completed('refdb', 'ingest', '--refdb', 'x', '--k'))

    def unit_is_good(self, root, unit):
        """It starts the program where a real installation has it, and systemd takes every line of it."""
        with open(os.path.join(root, unit), encoding='utf-8') as f:
            text = f.read()
        started = re.search(r'^ExecStart=(\S+)/(\S+)', text, re.M)
        self.assertEqual(started[1], cache(BUILD)['CMAKE_INSTALL_PREFIX'] + '/bin')
        if shutil.which('systemd-analyze') is None:
            self.skipTest("systemd-analyze isn't installed: the units weren't verified")
        # Under the same name, with the program that was installed here and without a user that may be missing.
        copy = os.path.join(self.folder, os.path.basename(unit))
        with open(copy, 'w', encoding='utf-8') as f:
            f.write(re.sub(r'^(User|Group)=.*\n', '', text.replace(started[1], os.path.join(root, 'bin')), flags=re.M))
        verified = run('systemd-analyze', 'verify', '--man=no', '--recursive-errors=no', copy)
        self.assertEqual((verified.returncode, verified.stdout.strip()), (0, ''))

    def test_the_endpoint_configures_without_the_servers_libraries(self):
        built = cache(BUILD)
        missing = [f'-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON'
                   for name in ('RocksDB', 'TBB', 'LibArchive', 'Boost', 'spdlog')]
        build = os.path.join(self.folder, 'build')
        configure = [CMAKE, '-S', SOURCE, '-B', build, '-G', built['CMAKE_GENERATOR'], '-DGATEHOUSE_TESTS=OFF',
                     '-DCMAKE_CXX_COMPILER=' + built['CMAKE_CXX_COMPILER'], *missing]
        without = run(*configure, '-DGATEHOUSE_SERVER=OFF')
        self.assertEqual(without.returncode, 0, without.stdout)
        targets = run(CMAKE, '--build', build, '--target', 'help').stdout
        self.assertIn('gatehouse-endpoint', targets)
        self.assertNotIn('gatehouse_graph', targets)
        for folder, _, names in os.walk(build):
            for name in (n for n in names if n.endswith(('.ninja', '.make', 'link.txt'))):
                with open(os.path.join(folder, name), encoding='utf-8', errors='replace') as f:
                    rules = f.read()
                self.assertNotRegex(rules, r'librocksdb|libtbb|-lrocksdb|-ltbb')
        # The same with the server must fail, or the packages weren't missing.
        self.assertNotEqual(run(*configure, '-DGATEHOUSE_SERVER=ON').returncode, 0)


if __name__ == '__main__':
    unittest.main()
