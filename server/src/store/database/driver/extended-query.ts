// Messages of PostgreSQL's protocol 3.0 for one statement whose parameters may be bytes: "Extended Query" and "Message
// Formats" in chapter 54 of its manual.

/** Text (in the type's text format), bytes in pieces (in its binary format), or null. */
export type Parameter = string | readonly Uint8Array[] | null;

const format = { text: 0, binary: 1 } as const;
const isNull = -1;
const headerBytes = 5;
const sync = message('S', Buffer.alloc(0));

/** Parse: prepares a statement under a name. Parameters have the types to which the statement casts them. */
export function parse(name: string, statement: string): Buffer {
  return message('P', Buffer.concat([cString(name), cString(statement), int16(0)]));
}

/** Close: forgets a statement. Closing an unknown one is no error. */
export function close(name: string): Buffer {
  return message('C', Buffer.concat([Buffer.from('S'), cString(name)]));
}

/** Bind, Execute and Sync. Large pieces of bytes appear in the result without being copied. */
export function bindAndExecute(name: string, parameters: readonly Parameter[]): Uint8Array[] {
  const values = parameters.map(valueParts);
  const formats = parameters.map((value) => int16(Array.isArray(value) ? format.binary : format.text));
  const head = Buffer.concat([
    cString(''),
    cString(name),
    int16(values.length),
    ...formats,
    int16(values.length),
  ]);
  const results = int16(0); // all as text
  const body = [head, ...values.flat(), results];
  const length = body.reduce((sum, { length }) => sum + length, 0);
  return joinSmall([
    header('B', length),
    ...body,
    message('E', Buffer.concat([cString(''), int32(0)])),
    sync,
  ]);
}

function valueParts(value: Parameter): Uint8Array[] {
  if (value === null) return [int32(isNull)];
  const pieces = typeof value === 'string' ? [Buffer.from(value)] : value;
  return [int32(pieces.reduce((sum, { length }) => sum + length, 0)), ...pieces];
}

/** Joins short neighboring pieces, because each piece is a separate write. */
function joinSmall(pieces: readonly Uint8Array[]): Uint8Array[] {
  const smallBytes = 1_024;
  const joined: Uint8Array[] = [];
  let small: Uint8Array[] = [];
  const flush = () => {
    if (small.length > 0) joined.push(Buffer.concat(small));
    small = [];
  };
  for (const piece of pieces) {
    if (piece.length <= smallBytes) small.push(piece);
    else {
      flush();
      joined.push(piece);
    }
  }
  flush();
  return joined;
}

/** Reads what the database answers until it is ready for the next statement. */
export class ReplyReader {
  readonly rows: (string | null)[][] = [];
  /** The fields of the first error, named as in the driver's errors. */
  error: Record<string, string> | undefined;
  /** Whether a Parse was accepted. */
  hasParsed = false;
  #held: Buffer = Buffer.alloc(0);

  /** Returns the bytes after the answer once it is complete; `undefined` until then. */
  read(bytes: Buffer): Buffer | undefined {
    const data = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    let at = 0;
    while (at + headerBytes <= data.length) {
      const end = at + 1 + data.readUInt32BE(at + 1);
      if (end > data.length) break;
      const body = data.subarray(at + headerBytes, end);
      const type = String.fromCharCode(data[at] as number);
      at = end;
      if (type === '1') this.hasParsed = true;
      else if (type === 'D') this.rows.push(rowOf(body));
      else if (type === 'E') this.error ??= errorOf(body);
      else if (type === 'Z') return data.subarray(at);
    }
    this.#held = Buffer.from(data.subarray(at));
    return undefined;
  }
}

function rowOf(body: Buffer): (string | null)[] {
  let at = 2;
  return Array.from({ length: body.readUInt16BE(0) }, () => {
    const length = body.readInt32BE(at);
    at += 4;
    if (length === isNull) return null;
    at += length;
    return body.toString('utf8', at - length, at);
  });
}

/** Letters of "Error and Notice Message Fields", with the driver's names for them. */
const fieldNames: Readonly<Record<string, string>> = {
  S: 'severity_local',
  V: 'severity',
  C: 'code',
  M: 'message',
  D: 'detail',
  H: 'hint',
  P: 'position',
  p: 'internal_position',
  q: 'internal_query',
  W: 'where',
  s: 'schema_name',
  t: 'table_name',
  c: 'column_name',
  d: 'type_name',
  n: 'constraint_name',
  F: 'file',
  L: 'line',
  R: 'routine',
};

/** Parses the body of an ErrorResponse into the fields that the driver's errors have. */
export function errorOf(body: Buffer): Record<string, string> {
  const fields = body.toString('utf8').split('\0');
  return Object.fromEntries(
    fields.flatMap((field) => {
      const name = fieldNames[field.charAt(0)];
      return name === undefined ? [] : [[name, field.slice(1)]];
    }),
  );
}

function message(type: string, body: Buffer): Buffer {
  return Buffer.concat([header(type, body.length), body]);
}

/** The length includes itself, but not the letter. */
function header(type: string, bodyBytes: number): Buffer {
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(bodyBytes + 4)]);
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

function int16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value);
  return bytes;
}
