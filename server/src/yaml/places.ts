// Positions of the parts of a value in the text that it was read from.
import type { ErrorDetail } from '@opsconductor/protocol';

/** Both count from 1; columns in UTF-16 units. */
export interface Place {
  line: number;
  column: number;
}

interface Parts {
  own: Place;
  members: Map<string, { value: Place; key: Place }>;
}

export class Places {
  #root: object | undefined;
  readonly #parts = new Map<object, Parts>();

  /** A list or object begins; the first one is the whole value. */
  begin(container: object, own: Place): void {
    this.#root ??= container;
    this.#parts.set(container, { own, members: new Map() });
  }

  set(container: object, name: string, value: Place, key: Place = value): void {
    this.#parts.get(container)?.members.set(name, { value, key });
  }

  /** Returns the position of a path such as `steps[2].config["a b"]`, or of the nearest part around it that exists. */
  find(path: string): Place | undefined {
    let container = this.#root;
    let place = container && this.#parts.get(container)?.own;
    for (const name of segmentsOf(path)) {
      const parts = container && this.#parts.get(container);
      const member = parts?.members.get(name);
      if (member === undefined) return place;
      place = member.value;
      const inner: unknown = (container as Record<string, unknown>)[name];
      container = typeof inner === 'object' && inner !== null ? inner : undefined;
    }
    return place;
  }

  /** Adds line and column to details that have none. */
  locate(details: readonly ErrorDetail[]): ErrorDetail[] {
    return details.map((detail) => {
      const place = detail.line === undefined ? this.find(detail.path) : undefined;
      return place === undefined ? detail : { ...detail, ...place };
    });
  }
}

function segmentsOf(path: string): string[] {
  const segments: string[] = [];
  for (const [, index, quoted, name] of path.matchAll(/\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]|([^.[\]]+)/g)) {
    segments.push(quoted === undefined ? (index ?? name ?? '') : String(JSON.parse(quoted)));
  }
  return segments;
}
