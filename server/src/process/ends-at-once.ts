// What a second Ctrl-C ends: the processes that would go on without the server, which no longer waits for anything.
const ends = new Set<() => void>();

/** `end` must not wait for anything, nor throw. Returns a function that forgets it, once there is nothing to end. */
export function endsAtOnce(end: () => void): () => void {
  ends.add(end);
  return () => {
    ends.delete(end);
  };
}

export function endEverythingAtOnce(): void {
  for (const end of ends) end();
}
