/**
 * Lines to standard output, for a command that changes something: it goes on, and ends as it would, where nobody reads to
 * the end (`| head`).
 */
export function sayToPipe(): (text: string) => void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  return (text) => void process.stdout.write(`${text}\n`);
}
