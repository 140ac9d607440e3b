// Why a command was ended from outside, as noted in its directory on the target.

const stopNotes = ['cancelled', 'timed_out', 'output_limit', 'clean_up'] as const;
export type StopNote = (typeof stopNotes)[number];

export function isStopNote(word: string | undefined): word is StopNote {
  return stopNotes.some((note) => note === word);
}
