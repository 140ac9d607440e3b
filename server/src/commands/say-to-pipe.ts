/**
 * Returns a function that writes text to standard output, for a command that changes something or whose exit code is
 * its answer: if nobody reads to the end (`| head`), the command still finishes as usual.
 *
 * @param lostCode the exit code instead of 0 if output is lost in another way, as on a full disk.
 */
export function writeToPipe(lostCode = 1): (text: string) => void {
  let isTold = false;
  process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (code === 'EPIPE' || isTold) return;
    isTold = true;
    process.stderr.write(
      `error: what the command says can't be written: ${message}\n       It does the rest nevertheless. Write its output elsewhere.\n`,
    );
    process.once('exit', () => {
      process.exitCode ||= lostCode;
    });
  });
  return (text) => void process.stdout.write(text);
}

/** The same, for lines. */
export function sayToPipe(): (line: string) => void {
  const write = writeToPipe();
  return (line) => write(`${line}\n`);
}
