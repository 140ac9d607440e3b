// A text that is cut off at its end is shown in full where the pointer rests on it, unless it has a title of its own.

/** Those whose title is from here: it follows the text. */
const given = new WeakSet<Element>();

/** For an effect: returns the function that ends it. */
export function tellCutTexts(): () => void {
  document.addEventListener('pointerover', tell, { passive: true });
  return () => document.removeEventListener('pointerover', tell);
}

function tell({ target }: PointerEvent): void {
  if (!(target instanceof Element)) return;
  const text = target.closest<HTMLElement>('.ellipsis');
  if (text === null || (text.closest('[title]') !== null && !given.has(text))) return;
  // Of a status, its word is cut.
  const cut = [text, ...text.querySelectorAll('.status > span')];
  if (cut.some((one) => one.scrollWidth > one.clientWidth)) {
    text.title = text.textContent.trim().replace(/\s+/g, ' ');
    given.add(text);
  } else if (given.delete(text)) text.removeAttribute('title');
}
