#!/usr/bin/env python3
"""Each header of ours compiles alone, and a second time after itself.

  check_headers.py ROOT COMPILER [FLAG...]

One compiler call a header, as many at once as the machine has cores. Prints what doesn't compile; exit 1 on any."""
import concurrent.futures, os, subprocess, sys

FOLDERS = ('base', 'wire', 'refdb', 'pipeline', 'server', 'endpoint', 'fleet', 'cli')


def headers(root):
    for folder in FOLDERS:
        for path, _, names in os.walk(os.path.join(root, folder)):
            yield from (os.path.relpath(os.path.join(path, name), root) for name in names if name.endswith('.h'))


def compile_alone(root, command, header):
    unit = f'#include "{header}"\n#include "{header}"\n'
    ran = subprocess.run([*command, '-fsyntax-only', '-I', root, '-x', 'c++', '-'], input=unit, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    return ran.returncode == 0, ran.stdout


def main():
    root, command = sys.argv[1], sys.argv[2:]
    found = sorted(headers(root))
    if not found:
        sys.exit(f'{root}: no header of ours')
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for header, (good, said) in zip(found, pool.map(lambda h: compile_alone(root, command, h), found)):
            if not good:
                bad += 1
                print(f'{header} doesn\'t compile alone:\n{said}')
    print(f'{len(found)} headers, {bad} bad')
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
