// Standard output that nobody reads to the end, or that can't be written. The command itself goes on: whether it has
// made or started something must not depend on that.
import { visible } from './visible.ts';

/** Lets a reader stop early (`| head`). Output that is lost in other ways, as on a full disk, is an error. */
export function watchOutput(failed = 1): void {
  let isTold = false;
  process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (code === 'EPIPE' || isTold) return;
    isTold = true;
    process.stderr.write(
      `error: What the command says can't be written: ${visible(message)}.\n       It does the rest nevertheless. Write its output elsewhere.\n`,
    );
    process.once('exit', () => {
      process.exitCode ||= failed;
    });
  });
}
