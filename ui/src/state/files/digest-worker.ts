// A thread that hashes one file for the page that has chosen it.
import { DigestedFile } from './digested-file.ts';

/** First the file; then, one after the other, how much of it to hash. */
export type Asked = { file: Blob } | { end: number };
export type Told = { read: number } | { hex: string } | { name: string; message: string };

let digested: DigestedFile | undefined;

addEventListener('message', ({ data }: MessageEvent<Asked>) => {
  if ('file' in data) digested = new DigestedFile(data.file);
  else void answer(data.end);
});

async function answer(end: number): Promise<void> {
  try {
    const hex = await digested?.upTo(end, (read) => tell({ read }));
    if (hex !== undefined) tell({ hex });
  } catch (error) {
    const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) };
    tell({ name, message });
  }
}

function tell(told: Told): void {
  postMessage(told);
}
