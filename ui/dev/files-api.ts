// The mock API for files that steps copy, and their upload.
import { createHash } from 'node:crypto';
import type { FileUses, StoredFile } from '@opsconductor/protocol';
import { ago, jobs } from './fixtures.ts';
import type { Answer } from './people-api.ts';

const hour = 3_600_000;
const sha256 = (at: number) =>
  Array.from({ length: 8 }, (_, part) =>
    Math.imul(at * 8 + part + 1, 2_654_435_761)
      .toString(16)
      .replace('-', '')
      .padStart(8, '0'),
  ).join('');

type Row = [name: string, description: string, category: string, size: number, jobCount: number];
const rows: Row[] = [
  [
    'edge-config-2026.11.3.tar.zst',
    'Configuration of the edge proxies, as tagged',
    'deployment',
    4_812_331,
    3,
  ],
  ['verify-tier.sh', '', 'general', 2_114, 11],
  ['node-exporter-1.11.2.linux-amd64.tar.gz', 'Metrics of every Linux host', 'general', 11_904_512, 1],
  ['firmware-ax4800-7.22.1-signed-by-vendor-do-not-unpack.bin', '', 'network', 734_003_200, 0],
  [
    'certificates-of-the-load-balancers-and-of-what-stands-behind-them-in-both-data-centres.pem',
    'Chains only, no keys; replaced every quarter together with the job that installs them and checks that every balancer serves them',
    'decommissioning of hosts in plants',
    88_020,
    2,
  ],
  ['spooler-reset.ps1', 'Stops the spooler, empties its folder, starts it', 'general', 901, 0],
];
const files: StoredFile[] = rows.map(([name, description, category, size, jobCount], at) => ({
  id: `0a6f3c1e-77aa-4d52-9d0b-5b1f6d2e40${String(at).padStart(2, '0')}`,
  name,
  description,
  categoryId: ['general', 'patching', 'network', 'deployment'].indexOf(category) + 1 || 5,
  category,
  state: 'ready',
  size,
  receivedBytes: size,
  sha256: sha256(at),
  jobCount,
  createdAt: ago((at + 1) * 31 * hour),
  createdBy: at % 2 === 0 ? 'a.okafor' : 'c.moreau',
  lastUsedAt: jobCount === 0 ? null : ago(hour),
  uploadExpiresAt: null,
}));
const [first] = files;
if (first !== undefined)
  files.splice(1, 0, {
    ...first,
    id: '0a6f3c1e-77aa-4d52-9d0b-5b1f6d2e4099',
    name: 'image-of-the-recovery-system-12.iso',
    description: '',
    state: 'uploading',
    size: 2_147_483_648,
    receivedBytes: 1_340_000_000,
    sha256: null,
    jobCount: 0,
    createdAt: ago(90_000),
    createdBy: 'c.moreau',
    lastUsedAt: null,
    uploadExpiresAt: ago(-23.9 * hour),
  });

/** What the one who is signed in began to upload, with the age and how much of it has arrived. */
const halves: [name: string, category: string, size: number, received: number, age: number][] = [
  ['backup-of-the-inventory.tar', 'general', 10_485_760, 4_194_304, 3 * hour],
  [
    'image-of-the-build-hosts-for-every-plant-2026-11-29-signed.iso',
    'deployment',
    3_758_096_384,
    3_758_096_384,
    23.4 * hour,
  ],
];
const unfinished: StoredFile[] = halves.map(([name, category, size, receivedBytes, age], at) => ({
  ...(first as StoredFile),
  id: `0a6f3c1e-77aa-4d52-9d0b-5b1f6d2e41${String(at).padStart(2, '0')}`,
  name,
  description: '',
  category,
  state: 'uploading',
  size,
  receivedBytes,
  sha256: null,
  jobCount: 0,
  createdAt: ago(age + 200_000),
  lastUsedAt: null,
  uploadExpiresAt: ago(age - 24 * hour),
}));

/** The jobs that name a file, of which the last one is not to be seen. */
function usesOf({ jobCount }: StoredFile): FileUses {
  const seen = Math.max(1, jobCount - 1);
  return {
    items: jobs
      .slice(0, seen)
      .map(({ id, name, category }) => ({ jobId: id, name, category }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    hidden: jobCount - seen,
  };
}
/** The file that was uploaded last, up to where its upload has come. */
let upload: StoredFile | undefined;

/** Answers a request about files; undefined for any other. `size` is that of the request's body. */
export function filesAnswer(
  method: string,
  path: string,
  query: URLSearchParams,
  { body, size, isEmpty }: { body: Record<string, unknown>; size: number; isEmpty: boolean },
): Answer | undefined {
  const [, id = '', part = ''] = /^\/files(?:\/([^/]+))?(\/[a-z]+)?$/.exec(path) ?? [];
  const known = upload?.id === id ? upload : [...files, ...unfinished].find((one) => one.id === id);
  switch (`${method} ${part === '' && id !== '' ? '/:id' : part}`) {
    case 'GET ': {
      const search = query.get('search')?.toLowerCase() ?? '';
      const listed = query.get('mine') === 'true' ? unfinished : files;
      const found = listed.filter(({ name, description }) =>
        `${name} ${description}`.toLowerCase().includes(search),
      );
      return { status: 200, body: { items: isEmpty ? [] : found, nextCursor: null } };
    }
    case 'POST ': {
      const name = String(body.name);
      if (files.some((one) => one.name === name)) return taken(name);
      upload = {
        ...(first as StoredFile),
        id: '0a6f3c1e-77aa-4d52-9d0b-5b1f6d2e4098',
        name,
        state: 'uploading',
        size: Number(body.size),
        receivedBytes: 0,
        sha256: null,
        uploadExpiresAt: ago(-24 * hour),
      };
      return { status: 201, body: upload };
    }
    case 'PUT /content':
      if (known === undefined) return undefined;
      upload ??= known;
      upload = { ...upload, receivedBytes: Number(query.get('offset')) + size };
      return { status: 200, body: upload };
    case 'GET /received':
      return known === undefined
        ? undefined
        : {
            status: 200,
            body: { receivedBytes: known.receivedBytes, sha256: digestOfZeros(known.receivedBytes) },
          };
    case 'GET /uses':
      return known === undefined ? undefined : { status: 200, body: usesOf(known) };
    case 'DELETE /:id':
      return { status: 204 };
    case 'GET /:id':
    case 'POST /finish':
      return known === undefined ? undefined : { status: 200, body: known };
  }
  return undefined;
}

/** What has arrived here was all zeros. */
function digestOfZeros(bytes: number): string {
  const [hash, zeros] = [createHash('sha256'), Buffer.alloc(1_048_576)];
  for (let left = bytes; left > 0; left -= zeros.length) hash.update(zeros.subarray(0, left));
  return hash.digest('hex');
}

function taken(name: string): Answer {
  const message = `There is a file named ${name} already. A file never changes: give this one another name, or delete that first.`;
  const error = {
    code: 'conflict',
    message,
    requestId: 'req_7f3c91ae',
    details: [{ path: 'name', message }],
  };
  return { status: 409, body: { error } };
}
