// A selection as a person puts it together: picked targets, groups and a selector, minus exclusions of the same kinds.
import type { TargetSelection } from '@opsconductor/protocol';
import { unreadable } from '../../forms/selection/selector-problem.ts';

interface Named {
  id: number;
  name: string;
}
type Terms = Pick<TargetSelection, 'targetIds' | 'groupIds' | 'selector'>;

class SelectionPart {
  /** Names of the picked targets by id. */
  targets = $state.raw<ReadonlyMap<number, string>>(new Map());
  groups = $state.raw<readonly Named[]>([]);
  selector = $state('');
  /** As it is sent, without empty parts. */
  readonly terms: Terms = $derived({
    ...(this.targets.size === 0 ? {} : { targetIds: [...this.targets.keys()] }),
    ...(this.groups.length === 0 ? {} : { groupIds: this.groups.map(({ id }) => id) }),
    ...(this.selector.trim() === '' ? {} : { selector: this.selector.trim() }),
  });
  readonly isEmpty = $derived(Object.keys(this.terms).length === 0);

  clear(): void {
    this.targets = new Map();
    this.groups = [];
    this.selector = '';
  }
}

export class SelectionDraft {
  readonly include = new SelectionPart();
  readonly exclude = new SelectionPart();
  readonly isReadable = $derived(
    unreadable(this.include.selector) === undefined && unreadable(this.exclude.selector) === undefined,
  );
  /** Undefined while nothing is included or a selector can't be parsed. */
  readonly selection: TargetSelection | undefined = $derived(
    this.include.isEmpty || !this.isReadable
      ? undefined
      : { ...this.include.terms, ...(this.exclude.isEmpty ? {} : { exclude: this.exclude.terms }) },
  );

  pick(targets: readonly Named[]): void {
    this.include.targets = new Map(targets.map(({ id, name }) => [id, name]));
  }

  /** Leaves targets out: unpicks them and, if there are groups or a selector, excludes them. */
  leaveOut(targets: readonly Named[]): void {
    const ids = new Set(targets.map(({ id }) => id));
    this.include.targets = new Map([...this.include.targets].filter(([id]) => !ids.has(id)));
    if (this.include.groups.length === 0 && this.include.selector.trim() === '') return;
    this.exclude.targets = new Map([
      ...this.exclude.targets,
      ...targets.map(({ id, name }): [number, string] => [id, name]),
    ]);
  }

  clear(): void {
    this.include.clear();
    this.exclude.clear();
  }
}
