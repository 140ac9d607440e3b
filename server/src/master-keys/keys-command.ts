// The command `npm run keys`: replaces the master key while servers are running.
import { recordAudit } from '../audit/record-audit.ts';
import {
  isMasterKeyId,
  type MasterKey,
  maxMasterKeys,
  newMasterKey,
  readMasterKeys,
  writeMasterKeys,
} from '../credentials/at-rest/master-key.ts';
import { MasterKeyRing } from '../credentials/at-rest/master-key-ring.ts';
import type { Sql } from '../store/database/connection.ts';
import { waitForOpenTransactions } from '../store/database/open-transactions.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { hasSchema, readInstallation } from '../store/installation/installation.ts';
import { liveServerKeys, type ServerKeys, setActiveKey } from '../store/installation/master-keys.ts';
import { countAllWrapped, type Rows, rewrapAll } from './rewrap.ts';

export interface KeysCommand {
  sql: Sql;
  file: string;
  say(text: string): void;
}

export const keysUsage = `npm run keys -- status                shows what is encrypted under which master key, and which servers hold it
npm run keys -- add                   puts a new key into the master key file of this machine
npm run keys -- activate mk-…         makes servers wrap with this key from now on
npm run keys -- rewrap                wraps everything with the active key
npm run keys -- rewrap give-up        the same, and gives up data keys that were altered, so that they need no other master key
npm run keys -- rewrap give-up mk-…   the same, and gives up data keys under that lost master key, so that they no longer need it
npm run keys -- retire mk-…           removes a key that nothing needs any more from this machine’s file

Options come last and are those of the server: --data, DATABASE_URL, OPSCONDUCTOR_MASTER_KEY_FILE.`;

/** How long `retire` waits for transactions that were already open when it was called. */
const openTransactionsMs = 30_000;

/** An error that the operator can fix. It is shown without a stack. */
export class KeysError extends Error {
  override readonly name = 'KeysError';
}

/** @throws {KeysError} if nothing was changed or `rewrap` had to leave some rows. The message says what to do. */
export async function runKeysCommand(args: readonly string[], command: KeysCommand): Promise<void> {
  requireVerb(args);
  const [verb, id, ofKey] = args;
  const state = await readState(command);
  if (verb === 'status') return status(state, command);
  if (verb === 'add') return add(state, command);
  if (verb === 'rewrap') return rewrap(state, { word: id, keyId: ofKey }, command);
  if (verb === 'activate') return activate(state, named(state, id), command);
  return retire(state, named(state, id), command);
}

const verbs = ['status', 'add', 'activate', 'rewrap', 'retire'];

/** Checks what was typed before a database is looked for. */
export function requireVerb([verb]: readonly string[]): void {
  if (verb === undefined) throw new KeysError(`Say what to do: ${verbs.join(', ')}.\n\n${keysUsage}`);
  if (!verbs.includes(verb))
    throw new KeysError(`There is no command “${verb}”; there are ${verbs.join(', ')}.\n\n${keysUsage}`);
}

interface State {
  keys: MasterKey[];
  activeId: string;
  servers: ServerKeys[];
}

async function readState({ sql, file }: KeysCommand): Promise<State> {
  const installation = (await hasSchema(sql)) ? await readInstallation(sql) : undefined;
  if (installation === undefined)
    throw new KeysError(
      'This database has no installation: check --data or DATABASE_URL. A new one gets its installation from the first start of a server.',
    );
  const keys = await readMasterKeys(file);
  if (keys === undefined)
    throw new KeysError(
      `There is no master key file ${file}: name it with OPSCONDUCTOR_MASTER_KEY_FILE, or check --data.`,
    );
  return { keys, activeId: installation.masterKeyId, servers: await liveServerKeys(sql) };
}

function named({ keys }: State, id: string | undefined): MasterKey {
  const found = keys.find((key) => key.id === id);
  if (found !== undefined) return found;
  const ids = keys.map((key) => key.id).join(', ');
  if (id === undefined) throw new KeysError(`Add the id of a key: the master key file holds ${ids}.`);
  throw new KeysError(`${id} is not a key of the master key file, which holds ${ids}.`);
}

async function status({ keys, activeId, servers }: State, { sql, file, say }: KeysCommand): Promise<void> {
  const counts = await countAllWrapped(sql);
  const named = [...counts.keys()].filter(isMasterKeyId);
  const ids = [...new Set([...keys.map(({ id }) => id), ...named, activeId])];
  for (const id of ids) {
    const notes = [
      `${many(counts.get(id) ?? 0)} wrapped`,
      ...(id === activeId ? ['active'] : []),
      ...(keys.some((key) => key.id === id) ? [] : [`NOT in ${file}`]),
    ];
    say(`${id}  ${notes.join(', ')}`);
  }
  const nameless = [...counts].reduce((sum, [id, count]) => sum + (isMasterKeyId(id) ? 0 : count), 0);
  if (nameless > 0)
    say(
      nameless === 1
        ? '1 wrapped key names no master key: it was altered'
        : `${nameless} wrapped keys name no master key: they were altered`,
    );
  for (const { host, activeId: wraps, keyIds } of servers)
    say(`server on ${host}: holds ${keyIds.join(', ')}; wraps with ${wraps}`);
  if (servers.length === 0) say('No server is running.');
}

async function add({ keys }: State, { file, say }: KeysCommand): Promise<void> {
  if (keys.length >= maxMasterKeys)
    throw new KeysError(`${file} holds ${keys.length} keys: retire some first.`);
  const made = newMasterKey();
  await writeMasterKeys(file, [...keys, made]);
  say(`${made.id} is in ${file}. Copy that file to every other server, and to where you keep its backup.`);
  say(`Servers hold it within seconds (npm run keys -- status). Then: npm run keys -- activate ${made.id}`);
}

