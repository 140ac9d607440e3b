// What was typed into a dialog: it is lost if the dialog is closed.

type Field = HTMLInputElement | HTMLTextAreaElement;

/** Fields whose content is typed or chosen to be sent; what only searches a list is nobody's loss. */
const fields =
  'textarea, input:not([type=search], [type=checkbox], [type=radio], [role=combobox], [readonly])';

export class TypedText {
  /** Fields that had the focus, or a file, with what they said before. */
  #before = new Map<Field, string>();

  /** Remembers what a field says, when it gets the focus. */
  remember(target: EventTarget | null): void {
    if (isField(target) && !this.#before.has(target)) this.#before.set(target, target.value);
  }

  /** A file that is dropped on its field comes without a focus. */
  rememberFile(target: EventTarget | null): void {
    if (isField(target) && target.type === 'file' && !this.#before.has(target)) this.#before.set(target, '');
  }

  /** Returns whether closing `dialog` would lose anything. Fields that are gone were sent, or no longer matter. */
  wouldBeLost(dialog: HTMLDialogElement): boolean {
    if (dialog.querySelector('[data-typed]') !== null) return true;
    return [...this.#before].some(([field, before]) => dialog.contains(field) && field.value !== before);
  }
}

function isField(target: EventTarget | null): target is Field {
  return target instanceof Element && target.matches(fields);
}
