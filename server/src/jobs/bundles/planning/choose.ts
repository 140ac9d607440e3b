// Choices about jobs that already exist: for a whole import, or one by one. After a choice, the affected jobs are
// planned again.
import type { ExistingTreatment, ImportChoicesRequest } from '@opsconductor/protocol';
import type { Caller } from '../../../caller.ts';
import { invalidField } from '../../../errors.ts';
import type { Tx } from '../../../store/database/connection.ts';
import { takenJobNames } from '../../../store/jobs/job-bundles.ts';
import {
  findImportItem,
  type JobImportItemRow,
  type JobImportRow,
  listImportBases,
  nextImportItems,
  setImportExisting,
  updateImportItem,
} from '../../../store/jobs/job-imports.ts';
import type { ImportSeal } from '../import-seal.ts';
import { CopyNames } from './copy-names.ts';
import { decideItem, type ExistingJob } from './decide-item.ts';
import { existingJobs } from './existing-jobs.ts';
import { type PlanDeps, plannedFields } from './import-planner.ts';

const itemsAtATime = 200;

/** @throws {AppError} `invalid` for a position that the file does not have, or a name that is taken. */
export async function choose(
  tx: Tx,
  { masterKey }: Pick<PlanDeps, 'masterKey'>,
  { row, seal }: { row: JobImportRow; seal: ImportSeal },
  { existing, items = [] }: ImportChoicesRequest,
  caller: Caller,
): Promise<void> {
  const again = new Chooser(tx, masterKey, { row, seal, existing: existing ?? row.existing }, caller);
  await again.start();
  const chosen = new Set<number>();
  for (const [n, { position, choice, name }] of items.entries()) {
    const item = await findImportItem(tx, row.id, position);
    if (item === undefined)
      throw invalidField(`items[${n}].position`, 'The file has no job at this position.', {
        found: String(position),
      });
    if (name !== undefined && choice !== 'copy') {
      throw invalidField(`items[${n}].name`, 'Only a copy takes a name; leave it out.', { found: name });
    }
    if (name !== undefined) await again.requireFree(`items[${n}].name`, name, item);
    await again.plan([{ ...item, choice, copyName: name ?? null }]);
    chosen.add(position);
  }
  if (existing === undefined || existing === row.existing) return;
  await setImportExisting(tx, row.id, existing);
  for (let after = 0; ; ) {
    const next = await nextImportItems(tx, row.id, after, itemsAtATime);
    await again.plan(next.filter((item) => item.choice === null && !chosen.has(item.position)));
    after = next.at(-1)?.position ?? after;
    if (next.length < itemsAtATime) return;
  }
}

class Chooser {
  readonly #tx: Tx;
  readonly #masterKey: PlanDeps['masterKey'];
  readonly #target: { row: JobImportRow; seal: ImportSeal; existing: ExistingTreatment };
  readonly #caller: Caller;
  /** Positions by the name that each job has or will have. */
  readonly #names = new Map<string, number>();
  readonly #copyNames: CopyNames;

  constructor(
    tx: Tx,
    masterKey: PlanDeps['masterKey'],
    target: { row: JobImportRow; seal: ImportSeal; existing: ExistingTreatment },
    caller: Caller,
  ) {
    this.#tx = tx;
    this.#masterKey = masterKey;
    this.#target = target;
    this.#caller = caller;
    this.#copyNames = new CopyNames(tx, this.#names);
  }

  async start(): Promise<void> {
    for (const { name, position, action } of await listImportBases(this.#tx, this.#target.row.id)) {
      if (action === 'create' || action === 'update') this.#names.set(name, position);
    }
  }

  async requireFree(path: string, name: string, item: JobImportItemRow): Promise<void> {
    const other = this.#names.get(name);
    const isTaken = (await takenJobNames(this.#tx, [name])).size > 0;
    if (!isTaken && (other === undefined || other === item.position)) return;
    throw invalidField(
      path,
      isTaken ? 'A job of this name already exists.' : `Job ${other} of the file has this name.`,
      {
        found: name,
        allowed: 'a name that no other job has',
      },
    );
  }

  async plan(items: readonly JobImportItemRow[]): Promise<void> {
    const names = [...new Set(items.map(({ fileName }) => fileName))];
    const deps = { sql: this.#tx, masterKey: this.#masterKey };
    const found = await existingJobs(deps, names, this.#caller);
    for (const item of items) await this.#planOne(item, found.get(item.fileName));
  }

  async #planOne(item: JobImportItemRow, existing: ExistingJob | undefined): Promise<void> {
    const { row, seal } = this.#target;
    const opened = seal.openItem(item.position, item.sealed);
    const { entry, duplicateOf } = opened;
    const { name } = entry.definition;
    const decision = decideItem(
      { entry, existing, duplicateOf: duplicateOf ?? undefined },
      item.choice ?? this.#target.existing,
    );
    const isCopy = decision.action === 'create' && (existing !== undefined || duplicateOf !== null);
    this.#forget(item);
    const copyName = isCopy ? (item.copyName ?? (await this.#copyNames.free(name))) : undefined;
    const planned = plannedFields(decision, { name, copyName, existing, isDuplicate: duplicateOf !== null });
    if (planned.action === 'create' || planned.action === 'update')
      this.#names.set(planned.name, item.position);
    const { changes, conflict, choices } = decision;
    await updateImportItem(this.#tx, row.id, {
      position: item.position,
      choice: item.choice,
      copyName: item.copyName,
      ...planned,
      sealed: seal.sealItem(item.position, { ...opened, changes, conflict, choices }),
    });
  }

  #forget({ name, position }: JobImportItemRow): void {
    if (this.#names.get(name) === position) this.#names.delete(name);
  }
}
