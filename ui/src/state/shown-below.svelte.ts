// What stands below something of unknown height: it is shown once that is known, so that it isn't pushed down while
// someone reads it.

/** How long what is below waits: not for ever, as it may be what the reader needs. Longer while answers come. */
const longestWaitMs = 5_000;

export class ShownBelow {
  #shown = $state.raw<object>();

  /** Whether what is below is shown for `of`. Once it is, it stays, whatever comes above it later. */
  isShown(of: object | undefined): boolean {
    return of !== undefined && this.#shown === of;
  }

  /**
   * Waits until what is above is known, for `of()` and for any other object that it becomes; for the initialization of a
   * component.
   */
  follow(of: () => object | undefined, isKnown: () => boolean): void {
    $effect(() => {
      const now = of();
      if (now === undefined || this.isShown(now)) return;
      const show = () => {
        this.#shown = now;
      };
      if (isKnown()) return show();
      const timer = setTimeout(show, longestWaitMs);
      return () => clearTimeout(timer);
    });
  }
}
