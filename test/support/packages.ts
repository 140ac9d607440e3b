// Finds the Debian programs that the tests run against (OpenSSH's sshd, Chromium, Ansible, shells, network tools,
// strace, the parts of a WinRM host), and gets those that are missing: root installs the package, other users unpack it
// below .cache. Never starts a service.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

export interface Program {
  path: string;
  /** Additions to the program's environment: where its libraries are, if it was unpacked. */
  env: Record<string, string>;
  /** Where the package's files are: `/`, or the folder that it was unpacked into. */
  root: string;
}
export type Ensured = Program | { missing: string };

interface Package {
  name: string;
  /** Paths of the program below the root; the first that exists is used. */
  paths: string[];
}

const sshd: Package = { name: 'openssh-server', paths: ['usr/sbin/sshd'] };
const sudo: Package = { name: 'sudo', paths: ['usr/bin/sudo'] };
/** SSH servers other than OpenSSH. */
const otherSshds = {
  dropbear: { name: 'dropbear-bin', paths: ['usr/sbin/dropbear'] },
  tinyssh: { name: 'tinysshd', paths: ['usr/sbin/tinysshd'] },
} satisfies Record<string, Package>;
export type OtherSshd = keyof typeof otherSshds;
const chromium: Package = { name: 'chromium', paths: ['usr/lib/chromium/chromium', 'usr/bin/chromium'] };
/** The same engine without the rest of a browser: a page takes a third of the processor time. */
const headlessShell: Package = {
  name: 'chromium-headless-shell',
  paths: ['usr/lib/chromium/chromium-headless-shell'],
};
const ansible: Package = { name: 'ansible-core', paths: ['usr/bin/ansible-inventory'] };
const strace: Package = { name: 'strace', paths: ['usr/bin/strace'] };
const haproxy: Package = { name: 'haproxy', paths: ['usr/sbin/haproxy'] };
const shells: Package[] = [
  { name: 'dash', paths: ['usr/bin/dash', 'bin/dash'] },
  { name: 'bash', paths: ['usr/bin/bash', 'bin/bash'] },
  { name: 'busybox', paths: ['usr/bin/busybox', 'bin/busybox'] },
  { name: 'zsh', paths: ['usr/bin/zsh', 'bin/zsh'] },
];
/** Libraries that give programs a different clock; the folder depends on the machine's architecture. */
export const faketimeLibraries = ['x86_64-linux-gnu', 'aarch64-linux-gnu'].map(
  (triple) => `usr/lib/${triple}/faketime/libfaketimeMT.so.1`,
);
/**
 * The program is Python; what it imports, and the mechanism that GSSAPI loads, must be installed in the system's
 * folders.
 */
const winrmFixture: Package[] = [
  { name: 'python3', paths: ['usr/bin/python3'] },
  { name: 'python3-gssapi', paths: ['usr/lib/python3/dist-packages/gssapi/__init__.py'] },
  { name: 'gss-ntlmssp', paths: ['etc/gss/mech.d/mech.ntlmssp.conf'] },
  { name: 'python3-winrm', paths: ['usr/lib/python3/dist-packages/winrm/__init__.py'] },
  { name: 'python3-kerberos', paths: ['var/lib/dpkg/info/python3-kerberos.list'] },
  { name: 'krb5-user', paths: ['usr/bin/kinit'] },
  { name: 'krb5-kdc', paths: ['usr/sbin/krb5kdc'] },
  { name: 'krb5-admin-server', paths: ['usr/sbin/kadmin.local'] },
  { name: 'libfaketime', paths: faketimeLibraries },
];
const curl: Package = { name: 'curl', paths: ['usr/bin/curl'] };
const jq: Package = { name: 'jq', paths: ['usr/bin/jq'] };
const networkTools: Package[] = [
  { name: 'iproute2', paths: ['usr/sbin/ip', 'usr/bin/ip', 'sbin/ip'] },
  { name: 'nftables', paths: ['usr/sbin/nft'] },
  curl,
];

export interface EnsureOptions {
  /** Where packages are unpacked; by default `<repository>/.cache/debian`. */
  cacheDir?: string;
  print?: (line: string) => void;
}

/** Returns the path of a real sshd, or why there is none. */
export function ensureSshd(options: EnsureOptions = {}): Promise<Ensured> {
  return ensure(sshd, options);
}

