// Parses what a command's supervisor measured: lines of the shell's `times`, and a line with memory in pages.

export interface MeasuredUse {
  cpuMs?: number;
  peakMemoryBytes?: number;
}

const cpuPattern = /^(\d{1,9})m(\d{1,2}(?:[.,]\d{1,6})?)s (\d{1,9})m(\d{1,2}(?:[.,]\d{1,6})?)s$/;
const memoryPattern = /^(\d{1,12}) (\d{4,7})$/;

/**
 * Parses the lines in order: user and system time of the shell itself, then of its children (the last one counts), then
 * the peak number of pages and the bytes per page. Any other line is ignored, because a target can print anything.
 */
export function measuredUse(lines: readonly string[]): MeasuredUse {
  const use: MeasuredUse = {};
  for (const line of lines) {
    const [, userMinutes, userSeconds, systemMinutes, systemSeconds] = cpuPattern.exec(line) ?? [];
    if (systemSeconds !== undefined)
      use.cpuMs = millisecondsOf(userMinutes, userSeconds) + millisecondsOf(systemMinutes, systemSeconds);
    const [, pages, pageBytes] = memoryPattern.exec(line) ?? [];
    const bytes = Number(pages) * Number(pageBytes);
    if (Number.isSafeInteger(bytes)) use.peakMemoryBytes = bytes;
  }
  return use;
}

/** Some shells write the seconds with a decimal comma, depending on the user's language. */
function millisecondsOf(minutes = '0', seconds = '0'): number {
  return Number(minutes) * 60_000 + Math.round(Number(seconds.replace(',', '.')) * 1_000);
}
