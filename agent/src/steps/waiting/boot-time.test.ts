// What hosts without Linux's boot id report, and what is concluded from it. No macOS or BSD runs here; stand-ins
// replace their programs.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { bootScript, hasRestarted } from './boot-time.ts';

const day = 86_400_000;
const started = (usec: number, sec = 1_700_000_000) =>
  `clock { sec = ${sec}, usec = ${usec} } Tue Nov 14 22:13:20 2023`;

test.each([
  ['another boot id', { id: 'b', upMs: undefined }, 'a', true],
  ['the same boot id', { id: 'a', upMs: undefined }, 'a', false],
  ['another boot id, of a host that says to be up for long', { id: 'b', upMs: day }, 'a', true],
  ['a clock that was corrected', { id: started(7), upMs: 3 * day }, started(5), false],
  ['a clock that was set', { id: started(5, 1_700_000_002), upMs: 3 * day }, started(5), false],
  ['a start since', { id: started(5, 1_700_300_000), upMs: 4_000 }, started(5), true],
  ['a host that was up for no longer when it was asked', { id: started(5), upMs: 9_000 }, started(5), false],
  ['an up time that makes no sense', { id: started(7), upMs: undefined }, started(5), false],
  [
    'plain seconds of a clock that was corrected',
    { id: 'clock 1700000007', upMs: 3 * day },
    'clock 1700000000',
    false,
  ],
  ['plain seconds of a start since', { id: 'clock 1700300000', upMs: 4_000 }, 'clock 1700000000', true],
  ['plain seconds without an uptime', { id: 'clock 1700000007', upMs: undefined }, 'clock 1700000000', false],
  ['another record of the start', { id: 'clock b', upMs: undefined }, 'clock a', true],
  ['the same record of the start', { id: 'clock a', upMs: undefined }, 'clock a', false],
  ['an id beside the note of an earlier version', { id: 'b', upMs: 3 * day }, started(5).slice(6), false],
  ['a start since the note of an earlier version', { id: 'b', upMs: 4_000 }, started(5).slice(6), true],
  [
    'a record, compared with the id that an earlier version noted',
    { id: 'clock a', upMs: undefined },
    'Tue Nov',
    undefined,
  ],
  ['an up time alone', { id: 'b', upMs: 4_000 }, undefined, true],
  ['nothing', { id: undefined, upMs: undefined }, 'a', undefined],
] as const)('whether a host has restarted is told by %s', (_, now, before, restarted) => {
  expect(hasRestarted(now, before, 10_000)).toBe(restarted);
});

/** What the script prints on a host with these programs and without /proc. */
function said(programs: Record<string, string>): string {
  const dir = mkdtempSync(join(tmpdir(), 'opsconductor-test-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  for (const [name, body] of Object.entries({ who: 'exit 1', sysctl: 'exit 1', ...programs })) {
    writeFileSync(join(dir, name), `#!/bin/sh\n${body}\n`);
    chmodSync(join(dir, name), 0o755);
  }
  const script = bootScript('nonce').replaceAll('/proc/', '/nowhere/');
  return execFileSync('/bin/sh', { input: script, env: { PATH: `${dir}:/usr/bin:/bin` }, encoding: 'utf8' });
}

test('a boot id comes first; without one, the time of the boot and the uptime are reported', () => {
  const time = '$(($(date +%s) - 5000))';
  const clock = `*kern.boottime) echo "{ sec = ${time}, usec = 12 } Tue Nov 14" ;;`;
  const sysctl = (more: string) => `case "$*" in ${more} *) exit 1 ;; esac`;
  expect(said({ sysctl: sysctl(`${clock} '-n kern.bootsessionuuid') echo 5E6F-B1 ;;`) })).toMatch(
    /^nonce id 5E6F-B1\nnonce up 500[0-2]\n$/,
  );
  expect(
    said({ sysctl: sysctl(`${clock} '-nx kern.boot_id') echo 'Format: Length:16 Dump:0x4c' ;;`) }),
  ).toMatch(/^nonce id Format: Length:16 Dump:0x4c\nnonce up 500[0-2]\n$/);
  expect(said({ sysctl: sysctl(clock) })).toMatch(
    /^nonce id clock \{ sec = \d+, usec = 12 \} Tue Nov 14\nnonce up 500[0-2]\n$/,
  );
  expect(
    said({
      sysctl: sysctl('*kern.boottime) echo "Tue Nov 14" ;;'),
      who: 'echo "  system boot  Nov 14 22:13"',
    }),
  ).toBe('nonce id clock system boot Nov 14 22:13\n');
  // OpenBSD's sysctl prints plain seconds, and its who has no -b.
  expect(said({ sysctl: sysctl(`'-n kern.boottime') echo ${time} ;;`) })).toMatch(
    /^nonce id clock \d+\nnonce up 500[0-2]\n$/,
  );
  expect(said({})).toBe('nonce id clock\n');
});

test('this host reports its boot id', () => {
  const script = bootScript('nonce');
  expect(execFileSync('/bin/sh', { input: script, encoding: 'utf8' })).toMatch(
    /^nonce id [\w-]+\nnonce up [\d.]+\n$/,
  );
});
