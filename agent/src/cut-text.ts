// Texts that are too long are cut where a mark says so. Whatever masks secrets takes the beginning of one in front of
// the mark for the whole: the rest may have been cut off.

export const cutMark = '…';

/** Returns the text, or as much of it as fits with the mark. */
export function cutText(text: string, maxLength: number): string {
  return text.length <= maxLength ? text : text.slice(0, maxLength - cutMark.length) + cutMark;
}
