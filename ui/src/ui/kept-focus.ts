// Keeps the focus near where it was when what has it goes away: a row that is deleted, a note whose button did its work,
// an answer that has been given. The browser would give it to the document: the keyboard would begin at the top of the
// page again, and a screen reader would say nothing.

/** An element and all that it stands in, from the inside out, with what stands beside each. */
type Spot = readonly { element: HTMLElement; next: Element | null; previous: Element | null }[];

const rows = 'li, tr, [role="listitem"], [role="row"]';
const controls = 'a[href], button, input, select, textarea, summary';
/** Lists whose rows come and go while they scroll, which moves no focus. */
const virtual = '[data-virtual]';

export function spotOf(element: Element | null): Spot {
  const found = [];
  for (let one = element; one instanceof HTMLElement && one !== document.body; one = one.parentElement) {
    found.push({ element: one, next: one.nextElementSibling, previous: one.previousElementSibling });
    if (one instanceof HTMLDialogElement || one.id === 'main') break;
  }
  return found;
}

const isShown = (element: Element) => element.isConnected && element.checkVisibility();

function controlIn(row: Element): HTMLElement | undefined {
  const all = row.matches(controls) ? [row] : row.querySelectorAll(controls);
  return [...all].find(
    (one): one is HTMLElement => one instanceof HTMLElement && isShown(one) && !one.matches(':disabled'),
  );
}

/** The control of the row that has taken the place of one that is gone, otherwise of the one before it. */
function controlBeside({ element, next, previous }: Spot[number]): HTMLElement | undefined {
  if (!element.matches(rows)) return undefined;
  for (const [from, step] of [
    [next, 'nextElementSibling'],
    [previous, 'previousElementSibling'],
  ] as const) {
    for (let row = from; row?.isConnected && row.matches(rows); row = row[step]) {
      const control = controlIn(row);
      if (control !== undefined) return control;
    }
  }
  return undefined;
}

/** What is as near as can be to what has gone: the row beside it, what it stood in, or the page. */
function nearest(spot: Spot): HTMLElement | null {
  const at = spot.findIndex(({ element }) => isShown(element));
  const gone = spot[at - 1];
  const beside = gone === undefined ? undefined : controlBeside(gone);
  if (beside !== undefined) return beside;
  for (const { element } of at < 0 ? [] : spot.slice(at)) {
    // A page that was replaced announces itself.
    if (element.id === 'main') break;
    const heading = [...element.querySelectorAll<HTMLElement>('h1, h2, h3')].find(isShown);
    const named =
      heading ?? (element.matches('section[aria-label], aside[aria-label]') ? element : undefined);
    if (named === undefined) continue;
    named.tabIndex = -1;
    return named;
  }
  return document.getElementById('main');
}

/** Gives the focus to what had it then, otherwise to what is near. */
export function focusNear(spot: Spot): void {
  const first = spot[0]?.element;
  if (first === undefined) return;
  const isThere = isShown(first) && !first.matches(':disabled');
  const found = isThere ? first : nearest(spot);
  found?.focus({ preventScroll: found.id === 'main' });
}

/** Watches the focus until the returned function is called. */
export function keepFocus(): () => void {
  let spot: Spot = [];
  let isDisabled = false;
  let frame: number | undefined;
  const isNowhere = () => document.activeElement === null || document.activeElement === document.body;

  function look() {
    frame = undefined;
    const [first] = spot;
    if (first === undefined) return;
    if (!isNowhere()) {
      spot = spotOf(document.activeElement);
      isDisabled = spot[0]?.element.matches(':disabled') === true;
      return;
    }
    const wasDisabled = isDisabled;
    isDisabled = isShown(first.element) && first.element.matches(':disabled');
    // It may be for as long as a request takes.
    if (isDisabled) return;
    const left = spot;
    spot = [];
    const isThere = isShown(first.element);
    if (isThere ? wasDisabled : !left.some(({ element }) => element.matches(virtual) && isShown(element)))
      focusNear(left);
  }
  // In the next frame: whoever took the element away may know better where the focus belongs.
  const later = () => {
    frame ??= requestAnimationFrame(look);
  };
  const remember = ({ target }: FocusEvent) => {
    isDisabled = false;
    spot = target instanceof Element ? spotOf(target) : [];
  };
  /** Somebody has clicked beside everything. */
  const forget = ({ target }: FocusEvent) => {
    queueMicrotask(() => {
      if (!(target instanceof Element) || !isShown(target) || !isNowhere()) return;
      if (target.matches(':disabled')) isDisabled = true;
      else spot = [];
    });
  };
  const observer = new MutationObserver(later);
  observer.observe(document.body, {
    subtree: true,
    childList: true,
    attributes: true,
    attributeFilter: ['class', 'disabled', 'hidden'],
  });
  document.addEventListener('focusin', remember);
  document.addEventListener('focusout', forget);
  return () => {
    observer.disconnect();
    if (frame !== undefined) cancelAnimationFrame(frame);
    document.removeEventListener('focusin', remember);
    document.removeEventListener('focusout', forget);
  };
}
