// Formats durations, given in milliseconds.

const two = (value: number) => String(value).padStart(2, '0');

/** For a cell: `37 ms`, `2.1 s`, `18 s`, `3:04`, `1:02:03`. */
export function cellDuration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 0.095) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  return clockDuration(ms);
}

/** Like a stopwatch: `0:09`, `10:41`, `1:02:03`. */
export function clockDuration(ms: number): string {
  const seconds = Math.round(Math.max(0, ms) / 1000);
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  if (hours > 0) return `${hours}:${two(minutes)}:${two(seconds % 60)}`;
  return `${minutes}:${two(seconds % 60)}`;
}

/** In words, with seconds below an hour: `41 s`, `13 min 05 s`, `2 h 06 min`, `3 d 4 h`. */
export function longDuration(ms: number): string {
  const seconds = Math.round(Math.max(0, ms) / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${two(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${two(minutes % 60)} min`;
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`;
}

/** The same for a time that grows while it is shown, as wide at a full minute as before it: `13 min 00 s`, `2 h 00 min`. */
export function growingDuration(ms: number): string {
  const seconds = Math.round(Math.max(0, ms) / 1000);
  const words = longDuration(ms);
  if (seconds >= 60 && seconds < 3600 && seconds % 60 === 0) return `${words} 00 s`;
  return seconds >= 3600 && seconds < 86_400 && seconds % 3600 < 60 ? `${words} 00 min` : words;
}

/** `6 s left`: how long these bytes take at this rate, in whole seconds; undefined if there is nothing to say. */
export function timeLeft(bytes: number, bytesPerSecond: number): string | undefined {
  if (bytes <= 0 || bytesPerSecond <= 0) return undefined;
  return `${longDuration(Math.max(1, Math.ceil(bytes / bytesPerSecond)) * 1_000)} left`;
}

/** How long something took that has ended; tenths of short times: `37 ms`, `2.1 s`, `13 min 05 s`. */
export function tookDuration(ms: number): string {
  return ms < 59_500 ? cellDuration(ms) : longDuration(ms);
}

/** Rounded, for typical values: `37 ms`, `40 s`, `18 min`, `1 h 12 min`. */
export function roundDuration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 0.095) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return longDuration(Math.round(seconds / 60) * 60_000);
}

/** Time of an output line since its step began: `0:08.2`, `3:04.0`. */
export function lineTime(ms: number): string {
  const tenths = Math.floor(Math.max(0, ms) / 100);
  const seconds = Math.floor(tenths / 10);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${two(seconds % 60)}.${tenths % 10}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
}
