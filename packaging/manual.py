#!/usr/bin/env python3
"""Makes the manual pages and the bash completion of a program from its --help, so that neither can say anything else.

    packaging/manual.py build/release/bin/gatehouse --pages OUT/man1 --completion OUT/completions

A page for the program and for each subcommand, gzipped: gatehouse.1.gz, gatehouse-refdb-ingest.1.gz.
"""
import argparse, gzip, os, re, subprocess, sys

EXIT_CODES = (
    ('0', 'done; for a verdict: allow'),
    ('1', 'the answer is negative: a verdict other than allow, a lookup that found nothing'),
    ('2', 'usage error: unknown option, missing argument, invalid configuration'),
    ('3', 'malformed input: the message names file or peer, byte offset and reason'),
    ('4', 'the environment failed: I/O, network, TLS, TPM, database, permissions'),
)


class Help:
    """What `PROGRAM SUBCOMMAND… --help` says: description, usage, sections of (term, text), examples and what follows."""

    def __init__(self, program, path):
        ran = subprocess.run([program, *path, '--help'], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            raise SystemExit('%s: %s --help ended with %d' % (sys.argv[0], ' '.join([program, *path]), ran.returncode))
        self.name = ' '.join([os.path.basename(program), *path])
        lines = ran.stdout.replace(program, os.path.basename(program)).splitlines()
        usage = next(i for i, line in enumerate(lines) if line.startswith('Usage: '))
        self.description = ' '.join(lines[:usage]).strip()
        self.usage = lines[usage][len('Usage: '):]
        end = next((i for i, line in enumerate(lines) if re.match(r'Examples?:$', line)), len(lines))
        self.after = lines[end:]
        self.sections = []
        for line in lines[usage + 1:end]:
            if re.match(r'\S.*:$', line):
                self.sections.append((line[:-1], []))
            elif line.startswith('  ') and self.sections:
                entries = self.sections[-1][1]
                if line.startswith(' ' * 30):
                    entries[-1][1] = (entries[-1][1] + ' ' + line.strip()).strip()
                else:
                    term, _, text = line[2:].partition('  ') if len(line) > 30 and line[28:30] == '  ' else (line[2:], '', '')
                    entries.append([term.strip(), text.strip()])

    def entries(self, title):
        return [entry for name, entries in self.sections if name == title for entry in entries]

    def subcommands(self):
        return [term for term, _ in self.entries('Subcommands')]

    def options(self):
        """The words that begin an option, of all sections."""
        out = []
        for name, entries in self.sections:
            if name != 'Subcommands':
                for term, _ in entries:
                    out += [word for word in term.split(' ')[0].split(',') if word.startswith('-')]
        return out


def roff(text):
    text = text.replace('\\', '\\e').replace('-', '\\-').replace("'", '\\(aq')
    text = ''.join(c if c.isascii() else '\\[u%04X]' % ord(c) for c in text)
    return '\\&' + text if text.startswith('.') else text


def page(one, version):
    title = one.name.replace(' ', '-')
    out = ['.TH %s 1 "" "%s" "Gatehouse"' % (roff(title.upper()), roff(version)), '.SH NAME', '%s \\- %s' % (roff(title), roff(one.description.rstrip('.'))),
           '.SH SYNOPSIS', '.B ' + roff(one.usage)]
    for name, entries in one.sections:
        out.append('.SH "%s"' % roff(name.upper()))
        for term, text in entries:
            out += ['.TP', '.B ' + roff(term), roff(text)]
    if one.after:
        out += ['.SH EXAMPLES']
        plain = False
        for line in one.after[1:]:
            indented = line.startswith('  ')
            if indented and not plain:
                out.append('.nf')
            elif plain and not indented:
                out.append('.fi\n.PP')
            plain = indented
            out.append(roff(line.strip() if not indented else line[2:]))
        if plain:
            out.append('.fi')
    out.append('.SH "EXIT STATUS"')
    for code, meaning in EXIT_CODES:
        out += ['.TP', '.B ' + code, roff(meaning)]
    parts = one.name.split()
    related = ['-'.join(parts[:-1])] if len(parts) > 1 else []
    related += ['-'.join([*parts, sub]) for sub in one.subcommands()]
    if related:
        out += ['.SH "SEE ALSO"', ',\n'.join('.BR %s (1)' % roff(name) for name in related)]
    return '\n'.join(line for line in out if line != '') + '\n'


def completion(program, pages):
    name = os.path.basename(program)
    function = '_' + name.replace('-', '_')
    out = ['# bash completion of %s, made from its --help' % name, function + '() {',
           '  local word=${COMP_WORDS[COMP_CWORD]} at= i', '  for ((i = 1; i < COMP_CWORD; ++i)); do',
           '    case "$at ${COMP_WORDS[i]}" in']
    nested = [' '.join(path) for path in pages if path]
    out.append('      %s) at="$at ${COMP_WORDS[i]}";;' % '|'.join('" %s"' % path for path in nested))
    out += ['    esac', '  done', '  case "$at" in']
    for path, one in pages.items():
        words = one.subcommands() + one.options()
        out.append('    "%s") COMPREPLY=($(compgen -W "%s" -- "$word"));;' % (' ' + ' '.join(path) if path else '', ' '.join(words)))
    out += ['  esac', '}', 'complete -o default -F %s %s' % (function, name)]
    return '\n'.join(out) + '\n'


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('program')
    arguments.add_argument('--pages', required=True)
    arguments.add_argument('--completion', required=True)
    options = arguments.parse_args()
    version = subprocess.run([options.program, '--version'], capture_output=True, text=True, check=True).stdout.strip()
    pages, left = {}, [()]
    while left:
        path = left.pop(0)
        pages[path] = Help(options.program, path)
        left += [(*path, sub) for sub in pages[path].subcommands()]
    os.makedirs(options.pages, exist_ok=True)
    os.makedirs(options.completion, exist_ok=True)
    for one in pages.values():
        with open(os.path.join(options.pages, one.name.replace(' ', '-') + '.1.gz'), 'wb') as file:
            file.write(gzip.compress(page(one, version).encode(), 9, mtime=0))
    with open(os.path.join(options.completion, os.path.basename(options.program)), 'w', encoding='utf-8') as file:
        file.write(completion(options.program, pages))


if __name__ == '__main__':
    main()
