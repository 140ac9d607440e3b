// After a form was submitted, shows the first field with a problem, wherever the form is: in a dialog it may be far below
// the button's sight. The problem may come later, with the server's answer.
import { tick } from 'svelte';

const wrong = '[aria-invalid="true"]';

/** Follows all forms of the page. Returns the function that ends it. */
export function showFirstProblems(): () => void {
  let leave = () => {};
  const onSubmit = ({ target }: Event) => {
    leave();
    if (target instanceof HTMLFormElement) leave = follow(target);
  };
  document.addEventListener('submit', onSubmit);
  return () => {
    leave();
    document.removeEventListener('submit', onSubmit);
  };
}

/** Waits for a problem until one is there, or someone goes on. */
function follow(form: HTMLFormElement): () => void {
  const look = () => {
    const field = form.querySelector<HTMLElement>(wrong);
    if (field === null) return;
    leave();
    field.focus({ preventScroll: true });
    // With its label and the problem.
    (field.closest('.form-field') ?? field).scrollIntoView({ block: 'nearest' });
  };
  const observer = new MutationObserver(look);
  const leave = () => {
    observer.disconnect();
    form.removeEventListener('input', leave);
  };
  form.addEventListener('input', leave);
  observer.observe(form, { subtree: true, childList: true, attributeFilter: ['aria-invalid'] });
  // Fields that were wrong before may not change.
  void tick().then(look);
  return leave;
}