/** Returns the path of sudo, or why there is none: only root can install set-uid programs. */
export async function ensureSudo(options: EnsureOptions = {}): Promise<Ensured> {
  if (process.getuid?.() !== 0) return { missing: 'sudo is installed by root' };
  return ensure(sudo, options);
}

/** Returns the path of another SSH server, or why there is none. */
export function ensureOtherSshd(name: OtherSshd, options: EnsureOptions = {}): Promise<Ensured> {
  return ensure(otherSshds[name], options);
}

/** Returns the path of Chromium, preferably of its headless shell, or why there is none. */
export async function ensureChromium(options: EnsureOptions = {}): Promise<Ensured> {
  const present = find(headlessShell, options) ?? find(chromium, options);
  if (present !== undefined) return present;
  const shell = await ensure(headlessShell, options);
  return 'missing' in shell ? ensure(chromium, options) : shell;
}

/** Returns the path of `ansible-inventory`, or why there is none. */
export function ensureAnsible(options: EnsureOptions = {}): Promise<Ensured> {
  return ensure(ansible, options);
}

/** Returns the path of HAProxy, or why there is none. */
export function ensureHaproxy(options: EnsureOptions = {}): Promise<Ensured> {
  return ensure(haproxy, options);
}

/** Returns strace, if it may trace processes that it didn't start, or why there is none. */
export async function ensureStrace(options: EnsureOptions = {}): Promise<Ensured> {
  const found = await ensure(strace, options);
  if ('missing' in found) return found;
  const variables = Object.entries(found.env).map(([name, value]) => `${name}=${value}`);
  const look = 'sleep 0.2 & "$0" -q -o /dev/null -e trace=execve -p $!';
  const probe = await run('env', [...variables, '/bin/sh', '-c', look, found.path]);
  if (probe.code === 0) return found;
  return { missing: `strace may not look at other processes here: ${lastLines(probe.output)}` };
}

/** Returns the Python that can act as a WinRM host and connect to one, or why there is none. */
export async function ensureWinrmFixture(options: EnsureOptions = {}): Promise<Ensured> {
  let python: Ensured | undefined;
  for (const wanted of winrmFixture) {
    if (process.getuid?.() !== 0 && locate(wanted, '/') === undefined) {
      return {
        missing: `the WinRM host for tests needs the Debian package ${wanted.name}, which root installs`,
      };
    }
    const found = await ensure(wanted, options);
    if ('missing' in found) return found;
    python ??= found;
  }
  return python ?? { missing: 'nothing was asked for' };
}

/** Returns the shells that scripts may meet on targets, by name. */
export async function ensureShells(options: EnsureOptions = {}): Promise<Map<string, Ensured>> {
  const found = new Map<string, Ensured>();
  for (const shell of shells) found.set(shell.name, await ensure(shell, options));
  return found;
}

/** Returns curl and jq, which a documented script uses, or why one of them is missing. */
export async function ensureScriptTools(
  options: EnsureOptions = {},
): Promise<{ curl: Program; jq: Program } | { missing: string }> {
  const found = { curl: await ensure(curl, options), jq: await ensure(jq, options) };
  if ('missing' in found.curl) return found.curl;
  if ('missing' in found.jq) return found.jq;
  return { curl: found.curl, jq: found.jq };
}

/**
 * Whether network namespaces with a firewall are available (`ip`, `nft`, `curl`, and the right to use them), or why
 * not.
 */
export async function ensureNetworkTools(
  options: EnsureOptions = {},
): Promise<{ missing: string } | undefined> {
  if (process.getuid?.() !== 0) return { missing: 'network namespaces need root' };
  for (const tool of networkTools) {
    const found = await ensure(tool, options);
    if ('missing' in found) return found;
  }
  const probe = await run('unshare', ['--net', 'nft', 'add', 'table', 'inet', 'probe']);
  if (probe.code === 0) return undefined;
  return { missing: `this machine has no network namespaces with nftables: ${lastLines(probe.output)}` };
}

