"""The day of docs/operations.md, run as it stands there but for the service's folders, all of which are one here: each block of commands in one shell, in order, against a server
and an endpoint on the loopback interface. What isn't an operator's doing is told by comments in the document:

  <!-- day: boot LIST -->              the endpoint starts with this list measured: golden, updated
  <!-- day: machine NAME -->           another machine is on the endpoint's desk, with a TPM of its own; it claims to be
                                       NAME, but for the one that was there first
  <!-- day: enrol TOKEN -->            it proves its key with the token in this file
  <!-- day: attest WHAT [LIST] -->     it attests, with its own list or with another one; WHAT is the recommendation, or
                                       refused for any but allow

Two commands are played: `sudo` runs what follows, and of `systemctl` enable --now starts the server, reload is SIGHUP."""
import json, os, re, shutil, signal, socket, subprocess, sys, tempfile, threading, unittest

GATEHOUSE = os.environ['GATEHOUSE']
ENDPOINT = os.environ['GATEHOUSE_ENDPOINT']
EXTEND = os.environ['GATEHOUSE_TPM_EXTEND']
SOURCE = os.environ['GATEHOUSE_SOURCE']
DOCUMENT = os.path.join(SOURCE, 'docs', 'operations.md')
EVIDENCE = os.path.join(SOURCE, 'tests', 'data', 'interop', 'evidence')
LOG = os.path.join(EVIDENCE, 'base', 'binary_bios_measurements')
LISTS = {name: os.path.join(EVIDENCE, folder, 'binary_runtime_measurements')
         for name, folder in (('golden', 'base'), ('updated', 'changed'), ('tampered', 'tampered'))}
LIMIT = 300  # seconds for one step; only a step that hangs meets it
FOLDERS = re.compile('(?:/etc|/var/lib|/var/log)/gatehouse/')


def steps(text):
    """Of the document, in order: ('file', name, content), ('run', commands, line), ('play', words, line)."""
    pattern = re.compile(r'^```sh day\n(.*?)^```$|^```toml day=(\S+)\n(.*?)^```$|^<!-- day: (.*?) -->$', re.M | re.S)
    for found in pattern.finditer(text):
        line = text.count('\n', 0, found.start()) + 1
        if found[1] is not None:
            yield 'run', found[1], line
        elif found[2] is not None:
            yield 'file', found[2], found[3]
        else:
            for one in found[4].split(';'):
                yield 'play', one.split(), line


