"""The Debian packages of scripts/package.sh, each installed alone by dpkg: on a copy of this machine's file system that nobody
else sees (an overlay in a mount namespace), with its dependencies as they are declared."""
import glob, os, shutil, subprocess, sys, tempfile, unittest

SOURCE = os.environ['GATEHOUSE_SOURCE']
PACKAGES = os.environ.get('GATEHOUSE_PACKAGES', os.path.join(SOURCE, 'build', 'packages'))
LOG = os.path.join(SOURCE, 'tests', 'data', 'interop', 'evidence', 'base', 'binary_bios_measurements')

# Given a folder, this makes the copy, and runs the commands of the standard input in it. Nothing outlives it.
COPY = r'''set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/changed" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/changed,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
cp "$2" "$1/root/package.deb"
cp "$3" "$1/root/eventlog"
exec chroot "$1/root" /bin/sh -eu
'''
NOT = '''not() { if "$@"; then echo "unexpected: $*"; exit 1; fi; }
'''


def package(name):
    found = glob.glob(os.path.join(PACKAGES, name + '_*.deb'))
    return max(found, key=os.path.getmtime) if found else None


class Packages(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest('only root can install a package: nothing was tested')
        if package('gatehouse') is None or package('gatehouse-endpoint') is None:
            self.skipTest(f'no packages in {PACKAGES}, scripts/package.sh makes them: nothing was tested')
        self.folder = tempfile.mkdtemp(prefix='gatehouse-package-')
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.run_in_copy(package('gatehouse'), 'true', skip=True)

    def run_in_copy(self, deb, commands, skip=False):
        done = subprocess.run(['unshare', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', COPY, 'sh', self.folder, deb, LOG], input=NOT + commands,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        if skip and done.returncode != 0:
            self.skipTest('no overlay of the file system can be mounted here: nothing was tested: ' + done.stdout.strip())
        self.assertEqual(done.returncode, 0, commands + '\n' + done.stdout)
        return done.stdout

    def test_the_server_installs_alone(self):
        out = self.run_in_copy(package('gatehouse'), r'''
export DEBIAN_FRONTEND=noninteractive
not dpkg-query -W gatehouse-endpoint
dpkg -i /package.deb
[ "$(dpkg-query -W -f '${db:Status-Status}' gatehouse)" = installed ]
/usr/bin/gatehouse --version
/usr/bin/gatehouse eventlog /eventlog --json | grep -q '"format":"crypto-agile"'
[ ! -e /usr/bin/gatehouse-endpoint ]
id gatehouse
for file in /lib/systemd/system/gatehouse.service /lib/systemd/system/gatehouse.socket /usr/lib/sysusers.d/gatehouse.conf \
    /usr/share/man/man1/gatehouse-serve.1.gz /usr/share/bash-completion/completions/gatehouse /etc/logrotate.d/gatehouse; do
  [ -s "$file" ] || { echo "$file is missing"; exit 1; }
done
grep -q '^ExecStart=/usr/bin/gatehouse serve ' /usr/lib/systemd/system/gatehouse.service
# What the operator changes in /etc stays, and so does the state, also when the package goes.
dpkg-query -W -f '${Conffiles}\n' gatehouse | grep -q '^ /etc/logrotate.d/gatehouse '
echo '# ours' >>/etc/logrotate.d/gatehouse
mkdir -p /etc/gatehouse /var/lib/gatehouse/state
echo ours >/etc/gatehouse/gatehouse.toml
echo ours >/var/lib/gatehouse/state/kept
dpkg -i /package.deb
grep -q '^# ours' /etc/logrotate.d/gatehouse
dpkg -r gatehouse
[ ! -e /usr/bin/gatehouse ]
dpkg -P gatehouse
[ ! -e /etc/logrotate.d/gatehouse ]
[ -s /var/lib/gatehouse/state/kept ]
[ -s /etc/gatehouse/gatehouse.toml ]
''')
        self.assertIn('gatehouse 0', out)

    def test_the_endpoint_installs_alone(self):
        self.run_in_copy(package('gatehouse-endpoint'), r'''
export DEBIAN_FRONTEND=noninteractive
not dpkg-query -W gatehouse
dpkg -i /package.deb
[ "$(dpkg-query -W -f '${db:Status-Status}' gatehouse-endpoint)" = installed ]
/usr/bin/gatehouse-endpoint --version
[ ! -e /usr/bin/gatehouse ]
[ -s /lib/systemd/system/gatehouse-endpoint.service ]
[ -s /usr/share/man/man1/gatehouse-endpoint-attest.1.gz ]
dpkg-query -W -f '${Depends}\n' gatehouse-endpoint >/depends
not grep -E 'rocksdb|tbb|boost|curl' /depends
ldd /usr/bin/gatehouse-endpoint >/libraries
not grep 'not found' /libraries
dpkg -P gatehouse-endpoint
[ ! -e /usr/bin/gatehouse-endpoint ]
''')

    def test_a_dependency_that_is_missing_is_named(self):
        """Or the dependencies weren't declared, and the tests above would say nothing of them."""
        out = self.run_in_copy(package('gatehouse'), r'''
dpkg --force-depends --remove librocksdb7.8 >/dev/null 2>&1
not dpkg -i /package.deb
''')
        self.assertIn('depends on librocksdb7.8', out)


if __name__ == '__main__':
    unittest.main()
