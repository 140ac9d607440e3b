// Unsaved changes, kept per user in this tab to survive a reload. A definition holds no secrets; parameter values are
// never kept.
import type { JobDefinition } from '@opsconductor/protocol';
import { session } from '../../state/session.svelte.ts';

export interface KeptDraft {
  text: string;
  /** The version that it is based on; undefined for a new job. */
  version?: number | undefined;
}

/** The definition that editing began with. */
export interface Base {
  /** 0 for a new job. */
  version: number;
  definition: JobDefinition | undefined;
  text: string;
}

const key = (id: number | undefined) => `opsconductor.definition.${id ?? 'new'}`;
const maxKept = 1024 * 1024;

export function keepDraft(id: number | undefined, draft: KeptDraft): void {
  const userId = session.me?.id;
  if (draft.text.length > maxKept || userId === undefined) return;
  try {
    sessionStorage.setItem(key(id), JSON.stringify({ ...draft, userId }));
  } catch {
    // Storage is full or not allowed: the draft won't survive a reload, but leaving the page still asks.
  }
}

export function keptDraft(id: number | undefined): KeptDraft | undefined {
  try {
    const kept: unknown = JSON.parse(sessionStorage.getItem(key(id)) ?? 'null');
    if (typeof kept !== 'object' || kept === null) return undefined;
    const { text, version, userId } = kept as Partial<KeptDraft> & { userId?: number };
    if (userId === undefined || userId !== session.me?.id) {
      // Written by another user in this tab.
      forgetDraft(id);
      return undefined;
    }
    return typeof text === 'string' ? { text, version } : undefined;
  } catch {
    return undefined;
  }
}

export function forgetDraft(id: number | undefined): void {
  try {
    sessionStorage.removeItem(key(id));
  } catch {
    // Nothing is stored.
  }
}
