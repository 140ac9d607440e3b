// Something that a person asked for and that may take a moment or may fail.
import { ApiError } from '../api/client.ts';
import { announcer } from './announcer.svelte.ts';

export class Action {
  busy = $state(false);
  error = $state.raw<ApiError>();

  /**
   * Runs `work` unless something is already running. Resolves with whether it succeeded.
   *
   * @param done is announced then, for what sighted people see by what is gone.
   */
  async run(work: () => Promise<void>, done?: string): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.error = undefined;
    try {
      await work();
      if (done !== undefined) announcer.sayDone(done);
      return true;
    } catch (error) {
      this.error =
        error instanceof ApiError
          ? error
          : new ApiError('internal', error instanceof Error ? error.message : String(error), {
              cause: error,
            });
      return false;
    } finally {
      this.busy = false;
    }
  }

  clear(): void {
    this.error = undefined;
  }
}
