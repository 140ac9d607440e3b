// `tsx test/support/ensure-packages.ts`: gets the programs that the suite tests against, and reports what is missing.
import {
  ensureAnsible,
  ensureChromium,
  ensureNetworkTools,
  ensureShells,
  ensureSshd,
  ensureWinrmFixture,
} from './packages.ts';

const print = (line: string) => process.stdout.write(`${line}\n`);
for (const [name, ensure] of [
  ['sshd', ensureSshd],
  ['chromium', ensureChromium],
  ['ansible', ensureAnsible],
  ['WinRM host', ensureWinrmFixture],
] as const) {
  const result = await ensure({ print });
  print('missing' in result ? `${name}: not available: ${result.missing}` : `${name}: ${result.path}`);
}
for (const [name, result] of await ensureShells({ print })) {
  print('missing' in result ? `${name}: not available: ${result.missing}` : `${name}: ${result.path}`);
}
const networks = await ensureNetworkTools({ print });
print(`network namespaces: ${networks === undefined ? 'available' : `not available: ${networks.missing}`}`);