class Shell:
    """One bash for all blocks, so that variables last."""

    def __init__(self, folder, environment):
        self.process = subprocess.Popen(['bash', '-euo', 'pipefail'], cwd=folder, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')

    def run(self, commands):
        """What it printed; None in place of a code: the shell ended, as it does after a command that failed."""
        mark = 'end-of-block'
        try:
            self.process.stdin.write(commands + f'\necho {mark}\n')
            self.process.stdin.flush()
        except BrokenPipeError:
            return False, ''
        out = []
        hangs = threading.Timer(LIMIT, self.process.kill)
        hangs.start()
        try:
            for line in self.process.stdout:
                if line.rstrip('\n') == mark:
                    return True, ''.join(out)
                out.append(line)
            return False, ''.join(out)
        finally:
            hangs.cancel()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Day(unittest.TestCase):
    def setUp(self):
        if shutil.which('swtpm') is None:
            self.skipTest("swtpm isn't installed: nothing was tested")
        self.folder = tempfile.mkdtemp(prefix='gatehouse-day-')
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.site = self.at('site')
        self.tpm = None
        for name in ('site', 'bin', 'run'):
            os.mkdir(self.at(name), 0o700)
        self.machine('first')
        self.certificates()
        self.manufacturer()
        shutil.copy(LISTS['golden'], os.path.join(self.site, 'golden.ima'))
        shutil.copy(LISTS['updated'], os.path.join(self.site, 'pilot.ima'))
        for name, program in (('gatehouse', GATEHOUSE), ('gatehouse-endpoint', ENDPOINT)):
            os.symlink(program, self.at('bin', name))
        self.play_systemctl()
        self.addCleanup(self.stop_server)
        self.addCleanup(self.stop_tpm)

    def at(self, *names):
        return os.path.join(self.folder, *names)

    def call(self, *command, **more):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors='replace', timeout=LIMIT, **more)
        return done.returncode, done.stdout

    def good(self, *command, **more):
        code, out = self.call(*command, **more)
        self.assertEqual(code, 0, f'{" ".join(command)}\n{out}')
        return out

    def certificates(self):
        ca, key = self.at('ca.pem'), self.at('ca.key')
        self.good('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key,
                  '-subj', '/CN=day CA', '-days', '2', '-out', ca)
        shutil.copy(ca, os.path.join(self.site, 'clients-ca.pem'))
        for name, usage in (('server', 'serverAuth'), ('client', 'clientAuth')):
            with open(self.at('ext'), 'w', encoding='ascii') as ext:
                ext.write(f'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={usage}\nbasicConstraints=CA:false\n')
            self.good('openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', os.path.join(self.site, name + '.key'),
                      '-subj', '/CN=' + name, '-out', self.at('csr'))
            self.good('openssl', 'x509', '-req', '-in', self.at('csr'), '-CA', ca, '-CAkey', key, '-CAcreateserial', '-days', '2',
                      '-extfile', self.at('ext'), '-out', os.path.join(self.site, name + '.pem'))

    def manufacturer(self):
        """The CA of the TPMs' maker, which the operator knows."""
        os.mkdir(os.path.join(self.site, 'ek-ca'))
        self.good('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', self.at('maker.key'),
                  '-subj', '/CN=TPM maker', '-days', '2', '-out', os.path.join(self.site, 'ek-ca', 'maker.pem'))

    def certified_ek(self):
        """The certificate that the maker would have put into this machine's TPM; from the endorsement key that the endpoint shows."""
        with open(self.at('ek.pub'), 'w', encoding='ascii') as out:
            out.write(self.good(ENDPOINT, 'enrol', '--show-ek', '--tcti', self.tcti))
        with open(self.at('ext'), 'w', encoding='ascii') as ext:
            ext.write('basicConstraints=critical,CA:false\nkeyUsage=critical,keyEncipherment,keyAgreement\nextendedKeyUsage=2.23.133.8.1\n'
                      'subjectAltName=critical,dirName:tpm\n[tpm]\n1.2.23.133.2.1=id:49424D00\n2.2.23.133.2.2=swtpm\n3.2.23.133.2.3=id:20191023\n')
        self.good('openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', self.at('unused.key'), '-subj', '/CN=TPM',
                  '-out', self.at('csr'))
        self.good('openssl', 'x509', '-req', '-in', self.at('csr'), '-force_pubkey', self.at('ek.pub'), '-CA', os.path.join(self.site, 'ek-ca', 'maker.pem'),
                  '-CAkey', self.at('maker.key'), '-CAserial', self.at('maker.srl'), '-CAcreateserial', '-days', '2', '-extfile', self.at('ext'), '-out', self.at('ek.pem'))
        return self.at('ek.pem')

    def play_systemctl(self):
        """Commands to this test by two pipes, so that the shell goes on when what it asked for is done."""
        os.mkfifo(self.at('run', 'asked'))
        os.mkfifo(self.at('run', 'done'))
        with open(self.at('bin', 'systemctl'), 'w', encoding='ascii') as program:
            program.write(f'#!/bin/sh\necho "$*" >{self.at("run", "asked")}\nread -r answer <{self.at("run", "done")}\n'
                          '[ "$answer" = good ] || { echo "systemctl: $answer" >&2; exit 1; }\n')
        with open(self.at('bin', 'sudo'), 'w', encoding='ascii') as program:
            program.write('#!/bin/sh\nexec "$@"\n')
        for name in ('systemctl', 'sudo'):
            os.chmod(self.at('bin', name), 0o755)
        self.server = None
        self.systemd = threading.Thread(target=self.serve_systemctl, daemon=True)
        self.systemd.start()

    def serve_systemctl(self):
        while True:
            with open(self.at('run', 'asked'), encoding='ascii') as asked:
                words = asked.read().split()
            if words == ['stop-the-test']:
                return
            try:
                answer = self.systemctl(words)
            except Exception as error:  # told to the shell, whose step fails
                answer = f'{type(error).__name__} {error}'
            with open(self.at('run', 'done'), 'w', encoding='ascii', errors='replace') as done:
                done.write(answer.replace('\n', ' ') + '\n')

    def systemctl(self, words):
        if words == ['enable', '--now', 'gatehouse']:
            self.log = open(self.at('server.log'), 'w+b')
            self.server = subprocess.Popen([GATEHOUSE, 'serve', '--config', 'gatehouse.toml'], cwd=self.site, stdin=subprocess.DEVNULL, stderr=self.log)
            answer = self.await_line('PT-TLS listening on ', 1)
            if answer == 'good':
                self.port = re.search(r'PT-TLS listening on \S*:(\d+)', self.log_text())[1]
            return answer
        if words == ['reload', 'gatehouse']:
            told = self.log_text().count('reference generation ')
            self.server.send_signal(signal.SIGHUP)
            return self.await_line('reference generation ', told + 1)
        return 'not a command that this test plays'

    def log_text(self):
        with open(self.at('server.log'), encoding='utf-8', errors='replace') as log:
            return log.read()

    def await_line(self, text, times):
        """The server's log is a file: whoever waits for a line looks again whenever the server could have written."""
        while self.server.poll() is None:
            if self.log_text().count(text) >= times:
                return 'good'
            try:
                self.server.wait(0.05)
            except subprocess.TimeoutExpired:
                pass
        return 'the server has ended: ' + self.log_text()[-2000:]

    def stop_server(self):
        if self.systemd.is_alive():
            with open(self.at('run', 'asked'), 'w', encoding='ascii') as asked:
                asked.write('stop-the-test\n')
            self.systemd.join()
        if self.server is not None:
            self.server.terminate()
            self.assertEqual(self.server.wait(LIMIT), 0, self.log_text()[-4000:])
            self.log.close()

    def stop_tpm(self):
        if self.tpm is not None:
            self.tpm.kill()
            self.tpm.wait()
            self.tpm = None

    def machine(self, name):
        self.stop_tpm()
        self.name = name
        os.makedirs(self.at('tpm-' + name), 0o700, exist_ok=True)

    def boot(self, name):
        """The TPM starts anew, with its keys, and firmware and kernel measure into it."""
        self.stop_tpm()
        folder = self.at('tpm-' + self.name)
        path = os.path.join(folder, 'socket')
        ends = []
        for one in (path, path + '.ctrl'):  # tpm2-tss looks for the second there
            if os.path.exists(one):
                os.unlink(one)
            end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            end.bind(one)
            end.listen(8)
            ends.append(end)
        self.tpm = subprocess.Popen(['swtpm', 'socket', '--tpm2', '--tpmstate', 'dir=' + folder, '--server', f'type=unixio,fd={ends[0].fileno()}',
                                     '--ctrl', f'type=unixio,fd={ends[1].fileno()}', '--flags', 'not-need-init'],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[e.fileno() for e in ends])
        for end in ends:
            end.close()
        self.tcti = 'swtpm:path=' + path
        self.list = name
        self.good(EXTEND, '--tcti', self.tcti, '--swtpm-ctrl', path + '.ctrl', '--startup-locality', '3', '--eventlog', LOG, '--ima', LISTS[name])
        pem = os.path.join(self.site if self.name == 'first' else folder, 'ak.pem')
        self.good(ENDPOINT, 'provision', '--tcti', self.tcti, '--algorithm', 'ecc', '--pem', pem)

    def connected(self, command, *more):
        return (ENDPOINT, command, '--json', '--server', f'localhost:{self.port}', '--ca', self.at('ca.pem'), '--certificate', os.path.join(self.site, 'client.pem'),
                '--key', os.path.join(self.site, 'client.key'), '--tcti', self.tcti, *more)

    def enrol(self, token):
        self.good(*self.connected('enrol', '--token-file', os.path.join(self.site, token), '--ek-cert', self.certified_ek()))

    def attest(self, expected, shown=None):
        named = () if self.name == 'first' else ('--device-id', self.name)
        code, out = self.call(*self.connected('attest', '--eventlog', LOG, '--ima', LISTS[shown or self.list], '--os-name', 'Debian', '--os-version', '12 x86_64',
                                              '--inventory', self.at('inventory'), *named))
        self.assertIn(code, (0, 1), out + self.log_text()[-4000:])
        got = json.loads(out[out.index('{'):])['recommendation']
        if expected == 'refused':
            self.assertNotEqual(got, 'allow')
        else:
            self.assertEqual(got, expected, out + self.log_text()[-4000:])

    def test_the_commands_of_the_document(self):
        with open(DOCUMENT, encoding='utf-8') as file:
            day = list(steps(file.read()))
        self.assertGreater(len([1 for step in day if step[0] == 'run']), 10)
        shell = Shell(self.site, dict(os.environ, PATH=self.at('bin') + ':' + os.environ['PATH']))
        self.addCleanup(shell.close)
        said = ''
        for kind, what, more in day:
            if kind == 'file':
                with open(os.path.join(self.site, what), 'w', encoding='utf-8') as file:
                    file.write(FOLDERS.sub(self.site + '/', more).replace('[::]:271', '127.0.0.1:0'))
            elif kind == 'play':
                {'machine': self.machine, 'boot': self.boot, 'enrol': self.enrol, 'attest': self.attest}[what[0]](*what[1:])
            else:
                good, out = shell.run(FOLDERS.sub(self.site + '/', what))
                said += out
                self.assertTrue(good, f'{DOCUMENT}:{more}: this block failed:\n{what}\n{out}\n{self.log_text()[-3000:] if self.server else ""}')
        # What the day is told to have shown.
        for words in ('trusted by credential activation', 'ticket 4711', 'certified by CN=TPM maker', '/usr/share/perl5/Dpkg/Exit.pm', 'nothing was changed, removed or put in between', 'an attestation result (EAR), signed with ES256'):
            self.assertIn(words, said)
        self.check_token(os.path.join(self.site, 'incident.jwt'))

    def check_token(self, path):
        """By the certificate's public key alone, with OpenSSL."""
        import base64
        with open(path, encoding='ascii') as file:
            head, claims, signature = file.read().strip().split('.')
        plain = lambda text: base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))
        self.assertEqual(json.loads(plain(head))['alg'], 'ES256')
        appraisal = json.loads(plain(claims))['submods']['endpoint']
        self.assertEqual(appraisal['ear_status'], 'contraindicated')
        raw = plain(signature)
        number = lambda b: (lambda d: b'\x02' + bytes([len(d)]) + d)((b'\0' if b.lstrip(b'\0')[:1] >= b'\x80' else b'') + (b.lstrip(b'\0') or b'\0'))
        body = number(raw[:32]) + number(raw[32:])
        with open(self.at('signature'), 'wb') as file:
            file.write(b'\x30' + bytes([len(body)]) + body)
        with open(self.at('message'), 'w', encoding='ascii') as file:
            file.write(head + '.' + claims)
        with open(self.at('server.pub'), 'w', encoding='ascii') as file:
            file.write(self.good('openssl', 'x509', '-in', os.path.join(self.site, 'server.pem'), '-noout', '-pubkey'))
        self.good('openssl', 'dgst', '-sha256', '-verify', self.at('server.pub'), '-signature', self.at('signature'), self.at('message'))


if __name__ == '__main__':
    unittest.main()
