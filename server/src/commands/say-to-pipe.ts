/**
 * Returns a function that writes lines to standard output, for a command that changes something: if nobody reads to the
 * end (`| head`), the command still finishes as usual.
 */
export function sayToPipe(): (text: string) => void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  return (text) => void process.stdout.write(`${text}\n`);
}
