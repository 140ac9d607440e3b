// A directory that a dry run does not make: nothing is in it.
import type { Directory, Entry, Sink, Source } from './tree.ts';

export class PlannedDirectory implements Directory {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  list = async (): Promise<Entry[]> => [];
  look = async (): Promise<undefined> => undefined;
  follow = async (): Promise<undefined> => undefined;
  freeBytes = async (): Promise<undefined> => undefined;
  close = async (): Promise<void> => {};
  leave = async (): Promise<void> => {};
  enter = (): Promise<Directory> => notThere();
  make = (): Promise<void> => notThere();
  openSource = (): Promise<Source> => notThere();
  openSink = (): Promise<Sink> => notThere();
  readLink = (): Promise<string> => notThere();
  makeLink = (): Promise<void> => notThere();
  removeFile = (): Promise<void> => notThere();
  removeDirectory = (): Promise<void> => notThere();
  setAttributes = (): Promise<void> => notThere();
}

async function notThere(): Promise<never> {
  throw new Error('a dry run uses a directory that it has not made');
}
