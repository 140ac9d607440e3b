const typedMs = 150;

/**
 * Returns what to call with the text of a field at each keystroke: it is applied once nobody has typed for a moment.
 * Call it while a component is set up; what is waiting is forgotten with the component.
 */
export function afterTyping(apply: (text: string) => void): (text: string) => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  $effect(() => () => clearTimeout(timer));
  return (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => apply(text), typedMs);
  };
}
