import { AppError } from '../errors.ts';
import { violatedConstraint } from '../store/database/connection.ts';

/** Converts the database error of a taken name to a conflict; returns any other error unchanged. */
export function nameTaken(error: unknown, name: string): unknown {
  return violatedConstraint(error) === 'jobs_name_key' ? takenName(name, error) : error;
}

/** Returns the conflict for a name that another job has. */
export function takenName(name: string, cause?: unknown): AppError {
  const message = `There is a job named ${name} already; choose another name.`;
  return new AppError('conflict', message, { cause, details: [{ path: 'name', message }] });
}
