// The interface of one side of a transfer, the agent or the target. Copies in both directions, and comparisons, are
// written once against it.

export type EntryKind = 'file' | 'directory' | 'link' | 'other';

export interface Entry {
  name: string;
  kind: EntryKind;
  size: number;
  /** Permission bits. */
  mode: number;
  /** Modification time in whole seconds since 1970, as in SFTP. */
  mtimeS: number;
  /** Undefined if the side has no numeric owners. */
  owner?: Owner | undefined;
}

/** User and group, by number. */
export interface Owner {
  uid: number;
  gid: number;
}

export interface Attributes {
  mode?: number;
  mtimeS?: number;
  owner?: Owner;
}

/** A file that is open for reading. */
export interface Source {
  readonly size: number;
  readonly mode: number;
  readonly mtimeS: number;
  readonly owner?: Owner | undefined;
  /** Returns the number of bytes read: fewer than asked for only at the end of the file. */
  read(buffer: Buffer, length: number, position: number): Promise<number>;
  /** SHA-256 of the first bytes, in hex. */
  hash(length: number): Promise<string>;
  /** Returns whether size or time has changed since the file was opened. */
  hasChanged(): Promise<boolean>;
  close(): Promise<void>;
}

/** A small file, read in one go. */
export interface WholeFile extends Pick<Source, 'mode' | 'mtimeS' | 'owner'> {
  bytes: Buffer;
}

/** A small file, written in one go. */
export interface NewWholeFile {
  name: string;
  bytes: Buffer;
  attributes: Attributes & { mode: number };
}

/** A file that is written under a temporary name, and appears under its final name complete or not at all. */
export interface Sink {
  /** Bytes that an earlier try left, which can be resumed after comparing them; 0 if none. */
  readonly keptBytes: number;
  write(buffer: Buffer, length: number, position: number): Promise<void>;
  /** Returns the SHA-256 of the first `length` bytes of what was written, in hex. */
  hash(length: number): Promise<string>;
  /** Truncates the file to `size` and gives it its final name. */
  commit(attributes: Attributes, size: number): Promise<void>;
  /** Gives up: removes what was written, or keeps it for a later try. Never rejects. */
  discard(keep: boolean): Promise<void>;
}

export interface SinkOptions {
  size: number;
  /** Permission bits while it is written, and afterwards unless `commit` sets others. */
  mode: number;
  /** Determines the temporary name, so that a later try can resume; undefined for a random name. */
  resumeKey?: string | undefined;
}

export interface Directory {
  /** Path, for people. */
  readonly path: string;
  /** Returns the same text for all names that are one name there; by default the name itself. */
  sameName?(name: string): string;
  list(): Promise<Entry[]>;
  /** Returns the entry with this name, without following links; undefined if there is none. */
  look(name: string): Promise<Entry | undefined>;
  /** Opens a directory inside this one. Refuses a link. */
  enter(name: string): Promise<Directory>;
  make(name: string, mode: number): Promise<void>;
  openSource(name: string): Promise<Source>;
  openSink(name: string, options: SinkOptions): Promise<Sink>;
  /**
   * Reads many small files into the memory, one after the other, if the side can do that faster than one by one.
   * Returns undefined for each file that it could not read or that there is no room for.
   */
  readWhole?(
    names: readonly string[],
    into: Uint8Array<SharedArrayBuffer>,
  ): Promise<(WholeFile | undefined)[]>;
  /** Writes small files, each through a temporary name as a sink does. Returns for each whether it succeeded. */
  writeWhole?(files: readonly NewWholeFile[]): Promise<boolean[]>;
  readLink(name: string): Promise<string>;
  /**
   * Returns what a link leads to, and the directory that holds it; undefined if it leads nowhere or out of what is
   * allowed. Less is allowed for writing than for reading.
   */
  follow(name: string, use: { write: boolean }): Promise<{ directory: Directory; entry: Entry } | undefined>;
  /** Makes a link, replacing a file or link that is there. */
  makeLink(name: string, to: string): Promise<void>;
  removeFile(name: string): Promise<void>;
  removeDirectory(name: string): Promise<void>;
  /** Sets attributes of an entry of this directory, without following links. */
  setAttributes(name: string, attributes: Attributes): Promise<void>;
  /**
   * Sets the permissions of a directory that remains incomplete, even after the transfer was stopped. Best effort,
   * without opening a connection; never rejects.
   */
  leave(name: string, mode: number): Promise<void>;
  /** Returns the free bytes of the file system; undefined if unknown. */
  freeBytes(): Promise<number | undefined>;
  close(): Promise<void>;
}

/** All of one side. */
export interface Tree {
  /** Where it is, for messages: `on the agent`, or `on` and the host. */
  readonly where: string;
  /**
   * Returns the directory that holds what the path names, and its name there. If the path is that of an outermost
   * directory, that is the parent and the name is undefined.
   */
  locate(path: string, options: LocateOptions): Promise<Place>;
}

export interface LocateOptions {
  /** Whether something will be written there. */
  write: boolean;
  /** Whether to make missing directories above it. `planned`: a dry run doesn't, but goes on as if it had. */
  create: boolean | 'planned';
}

export interface Place {
  parent: Directory;
  name: string | undefined;
}
