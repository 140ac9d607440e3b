// Output for the mock API: a realistic one, a hostile one, and one of 200 MB as fast as possible.
import { gzipSync } from 'node:zlib';
import type { OutputChunk } from '@opsconductor/protocol';

const esc = '\u001b';
type Piece = [elapsedMs: number, stream: 'stdout' | 'stderr', text: string];

const patch: Piece[] = [
  [0, 'stdout', `${esc}[90m+ apt-get -q update${esc}[0m\n`],
  ...Array.from(
    { length: 34 },
    (_, at): Piece => [
      200 * at,
      'stdout',
      `Get:${at + 1} http://archive.ubuntu.com/ubuntu noble-updates/main amd64 Packages [${400 + at} kB]\n`,
    ],
  ),
  [8_200, 'stdout', 'Fetched 14.2 MB in 7s (1,961 kB/s)\n'],
  [8_900, 'stdout', `${esc}[90m+ apt-get -qy -o Dpkg::Options::=--force-confold dist-upgrade${esc}[0m\n`],
  [
    10_400,
    'stdout',
    'The following packages will be upgraded:\n  libnginx-mod-http-geoip2 libssl3t64 linux-image-generic nginx nginx-common openssl\n',
  ],
  [10_400, 'stdout', `${esc}[1m17 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.${esc}[0m\n`],
  [10_600, 'stdout', `Using proxy http://patch:${esc}[35m••••••••${esc}[0m@proxy.dmz-1:3128\n`],
  [11_000, 'stdout', 'Downloading   1%\rDownloading  20%\rDownloading  60%\rDownloading 100%\n'],
  ...Array.from(
    { length: 61 },
    (_, at): Piece => [
      11_000 + at * 900,
      'stdout',
      `Unpacking package-${at} (1.24.0-2ubuntu7.5) over (1.24.0-2ubuntu7.3) ...\n`,
    ],
  ),
  [
    72_700,
    'stdout',
    'Setting up libssl3t64:amd64 (3.0.13-0ubuntu3.6) ...\nSetting up openssl (3.0.13-0ubuntu3.6) ...\n',
  ],
  [
    75_000,
    'stdout',
    'Setting up nginx-common (1.24.0-2ubuntu7.5) ...\nInstalling new version of config file /etc/nginx/mime.types ...\n',
  ],
  [
    76_100,
    'stderr',
    `${esc}[33m${esc}[1mW:${esc}[22m /etc/nginx/nginx.conf differs from the package, keeping the local version${esc}[0m\n`,
  ],
  [
    76_100,
    'stderr',
    `${esc}[33m${esc}[1mW:${esc}[22m the new one is /etc/nginx/nginx.conf.dpkg-dist${esc}[0m\n`,
  ],
  [
    77_400,
    'stdout',
    `Setting up nginx (1.24.0-2ubuntu7.5) ...\n${esc}[32m●${esc}[0m nginx.service reloaded, ${esc}[32mactive (running)${esc}[0m\n`,
  ],
  [
    78_200,
    'stdout',
    'Setting up linux-image-6.8.0-88-generic (6.8.0-88.89) ...\n/etc/kernel/postinst.d/initramfs-tools:\n',
  ],
  [80_300, 'stdout', `update-initramfs: Generating ${esc}[36m/boot/initrd.img-6.8.0-88-generic${esc}[0m\n`],
  [
    161_000,
    'stderr',
    `${esc}[31m${esc}[1mE:${esc}[22m possible missing firmware /lib/firmware/ast_dp501_fw.bin for module ast${esc}[0m\n`,
  ],
  [
    178_700,
    'stdout',
    `/etc/kernel/postinst.d/zz-update-grub:\nSourcing file ${esc}[34m/etc/default/grub${esc}[0m\n`,
  ],
  [184_000, 'stdout', 'Adding boot menu entry for UEFI Firmware Settings ...\n'],
];

const hostile: Piece[] = [
  [
    0,
    'stdout',
    `title ${esc}]0;owned\u0007 link ${esc}]8;;https://evil.example\u0007click${esc}]8;;\u0007 clear ${esc}[2J${esc}[H done\n`,
  ],
  [10, 'stdout', `<img src=x onerror=alert(1)> <script>alert(2)</script> &amp; {@html x}\n`],
  [
    20,
    'stdout',
    `conceal ${esc}[8mhidden?${esc}[0m bidi \u202egnp.exe\u202c bell\u0007 backspace\b\b nul\0 end\n`,
  ],
  [30, 'stdout', `${'x'.repeat(40_000)}\n`],
  [
    40,
    'stderr',
    `${esc}[38;5;208morange${esc}[0m ${esc}[48;2;10;10;120mon blue${esc}[0m ${esc}[7minverse${esc}[0m ${esc}[4munder${esc}[0m ${esc}[9mstrike${esc}[0m ${esc}[3mitalic${esc}[0m\n`,
  ],
];

export function chunksOf(name: 'patch' | 'hostile'): OutputChunk[] {
  return (name === 'patch' ? patch : hostile).map(([elapsedMs, stream, text], at) =>
    pack(at + 1, stream, elapsedMs, Buffer.from(text)),
  );
}

export function pack(seq: number, stream: 'stdout' | 'stderr', elapsedMs: number, raw: Buffer): OutputChunk {
  return {
    epoch: 1,
    seq,
    stream,
    elapsedMs,
    rawLength: raw.length,
    data: gzipSync(raw, { level: 1 }).toString('base64'),
  };
}

/** Returns the seq-th chunk of 256 KiB from a fast producer. Every line says which one it is. */
export function fastChunk(seq: number): OutputChunk {
  const lines: string[] = [];
  const perChunk = 2_600;
  for (let at = 0; at < perChunk; at += 1) {
    lines.push(
      `${String((seq - 1) * perChunk + at + 1).padStart(8, '0')} the quick brown fox jumps over the lazy dog, and then does it all again ${at % 97 === 0 ? 'ERROR: out of dogs' : 'ok'}\n`,
    );
  }
  return pack(seq, 'stdout', seq * 12, Buffer.from(lines.join('')));
}
