// Where the keyboard goes on when the element that had the focus is removed from the page. Browsers forget the place: the
// next Tab would begin at the top of the page.
import { tick } from 'svelte';

const canFocus =
  'button:not(:disabled), a[href], input:not(:disabled), select:not(:disabled), textarea:not(:disabled), summary, [tabindex="0"]';
/** How long the page may take to read what was changed and to draw it. */
const patienceMs = 5_000;

/**
 * Follows the page until the user goes on elsewhere: once nothing has the focus any more, gives it to the first control
 * of the innermost of the elements `around` it that is still there.
 */
export async function stayNear(around: readonly HTMLElement[]): Promise<void> {
  await tick();
  if (look()) return;
  const observer = new MutationObserver(() => {
    if (look()) stop();
  });
  const timer = setTimeout(stop, patienceMs);
  const userGoesOn = ['keydown', 'pointerdown'] as const;
  for (const event of userGoesOn) document.addEventListener(event, stop, { capture: true, once: true });
  observer.observe(document.body, { childList: true, subtree: true });

  function stop() {
    observer.disconnect();
    clearTimeout(timer);
    for (const event of userGoesOn) document.removeEventListener(event, stop, { capture: true });
  }
  function look(): boolean {
    if (document.activeElement !== document.body && document.activeElement !== null) return false;
    const place = around.find((one) => one.isConnected && one.querySelector(canFocus) !== null);
    place?.querySelector<HTMLElement>(canFocus)?.focus();
    return place !== undefined;
  }
}
