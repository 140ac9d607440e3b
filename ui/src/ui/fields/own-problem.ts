// What the browser finds wrong in a field, in the words of the console.

export type Checked = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;

/** Returns what is wrong with the content of a control that the browser has found invalid. */
export function problemOf(control: Pick<Checked, 'validity' | 'title'> & Partial<HTMLInputElement>): string {
  const { validity, title, type, min = '', max = '', minLength } = control;
  if (validity.badInput) return type === 'number' ? 'Enter a number' : 'Complete this or leave it empty';
  if (validity.valueMissing) return type === 'file' ? 'Choose a file' : 'This is required';
  if (validity.rangeUnderflow || validity.rangeOverflow) return `Enter ${rangeWords(min, max)}`;
  if (validity.stepMismatch) return 'Enter a value with fewer decimals';
  if (validity.tooShort) return `Enter at least ${minLength} characters`;
  if (validity.patternMismatch && title !== '') return title;
  return 'This can’t be used as it is';
}

function rangeWords(min: string, max: string): string {
  if (max === '') return `${min} or more`;
  return min === '' ? `at most ${max}` : `a number from ${min} to ${max}`;
}

/** Says whether a control is the first of its form that the browser has found invalid: that is where to go on. */
export function isFirstProblem(control: Checked): boolean {
  return control.form?.querySelector(':is(input, select, textarea):invalid') === control;
}
