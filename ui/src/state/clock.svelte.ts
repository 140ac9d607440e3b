// The present, to the second, for everything that says how long ago or how long.

class Clock {
  now = $state(Date.now());

  /** Ticks until what it answers is called. */
  run(): () => void {
    const timer = setInterval(() => {
      this.now = Date.now();
    }, 1000);
    return () => clearInterval(timer);
  }
}

export const clock = new Clock();
