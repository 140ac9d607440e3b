import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [svelte()],
  // The server's policy allows scripts and styles from its own origin only: nothing may be inlined as data: URLs.
  build: { assetsInlineLimit: 0, target: 'es2023', modulePreload: { polyfill: false } },
  server: {
    host: '127.0.0.1',
    proxy: { '/api': 'http://127.0.0.1:7700' },
  },
});
