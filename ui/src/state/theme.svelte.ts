import { keepPreference, readPreference } from './preference.ts';

/** Light or dark: as the system, until someone switches. */
class Theme {
  #chosen = $state(readPreference('theme'));

  apply(): void {
    if (this.#chosen === 'light' || this.#chosen === 'dark')
      document.documentElement.dataset.theme = this.#chosen;
  }

  toggle(): void {
    const dark =
      this.#chosen === null ? matchMedia('(prefers-color-scheme: dark)').matches : this.#chosen === 'dark';
    this.#chosen = dark ? 'light' : 'dark';
    keepPreference('theme', this.#chosen);
    this.apply();
  }
}

export const theme = new Theme();
