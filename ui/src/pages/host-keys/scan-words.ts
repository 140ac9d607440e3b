// Scans, their findings and known_hosts plans in words.
import type {
  HostScan,
  HostScanItem,
  KnownHostsAction,
  KnownHostsPlan,
  RunSelection,
  ScanFinding,
} from '@opsconductor/protocol';
import { count, counted } from '../../format/quantity.ts';

/** What needs a person comes first. */
export const findingOrder: readonly ScanFinding[] = [
  'revoked',
  'changed',
  'unreachable',
  'new',
  'added',
  'waiting',
  'certified',
  'same',
  'reachable',
  'cancelled',
];

export const findingLooks: Readonly<
  Record<ScanFinding, { look: string; word: string; strong?: boolean; meaning: string }>
> = {
  revoked: {
    look: 'failed',
    word: 'revoked',
    strong: true,
    meaning: 'They show a key that was revoked in their segment. It is refused and can’t be approved.',
  },
  changed: {
    look: 'failed',
    word: 'changed',
    strong: true,
    meaning:
      'They show a different key from the accepted one: reinstalled, or another machine answers. Refused until replaced.',
  },
  unreachable: { look: 'timed_out', word: 'unreachable', meaning: 'No SSH server answered. Each says why.' },
  new: { look: 'held', word: 'new', meaning: 'No key is accepted yet. Steps there fail until one is.' },
  added: {
    look: 'held',
    word: 'added',
    meaning: 'They show an accepted key, and others of types for which none is accepted.',
  },
  waiting: { look: 'queued', word: 'waiting', meaning: 'Not checked yet.' },
  certified: {
    look: 'succeeded',
    word: 'certified',
    meaning: 'Their certificate is signed by a host authority of the segment: there is nothing to approve.',
  },
  same: { look: 'succeeded', word: 'same', meaning: 'They show only accepted keys.' },
  reachable: { look: 'succeeded', word: 'reachable', meaning: 'An SSH server answered.' },
  cancelled: { look: 'cancelled', word: 'cancelled', meaning: 'Not checked: the scan was cancelled.' },
};

export const scanKindWords = { keys: 'Host keys', reach: 'Reachability' } as const;

/** The status whose glyph a scan gets, and its word. */
export function scanState({ completedAt, cancelledAt, done, total }: HostScan): {
  look: string;
  word: string;
} {
  if (cancelledAt !== null) return { look: 'cancelled', word: 'cancelled' };
  if (completedAt !== null) return { look: 'succeeded', word: 'done' };
  return { look: 'running', word: `${count(done)} of ${count(total)}` };
}

/** How the targets of a scan were selected; null if the server doesn't say. */
export function selectionWords(selection: RunSelection | null): string {
  if (selection === null) return '';
  const { targets, groups, selector, exclude } = selection;
  const parts = [
    targets === 0 ? '' : counted(targets, 'picked target'),
    groups.map(({ name }) => name).join(', '),
    selector ?? '',
  ].filter(Boolean);
  const left = [
    exclude.targets === 0 ? '' : counted(exclude.targets, 'picked target'),
    exclude.groups.map(({ name }) => name).join(', '),
    exclude.selector ?? '',
  ].filter(Boolean);
  return parts.join(' + ') + (left.length === 0 ? '' : ` without ${left.join(', ')}`);
}

/** Returns the keys of an item that a person could accept now. */
export function acceptable(item: HostScanItem): HostScanItem['keys'] {
  return item.keys.filter((key) => !key.accepted && !key.revoked);
}

/** Returns whether an item can be selected for approval, with others or, if changed, on its own. */
export function isPickable(item: HostScanItem): boolean {
  return ['new', 'added', 'changed'].includes(item.finding) && acceptable(item).length > 0;
}

/** What is behind a finding, in one line. */
export function itemWords(item: HostScanItem): string {
  if (item.finding === 'unreachable') return item.message ?? item.reason ?? '';
  if (item.finding === 'reachable') return item.serverVersion ?? '';
  if (item.certified !== null && item.finding === 'certified') return `certificate ${item.certified.keyId}`;
  if (item.certificateProblem !== null) return `Certificate not accepted: ${item.certificateProblem}`;
  return '';
}

/** The targets that share a key: `with web-2, web-3 and 4 more`. */
export function sharedWords({ sharedBy, sharedWith }: HostScanItem['keys'][number]): string {
  if (sharedBy === 0) return '';
  const more = sharedBy - sharedWith.length;
  return `shared with ${sharedWith.join(', ')}${more > 0 ? ` and ${count(more)} more` : ''}`;
}

/** `ed25519` for `ssh-ed25519`. */
export function shortKeyType(keyType: string): string {
  return keyType.replace(/^ssh-|^ecdsa-sha2-/, '');
}

export const lineActions: readonly KnownHostsAction[] = [
  'conflict',
  'unusable',
  'accept',
  'authority',
  'revoke',
  'no_target',
  'known',
];
export const lineLooks: Readonly<Record<KnownHostsAction, { look: string; word: string }>> = {
  conflict: { look: 'failed', word: 'conflict' },
  unusable: { look: 'skipped', word: 'unusable' },
  accept: { look: 'held', word: 'accept' },
  authority: { look: 'held', word: 'authority' },
  revoke: { look: 'held', word: 'revoke' },
  no_target: { look: 'skipped', word: 'no target' },
  known: { look: 'succeeded', word: 'known' },
};

/** What an import of known_hosts does, or has done: `2 keys of 1 target accepted, 1 key revoked`. */
export function importWords(
  { counts, targets }: Pick<KnownHostsPlan, 'counts' | 'targets'>,
  done: boolean,
): string {
  const { accept, authority, revoke } = counts;
  const keys = `${counted(accept, 'key')} of ${counted(targets, 'target')}`;
  const authorities = counted(authority, 'authority', 'authorities');
  const revoked = counted(revoke, 'key');
  return [
    accept > 0 && (done ? `${keys} accepted` : `accept ${keys}`),
    authority > 0 && (done ? `${authorities} trusted` : `trust ${authorities}`),
    revoke > 0 && (done ? `${revoked} revoked` : `revoke ${revoked}`),
  ]
    .filter((words) => words !== false)
    .join(', ');
}
