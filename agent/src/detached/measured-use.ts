// What the supervisor of a command has measured of it: lines of the shell's `times`, and of memory in pages.

export interface MeasuredUse {
  cpuMs?: number;
  peakMemoryBytes?: number;
}

const cpuPattern = /^(\d{1,9})m(\d{1,2}(?:[.,]\d{1,6})?)s (\d{1,9})m(\d{1,2}(?:[.,]\d{1,6})?)s$/;
const memoryPattern = /^(\d{1,12}) (\d{4,7})$/;

/**
 * Of the lines as they come: user and system time of the shell itself, then of what it has waited for, then the most pages
 * at a time and the bytes of one. What is none of these a target can print too: it is left out.
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

/** Some shells write the seconds as the user's language has them. */
function millisecondsOf(minutes = '0', seconds = '0'): number {
  return Number(minutes) * 60_000 + Math.round(Number(seconds.replace(',', '.')) * 1_000);
}
