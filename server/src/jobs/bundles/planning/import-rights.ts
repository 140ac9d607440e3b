// What the importer needs for each job of a file: `jobs.edit` on its category, and whatever saving the job would need.
import { type ErrorDetail, generalCategory, type JobDefinition, limits } from '@opsconductor/protocol';
import { whoLacks } from '../../../auth/missing-permission.ts';
import type { Caller } from '../../../caller.ts';
import { noSuchCategory } from '../../../categories/no-such-category.ts';
import { AppError } from '../../../errors.ts';
import type { Queryable } from '../../../store/database/connection.ts';
import { categoriesNamed } from '../../../store/jobs/job-bundles.ts';
import { unrestricted } from '../../../store/people/visibility.ts';
import { usableCredentialNames } from '../../../store/targets/credentials.ts';
import {
  absentCredentials,
  credentialProblems,
  credentialsNamed,
} from '../../checks/require-credential-use.ts';
import { requireRawSplice } from '../../checks/require-raw-splice.ts';

/** Id that stands for a category that does not exist yet. */
const toBeMade = 0;

export class ImportRights {
  readonly #sql: Queryable;
  readonly #caller: Caller;
  readonly #categories = new Map<string, number | undefined>();
  readonly #credentials = new Map<string, boolean>();
  /** Credentials that do not exist yet. Known only for importers who may use all credentials. */
  readonly #absent = new Set<string>();
  readonly #concerned = new Set<number>();

  constructor(sql: Queryable, caller: Caller) {
    this.#sql = sql;
    this.#caller = caller;
  }

  /** Categories to create, each after its parent. */
  get newCategories(): string[] {
    const made = [...this.#categories].flatMap(([name, id]) => (id === toBeMade ? [name] : []));
    return made.sort((a, b) => (a < b ? -1 : 1));
  }

  /** Ids of the existing categories that jobs go into. */
  get categoryIds(): number[] {
    return [...this.#concerned];
  }

  /** Looks up everything that these definitions name. */
  async prepare(definitions: readonly JobDefinition[]): Promise<void> {
    const names = definitions.map(({ category = generalCategory.name }) => category);
    const paths = [...new Set(names.flatMap(pathsAbove))].filter((path) => !this.#categories.has(path));
    if (paths.length > 0) {
      for (const path of paths) this.#categories.set(path, undefined);
      for (const { id, name } of await categoriesNamed(this.#sql, paths)) this.#categories.set(name, id);
    }
    const credentials = [...new Set(definitions.flatMap(credentialsNamed))].filter(
      (name) => !this.#credentials.has(name),
    );
    if (credentials.length === 0) return;
    const usesAll = this.#caller.authority.holdsEverywhere('credentials.use');
    const reaches = usesAll ? unrestricted : this.#caller.authority.reach('credentials.use');
    const usable = await usableCredentialNames(this.#sql, credentials, reaches);
    for (const name of credentials) {
      this.#credentials.set(name, usesAll || usable.has(name));
      if (usesAll && !usable.has(name)) this.#absent.add(name);
    }
  }

  /** Whether the caller may not put jobs into the category of a prepared definition. */
  isBarred({ category = generalCategory.name }: JobDefinition): boolean {
    return this.#categoryProblem(category) !== undefined;
  }

  /** Returns what the caller may not do with a prepared definition; paths begin at the definition. */
  problemsOf(definition: JobDefinition): ErrorDetail[] {
    const category = definition.category ?? generalCategory.name;
    const problem = this.#categoryProblem(category);
    const id = this.#categories.get(category) ?? toBeMade;
    return [
      ...(problem === undefined ? [] : [problem]),
      ...credentialProblems(definition, (name) => this.#credentials.get(name) === true),
      ...this.#spliceProblems(definition, { id, name: category }),
    ];
  }

  /** Returns the credentials of a prepared definition that do not exist yet; paths begin at the definition. */
  absentIn(definition: JobDefinition): ErrorDetail[] {
    return absentCredentials(definition, (name) => !this.#absent.has(name));
  }

  #categoryProblem(name: string): ErrorDetail | undefined {
    const { authority } = this.#caller;
    const id = this.#categories.get(name);
    const path = 'category';
    if (id === undefined) {
      if (!authority.holdsEverywhere('categories.edit') || !authority.holdsEverywhere('jobs.edit')) {
        return noSuchCategory(name, path);
      }
      const bad = badPath(name);
      if (bad !== undefined) return { path, ...bad, found: name };
      for (const above of pathsAbove(name))
        if (this.#categories.get(above) === undefined) this.#categories.set(above, toBeMade);
      return undefined;
    }
    if (id === toBeMade) return undefined;
    if (authority.holdsOnCategory('jobs.edit', id)) {
      this.#concerned.add(id);
      return undefined;
    }
    if (id !== generalCategory.id && !authority.holdsOnCategory('read', id)) {
      return noSuchCategory(name, path);
    }
    const message = `This needs the permission jobs.edit on category “${name}”, ${whoLacks(this.#caller)} there.`;
    return { path, message, found: name };
  }

  #spliceProblems(definition: JobDefinition, category: { id: number; name: string }): ErrorDetail[] {
    try {
      requireRawSplice(this.#caller, category, definition);
      return [];
    } catch (error) {
      if (error instanceof AppError && error.code === 'forbidden') return [...error.details];
      throw error;
    }
  }
}

/** Returns `a`, `a/b` and `a/b/c` for `a/b/c`. */
function pathsAbove(path: string): string[] {
  const parts = path.split('/');
  return parts.map((_, n) => parts.slice(0, n + 1).join('/'));
}

function badPath(path: string): { message: string; allowed: string } | undefined {
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part !== part.trim())) {
    return {
      message: 'Has a part that is empty or begins or ends with white space.',
      allowed: 'names with single slashes between them, such as prod/db',
    };
  }
  if (parts.length <= limits.maxCategoryDepth) return undefined;
  return {
    message: `Is nested deeper than ${limits.maxCategoryDepth} categories.`,
    allowed: `paths of at most ${limits.maxCategoryDepth} names`,
  };
}
