"""A disk that is full at any point of an ingestion: the store stays what it was, says what is wrong, and the same command
goes on once there is room. The disk is a small one in memory, of a mount namespace of this test: root alone can make it."""
import ctypes, hashlib, json, os, shutil, subprocess, tempfile, unittest

GATEHOUSE = os.environ['GATEHOUSE']
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 1 << 18
LIBC = ctypes.CDLL(None, use_errno=True)


def own_mounts():
    """Nobody else sees what is mounted from here on, and nothing of it is left behind."""
    return LIBC.unshare(CLONE_NEWNS) == 0 and LIBC.mount(b'none', b'/', None, MS_REC | MS_PRIVATE, None) == 0


def run(*arguments):
    return subprocess.run([GATEHOUSE, 'refdb', *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


class FullDisk(unittest.TestCase):
    KIB = 24 << 10

    def setUp(self):
        if os.geteuid() != 0 or not own_mounts():
            self.skipTest('a disk of its own needs the right to mount one: root, and a machine that allows it')
        self.folder = tempfile.mkdtemp(prefix='gatehouse-full-disk-')
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.disk = self.path('disk')
        os.mkdir(self.disk)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=%dk' % self.KIB, 'none', self.disk], check=True)
        self.addCleanup(subprocess.run, ['umount', '-l', self.disk], check=False)
        self.refdb = os.path.join(self.disk, 'refdb')

    def path(self, name):
        return os.path.join(self.folder, name)

    def list_of(self, name, count):
        path = self.path(name)
        with open(path, 'w', encoding='utf-8') as file:
            for n in range(count):
                file.write('%s  /usr/share/%s/file%d\n' % (hashlib.sha256(b'%d' % n).hexdigest(), name, n))
        return 'sha256sums:' + path

    def ingest(self, source, refdb=None):
        return run('ingest', '--refdb', refdb or self.refdb, '--product', 'p', '--json', source)

    def stats(self, refdb=None):
        return json.loads(run('stats', '--refdb', refdb or self.refdb, '--json').stdout)

    def free(self):
        room = os.statvfs(self.disk)
        return room.f_bavail * room.f_frsize

    def fill(self, left):
        """All but so many bytes."""
        with open(os.path.join(self.disk, 'filler'), 'wb') as file:
            file.write(bytes(max(self.free() - left, 0)))

    def test_the_store_stays_and_the_same_command_goes_on(self):
        first, second = self.list_of('first', 100), self.list_of('second', 20_000)
        self.assertEqual(self.ingest(first).returncode, 0)
        before = self.stats()
        wanted = self.path('undisturbed')
        for source in (first, second):
            self.assertEqual(self.ingest(source, wanted).returncode, 0)
        wanted = self.stats(wanted)
        reasons, left, failures = set(), 0, 0
        while True:
            self.fill(left)
            ran = self.ingest(second)
            if ran.returncode == 0:
                break
            failures += 1
            text = ran.stderr.decode()
            self.assertIn(ran.returncode, (3, 4), text)
            self.assertIn('No space left on device', text)
            reasons.add(text.split('environment: ')[1].split(':')[0])
            # A reader sees what it saw, with the disk as full as it is.
            self.assertEqual({k: v for k, v in self.stats().items() if k != 'bytes'}, {k: v for k, v in before.items() if k != 'bytes'})
            found = run('lookup', '--refdb', self.refdb, '/usr/share/first/file7')
            self.assertEqual(found.returncode, 0, found.stderr)
            os.unlink(os.path.join(self.disk, 'filler'))
            left = max(4096, left * 3 // 2)
            self.assertLess(left, self.KIB << 10, 'the disk is never large enough')
        # From the first byte on, and while the generation is made.
        self.assertGreater(failures, 10)
        self.assertEqual(reasons, {"can't write what is staged", "can't write the references"})
        self.assertEqual(self.stats()['generation'], before['generation'] + 1)
        self.assertEqual(self.stats()['content_digest'], wanted['content_digest'])


if __name__ == '__main__':
    unittest.main()