async function ensure(wanted: Package, options: EnsureOptions): Promise<Ensured> {
  const print = options.print ?? ((line) => process.stderr.write(`${line}\n`));
  const cacheDir = cacheOf(options);
  const unpacked = unpackedAt(wanted, options);
  const present = find(wanted, options);
  if (present) return present;
  if (process.platform !== 'linux' || !existsSync('/usr/bin/apt-get')) {
    return { missing: `${wanted.name} is not installed, and it can be fetched on Debian and Ubuntu only` };
  }
  await mkdir(cacheDir, { recursive: true });
  const root = process.getuid?.() === 0;
  print(
    root
      ? `Installing the Debian package ${wanted.name} (no service is started) …`
      : `Unpacking the Debian package ${wanted.name} into ${unpacked} …`,
  );
  const script = root ? installScript : unpackScript;
  // One worker at a time; the others then find the program present.
  const result = await run('flock', [
    `${cacheDir}/lock`,
    '/bin/sh',
    '-euc',
    script,
    'sh',
    wanted.name,
    cacheDir,
  ]);
  const installed = find(wanted, options);
  if (installed) {
    print(`${wanted.name}: ${installed.path}`);
    return installed;
  }
  return { missing: `${wanted.name} could not be fetched: ${lastLines(result.output)}` };
}

function cacheOf(options: EnsureOptions): string {
  return options.cacheDir ?? fileURLToPath(new URL('../../.cache/debian', import.meta.url));
}

function unpackedAt(wanted: Package, options: EnsureOptions): string {
  return `${cacheOf(options)}/${wanted.name}`;
}

function find(wanted: Package, options: EnsureOptions): Program | undefined {
  return locate(wanted, '/') ?? locate(wanted, unpackedAt(wanted, options));
}

function locate(wanted: Package, root: string): Program | undefined {
  const base = root === '/' ? '' : root;
  const path = wanted.paths
    .map((relative) => `${base}/${relative}`)
    .find((candidate) => existsSync(candidate));
  if (!path) return undefined;
  const env = { LD_LIBRARY_PATH: libraryPath(base), PYTHONPATH: `${base}/usr/lib/python3/dist-packages` };
  return { path, root, env: root === '/' ? {} : env };
}

function libraryPath(base: string): string {
  const triple = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch as string] ?? '';
  return ['/usr/lib', '/lib'].flatMap((dir) => [`${base}${dir}/${triple}`, `${base}${dir}`]).join(':');
}

// A package's scripts start its service in three ways: through invoke-rc.d (which asks for the runlevel), through
// systemd (which a runtime mask stops), and at the next boot (which disabling stops).
const installScript = `
case "$1" in
  openssh-server) units="ssh.service ssh.socket" ;;
  haproxy) units=haproxy.service ;;
  tinysshd) units=tinysshd.socket ;;
  krb5-kdc) units=krb5-kdc.service ;;
  krb5-admin-server) units=krb5-admin-server.service ;;
  *) units= ;;
esac
dpkg-query -W -f '\${Status}' "$1" 2>/dev/null | grep -q 'ok installed' && exit 0
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
systemd=; [ ! -d /run/systemd/system ] || [ -z "$units" ] || systemd=1
[ -z "$systemd" ] || systemctl mask --runtime $units
apt-get update
apt-get install -y --no-install-recommends "$1" || failed=1
[ -z "$systemd" ] || { systemctl unmask --runtime $units; systemctl disable $units; } || true
if [ "$1" = openssh-server ] && [ -s /run/sshd.pid ]; then kill "$(cat /run/sshd.pid)"; fi
[ -z "\${failed:-}" ]
`;

// The simulation lists the package and those of its dependencies that this machine lacks. The package lists go to the
// cache, because ordinary users can't refresh the system's.
const unpackScript = `
package=$1 cache=$2
[ ! -e "$cache/$package" ] || exit 0
mkdir -p "$cache/lists/partial" "$cache/archives/partial" "$cache/debs"
apt() { apt-get -q -o Dir::State::lists="$cache/lists" -o Dir::Cache="$cache/archives" \\
  -o Debug::NoLocking=1 -o APT::Sandbox::User= "$@"; }
apt update
names=$({ echo "$package"; apt -s --no-install-recommends install "$package" |
  sed -n 's/^Inst \\([^ ]*\\) .*/\\1/p'; } | sort -u)
part="$cache/$package.part"
rm -rf "$part"; mkdir "$part"
cd "$cache/debs"; rm -f ./*.deb
apt download $names
for deb in ./*.deb; do dpkg-deb -x "$deb" "$part"; done
rm -f ./*.deb
mv "$part" "$cache/$package"
`;

function run(command: string, args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (bytes: Buffer) => {
      output = (output + bytes.toString()).slice(-20_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => resolve({ code: null, output: error.message }));
    child.on('close', (code) => resolve({ code, output }));
  });
}

function lastLines(output: string): string {
  return output.trim().split('\n').slice(-3).join(' / ') || 'no output';
}
