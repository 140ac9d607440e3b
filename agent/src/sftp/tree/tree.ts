// One side of a transfer, the agent's or the target's: what the engine asks of directories and files, so that a copy in
// either direction, and a comparison, are written once.

export type EntryKind = 'file' | 'directory' | 'link' | 'other';

export interface Entry {
  name: string;
  kind: EntryKind;
  size: number;
  /** Permission bits. */
  mode: number;
  /** Modification time in whole seconds, as SFTP has it. */
  mtimeS: number;
  /** Where the side has numbers for them. */
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

/** A file that is read. */
export interface Source {
  readonly size: number;
  readonly mode: number;
  readonly mtimeS: number;
  readonly owner?: Owner | undefined;
  /** Bytes that were read; fewer than asked for at the end of the file only. */
  read(buffer: Buffer, length: number, position: number): Promise<number>;
  /** SHA-256 of the first bytes, in hex. */
  hash(length: number): Promise<string>;
  /** Whether size or time is not what it was when the file was opened. */
  hasChanged(): Promise<boolean>;
  close(): Promise<void>;
}

/** A small file, read at one go. */
export interface WholeFile extends Pick<Source, 'mode' | 'mtimeS' | 'owner'> {
  bytes: Buffer;
}

/** One that is written at one go. */
export interface NewWholeFile {
  name: string;
  bytes: Buffer;
  attributes: Attributes & { mode: number };
}

/** A file that is written under a name of its own, and appears under its name whole or not at all. */
export interface Sink {
  /** What an earlier try has left, which may be gone on with once it was compared; 0 where there is nothing. */
  readonly keptBytes: number;
  write(buffer: Buffer, length: number, position: number): Promise<void>;
  /** SHA-256 of the first bytes of what was written, in hex. */
  hash(length: number): Promise<string>;
  /** Puts the file in its place, cut to its size. */
  commit(attributes: Attributes, size: number): Promise<void>;
  /** Lets go of what was written: removes it, or leaves it for a later try. Never rejects. */
  discard(keep: boolean): Promise<void>;
}

export interface SinkOptions {
  size: number;
  /** Permission bits while it is written, and after unless told. */
  mode: number;
  /** Names what is written, so that a later try can go on with it; undefined for a name by chance. */
  resumeKey?: string | undefined;
}

export interface Directory {
  /** For people. */
  readonly path: string;
  /** The same for all names that are one name there; the name itself unless told. */
  sameName?(name: string): string;
  list(): Promise<Entry[]>;
  /** What is there under the name, links not followed. */
  look(name: string): Promise<Entry | undefined>;
  /** A directory in this one. Refuses a link. */
  enter(name: string): Promise<Directory>;
  make(name: string, mode: number): Promise<void>;
  openSource(name: string): Promise<Source>;
  openSink(name: string, options: SinkOptions): Promise<Sink>;
  /**
   * Many small files, where the side can do it faster than one by one, one behind the other into the memory; undefined for
   * each that it could not read, or that there is no room for.
   */
  readWhole?(
    names: readonly string[],
    into: Uint8Array<SharedArrayBuffer>,
  ): Promise<(WholeFile | undefined)[]>;
  /** Puts them in their places as a sink does. Returns of each whether it is there. */
  writeWhole?(files: readonly NewWholeFile[]): Promise<boolean[]>;
  readLink(name: string): Promise<string>;
  /**
   * What a link leads to: where to find it, and what it is. Refuses a way out of what is allowed, which where something
   * is to be written there is less than for reading.
   */
  follow(name: string, use: { write: boolean }): Promise<{ directory: Directory; entry: Entry } | undefined>;
  /** Puts a link in its place, also of a file or link that is there. */
  makeLink(name: string, to: string): Promise<void>;
  removeFile(name: string): Promise<void>;
  removeDirectory(name: string): Promise<void>;
  /** Of something in this directory, links not followed. */
  setAttributes(name: string, attributes: Attributes): Promise<void>;
  /**
   * Permissions of a directory that is left as it is, also where the transfer was stopped. As far as it can be done without
   * waiting for anybody; never rejects.
   */
  leave(name: string, mode: number): Promise<void>;
  /** Bytes that are free where it lies; undefined where that is not told. */
  freeBytes(): Promise<number | undefined>;
  close(): Promise<void>;
}

/** The whole of a side. */
export interface Tree {
  /** In a message: `on the agent` or the target's name. */
  readonly where: string;
  /**
   * The directory that holds what the path names, and its name there. The name is undefined where the path is that of
   * an outermost directory, which is then the parent.
   */
  locate(path: string, options: LocateOptions): Promise<Place>;
}

export interface LocateOptions {
  /** Whether something is to be written there. */
  write: boolean;
  /** Makes the directories above it that are missing. */
  create: boolean;
}

export interface Place {
  parent: Directory;
  name: string | undefined;
}
