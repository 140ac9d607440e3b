// Parses a text/event-stream (WHATWG HTML 9.2.6) from decoded pieces, wherever they are cut.

export interface ServerEvent {
  event: string;
  data: string;
}

export class SseParser {
  /** Id of the last event taken that had one; sent as Last-Event-ID to resume from there. */
  lastEventId: string;
  /** Wait before reconnecting that the server asked for, in ms. */
  retryMs: number | undefined;
  #rest = '';
  #event = '';
  #data: string[] = [];
  #id: string | undefined;

  constructor(lastEventId = '') {
    this.lastEventId = lastEventId;
  }

  /**
   * Yields the events that this piece completes. Each is read when it is taken: whoever stops in between can resume
   * from there.
   */
  *feed(piece: string): Generator<ServerEvent> {
    const text = this.#rest + piece;
    let from = 0;
    for (;;) {
      const end = endOfLine(text, from);
      if (end === undefined) break;
      const event = this.#take(text.slice(from, end.at));
      from = end.next;
      if (event !== undefined) yield event;
    }
    this.#rest = text.slice(from);
  }

  /** Returns the event that this line completes. */
  #take(line: string): ServerEvent | undefined {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return undefined;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'retry' && /^[0-9]+$/.test(value)) this.retryMs = Number(value);
    return undefined;
  }

  #dispatch(): ServerEvent | undefined {
    if (this.#id !== undefined) this.lastEventId = this.#id;
    const [event, data] = [this.#event, this.#data];
    this.#event = '';
    this.#data = [];
    return data.length === 0 ? undefined : { event: event === '' ? 'message' : event, data: data.join('\n') };
  }
}

/** A line ends with CR, LF or CRLF. A CR at the very end is not taken yet: its LF may still come. */
function endOfLine(text: string, from: number): { at: number; next: number } | undefined {
  const feed = text.indexOf('\n', from);
  const carriage = text.indexOf('\r', from);
  if (carriage < 0 || (feed >= 0 && feed < carriage))
    return feed < 0 ? undefined : { at: feed, next: feed + 1 };
  if (carriage + 1 === text.length) return undefined;
  return { at: carriage, next: text[carriage + 1] === '\n' ? carriage + 2 : carriage + 1 };
}
