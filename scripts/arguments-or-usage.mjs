import { parseArgs } from 'node:util';

/**
 * Parses arguments like Node's `parseArgs`. For `--help` and for unknown options, prints the usage and ends the
 * process.
 *
 * @template {import('node:util').ParseArgsConfig} T
 * @param {string} usage
 * @param {T} config
 * @returns {ReturnType<typeof parseArgs<T>>}
 */
export function argumentsOrUsage(usage, config) {
  if (process.argv.slice(2).includes('--help')) {
    process.stdout.write(usage);
    process.exit(0);
  }
  try {
    return parseArgs(config);
  } catch (error) {
    // Without Node's hint on positional arguments.
    process.stderr.write(`error: ${error.message.split('. To specify', 1)[0]}\n${usage}`);
    process.exit(2);
  }
}