async function activate(
  { activeId, servers }: State,
  { id }: MasterKey,
  { sql, say }: KeysCommand,
): Promise<void> {
  if (id === activeId) throw new KeysError(`${id} is active already.`);
  const without = servers.filter(({ keyIds }) => !keyIds.includes(id)).map(({ host }) => host);
  if (without.length > 0) {
    throw new KeysError(
      `${without.join(', ')} ${without.length === 1 ? 'does' : 'do'} not hold ${id}: copy the master key file there, and wait some seconds.`,
    );
  }
  await inTransaction(sql, async (tx) => {
    if (!(await setActiveKey(tx, { from: activeId, to: id })))
      throw new KeysError('Another key was activated meanwhile.');
    await recordAudit(tx, {
      ...bySystem,
      action: 'master_key.activated',
      object: { kind: 'master_key', id },
      detail: { before: activeId },
    });
  });
  say(`${id} is active; running servers wrap with it within seconds. Then: npm run keys -- rewrap`);
}

async function rewrap(
  state: State,
  asked: { word: string | undefined; keyId: string | undefined },
  { sql, file, say }: KeysCommand,
): Promise<void> {
  const { keys, activeId } = state;
  const active = keys.find(({ id }) => id === activeId);
  if (active === undefined) throw new KeysError(`The active key ${activeId} is not in the master key file.`);
  const ring = new MasterKeyRing(keys, active);
  const giveUp = await whatToGiveUp(state, asked, { sql, file });
  const { count, damaged, lacking, givenUp } = await rewrapAll(sql, ring, {
    giveUp,
    onPortion: (done) => say(`${many(done)} rewrapped`),
  });
  if (count + damaged.count + givenUp.count > 0)
    await recordAudit(sql, {
      ...bySystem,
      action: 'master_key.rewrapped',
      object: { kind: 'master_key', id: activeId },
      detail: {
        count,
        ...(damaged.count === 0 ? {} : { damaged }),
        ...(givenUp.count === 0 ? {} : { givenUp }),
      },
    });
  if (givenUp.count > 0) say(`Given up: ${list(givenUp)}. What they encrypt can’t be read.`);
  const left = [
    ...(damaged.count > 0
      ? [
          `Altered or moved, so that the key that they name does not open them: ${list(damaged)}. If a backup has these rows ` +
            'as they were, restore them and run this again. Otherwise what they encrypt is lost, and npm run keys -- rewrap ' +
            'give-up makes them no longer need that key.',
        ]
      : []),
    ...(lacking.count > 0
      ? [
          `Wrapped by a master key that is not in ${file}: ${list(lacking)}. Put that key back from a copy of the file, and run ` +
            `this again. If nobody has it, what it wraps is lost, and npm run keys -- rewrap give-up mk-… makes them no longer need it.`,
        ]
      : []),
  ];
  if (left.length > 0) throw new KeysError(['All others are wrapped by the active key.', ...left].join('\n'));
  say(`All keys are wrapped by ${activeId}. Next: npm run keys -- retire, for each key that is not active.`);
}

/** @throws {KeysError} for any word but `give-up`, and for a key that needn't or can't be given up. */
async function whatToGiveUp(
  { keys }: State,
  { word, keyId }: { word: string | undefined; keyId: string | undefined },
  { sql, file }: Pick<KeysCommand, 'sql' | 'file'>,
): Promise<'damaged' | { keyId: string } | undefined> {
  if (word === undefined) return undefined;
  if (word !== 'give-up') throw new KeysError(`rewrap does not take “${word}”.\n${keysUsage}`);
  if (keyId === undefined) return 'damaged';
  if (!isMasterKeyId(keyId)) throw new KeysError(`“${keyId}” is not the id of a master key.\n${keysUsage}`);
  if (keys.some(({ id }) => id === keyId))
    throw new KeysError(`${keyId} is in ${file}: npm run keys -- rewrap rewraps what it opens.`);
  if (!(await countAllWrapped(sql)).has(keyId)) throw new KeysError(`Nothing is wrapped by ${keyId}.`);
  return { keyId };
}

function many(keys: number): string {
  return keys === 1 ? '1 key' : `${keys} keys`;
}

function list({ count, named }: Rows): string {
  const more = count - named.length;
  return `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

async function retire(
  { keys, activeId, servers }: State,
  { id }: MasterKey,
  { sql, file, say }: KeysCommand,
): Promise<void> {
  if (id === activeId) throw new KeysError(`${id} is active: activate another one first.`);
  const behind = servers.filter((server) => server.activeId !== activeId).map(({ host }) => host);
  if (behind.length > 0)
    throw new KeysError(`${behind.join(', ')} may still wrap with another key: wait some seconds.`);
  const open = await waitForOpenTransactions(sql, openTransactionsMs);
  if (open !== undefined) {
    throw new KeysError(
      `A transaction has been open since ${open.toISOString()}, and what it has written may need ${id}: run this again when it has ended.`,
    );
  }
  const needed = (await countAllWrapped(sql)).get(id) ?? 0;
  if (needed > 0)
    throw new KeysError(
      `${many(needed)} ${needed === 1 ? 'is' : 'are'} wrapped by ${id}: npm run keys -- rewrap`,
    );
  // Recorded first, so that no key is removed without an audit row.
  await recordAudit(sql, {
    ...bySystem,
    action: 'master_key.retired',
    object: { kind: 'master_key', id },
    detail: {},
  });
  await writeMasterKeys(
    file,
    keys.filter((key) => key.id !== id),
  );
  say(
    `${id} is no longer in ${file}: do the same on every other server. Keep a copy for as long as you keep backups from its time: nothing else opens them.`,
  );
}

const bySystem = { actor: { kind: 'system', name: 'keys command' } } as const;
