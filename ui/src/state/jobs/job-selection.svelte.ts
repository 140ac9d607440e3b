// Jobs selected for a bulk action. They stay selected when the list's filter changes.

type Named = { id: number; name: string };

export class JobSelection {
  #names: ReadonlyMap<number, string> = $state.raw(new Map());

  readonly ids: readonly number[] = $derived([...this.#names.keys()]);

  get size(): number {
    return this.#names.size;
  }

  has(id: number): boolean {
    return this.#names.has(id);
  }

  nameOf(id: number): string | undefined {
    return this.#names.get(id);
  }

  choose(jobs: readonly Named[], on: boolean): void {
    const next = new Map(this.#names);
    for (const { id, name } of jobs) {
      if (on) next.set(id, name);
      else next.delete(id);
    }
    this.#names = next;
  }

  leaveOut(ids: readonly number[]): void {
    this.choose(
      ids.map((id) => ({ id, name: '' })),
      false,
    );
  }

  clear(): void {
    this.#names = new Map();
  }
}
