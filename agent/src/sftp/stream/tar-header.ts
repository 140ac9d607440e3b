// Reads and writes headers of tar archives (POSIX ustar, and GNU's records for long names) for regular files.

export const blockBytes = 512;
/** The two zero blocks that end an archive. */
export const endBlocks = Buffer.alloc(2 * blockBytes);

export const regularFile = '0';
/** Type of the GNU record that holds the name of the next member. */
export const gnuLongName = 'L';
const nameBytes = 100;
/** The same in POSIX and GNU headers; the version after it differs and is ignored. */
const magic = 'ustar';
const blank = 0x20;
const zeroDigit = 0x30;

export interface TarHeader {
  /** The bytes of the name, exactly as in the header. */
  name: Buffer;
  type: string;
  size: number;
  mode: number;
  mtimeS: number;
}

/** Returns the header of a regular file. If its name is long, a GNU record with the name comes first. */
export function writeHeader(file: Omit<TarHeader, 'type'>): Buffer {
  if (file.name.length <= nameBytes) return headerOf({ ...file, type: regularFile });
  const text = Buffer.concat([file.name, Buffer.alloc(1)]);
  const long = {
    name: Buffer.from('././@LongLink'),
    type: gnuLongName,
    size: text.length,
    mode: 0,
    mtimeS: 0,
  };
  const padding = Buffer.alloc(paddingOf(text.length));
  return Buffer.concat([headerOf(long), text, padding, headerOf({ ...file, type: regularFile })]);
}

function headerOf({ name, type, size, mode, mtimeS }: TarHeader): Buffer {
  const header = Buffer.alloc(blockBytes);
  name.copy(header, 0, 0, nameBytes);
  writeOctal(header, 100, 8, mode);
  // The owner doesn't matter: files will belong to the user who unpacks them.
  writeOctal(header, 108, 8, 0);
  writeOctal(header, 116, 8, 0);
  writeOctal(header, 124, 12, size);
  writeOctal(header, 136, 12, mtimeS);
  header.write(type, 156, 'latin1');
  // GNU's form of the magic, because the records for long names are GNU's.
  header.write(`${magic}  `, 257, 'latin1');
  writeOctal(header, 148, 8, checksumOf(header));
  return header;
}

/** Returns how many zero bytes fill the last block of a file. */
export function paddingOf(size: number): number {
  return (blockBytes - (size % blockBytes)) % blockBytes;
}

/** Parses a header; undefined if the block isn't one. */
export function readHeader(block: Buffer): TarHeader | undefined {
  const sum = readNumber(block, 148, 8);
  const [size, mode, mtimeS] = [
    readNumber(block, 124, 12),
    readNumber(block, 100, 8),
    readNumber(block, 136, 12),
  ];
  if (sum !== checksumOf(block) || size === undefined || mode === undefined || mtimeS === undefined)
    return undefined;
  if (block.toString('latin1', 257, 262) !== magic) return undefined;
  const type = String.fromCharCode(block[156] || regularFile.charCodeAt(0));
  return { name: textAt(block, 0, 100), type, size, mode, mtimeS };
}

export function isZero(block: Buffer): boolean {
  return block.equals(endBlocks.subarray(0, blockBytes));
}

/** Returns a field up to its first zero byte. */
export function textAt(block: Buffer, start: number, length: number): Buffer {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return end === -1 ? field : field.subarray(0, end);
}

function writeOctal(header: Buffer, at: number, length: number, value: number): void {
  header.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
}

/** Reads octal digits, or a GNU binary number for values that don't fit; undefined if it is neither. */
function readNumber(block: Buffer, at: number, length: number): number | undefined {
  const first = block[at] ?? 0;
  if (first === 0x80 || first === 0xff) {
    // The last six bytes, which a number holds exactly; those before only repeat the sign.
    const low = block.readIntBE(at + length - 6, 6);
    return first === 0xff && low > 0 ? undefined : low;
  }
  // Digit by digit, because parsing text would create more garbage than everything else about a header.
  let next = at;
  while (next < at + length && block[next] === blank) next += 1;
  let value = 0;
  for (; next < at + length; next += 1) {
    const byte = block[next] ?? 0;
    if (byte === 0 || byte === blank) break;
    if (byte < zeroDigit || byte >= zeroDigit + 8) return undefined;
    value = value * 8 + byte - zeroDigit;
  }
  return value;
}

/** Returns the sum of all bytes, counting those of the checksum field as spaces. */
function checksumOf(header: Buffer): number {
  let sum = 8 * blank;
  for (let at = 0; at < blockBytes; at += 1) sum += header[at] as number;
  for (let at = 148; at < 156; at += 1) sum -= header[at] as number;
  return sum;
}
