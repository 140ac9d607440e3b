// Formats moments in UTC, so that all operators of an installation read the same figures wherever they are.
import { longDuration } from './duration.ts';

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const dayMs = 86_400_000;

/** `02:14:07` */
export function clockTime(at: string | number | Date): string {
  return new Date(at).toISOString().slice(11, 19);
}

/** `24 Nov 2026, 02:14:07 UTC` */
export function fullMoment(at: string | number | Date): string {
  const date = new Date(at);
  return `${dayAndMonth(date)} ${date.getUTCFullYear()}, ${clockTime(date)} UTC`;
}

/**
 * Replaces the ISO timestamps in a text from the server: `since 24 Nov 2026, 02:14:07 UTC`. What is in quotes was
 * written by somebody, and stays.
 */
export function withMoments(text: string): string {
  return text.replaceAll(/(?<![“"'\w])\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z/g, fullMoment);
}

/** Only the time on the same UTC day, otherwise with the date: `02:14:07`, `23 Nov 02:14`. */
export function moment(at: string | number | Date, now: number): string {
  const date = new Date(at);
  if (Math.floor(date.getTime() / dayMs) === Math.floor(now / dayMs)) return clockTime(date);
  const year = date.getUTCFullYear() === new Date(now).getUTCFullYear() ? '' : ` ${date.getUTCFullYear()}`;
  return `${dayAndMonth(date)}${year} ${clockTime(date).slice(0, 5)}`;
}

/** `now`, `13 min ago`, `2 h ago`, `yesterday`, `12 Oct`, `12 Oct 2025`. */
export function ago(at: string | number | Date, now: number): string {
  const date = new Date(at);
  const past = now - date.getTime();
  if (past < 1_500) return 'now';
  if (past < 60_000) return `${Math.floor(past / 1000)} s ago`;
  if (past < 3_600_000) return `${Math.floor(past / 60_000)} min ago`;
  if (past < dayMs) return `${Math.floor(past / 3_600_000)} h ago`;
  const days = Math.floor(now / dayMs) - Math.floor(date.getTime() / dayMs);
  if (days <= 1) return 'yesterday';
  return dayOf(date, now);
}

/** The UTC day: `12 Oct`, `12 Oct 2025`. */
export function dayOf(at: string | number | Date, now: number): string {
  const date = new Date(at);
  const year = date.getUTCFullYear();
  return year === new Date(now).getUTCFullYear() ? dayAndMonth(date) : `${dayAndMonth(date)} ${year}`;
}

/** `in 57 min 10 s`, or `now` if it is in the past. */
export function until(at: string | number | Date, now: number): string {
  const left = new Date(at).getTime() - now;
  return left <= 0 ? 'now' : `in ${longDuration(left)}`;
}

function dayAndMonth(date: Date): string {
  return `${date.getUTCDate()} ${months[date.getUTCMonth()] ?? ''}`;
}
