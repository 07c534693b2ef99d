// Light or dark, before anything is painted: a classic script in <head>, so that no page flashes.
// The choice ("auto", "light", "dark") is kept in localStorage; auto follows the system as it changes.
// Tells the rest of the page by the event "themechange" on document; nothing else writes data-theme.
'use strict';
(function () {
  const order = ['auto', 'light', 'dark'];
  const dark = matchMedia('(prefers-color-scheme: dark)');

  function choice() {
    try {
      const kept = localStorage.getItem('moering-theme');
      return order.includes(kept) ? kept : 'auto';
    } catch { // storage is switched off
      return document.documentElement.dataset.choice || 'auto';
    }
  }

  function apply(chosen) {
    const theme = chosen === 'auto' ? (dark.matches ? 'dark' : 'light') : chosen;
    document.documentElement.dataset.choice = chosen;
    document.documentElement.dataset.theme = theme;
    const button = document.getElementById('theme');
    if (button) button.textContent = 'Theme: ' + chosen;
    document.dispatchEvent(new Event('themechange'));
  }

  function next() {
    const chosen = order[(order.indexOf(choice()) + 1) % order.length];
    document.documentElement.dataset.choice = chosen;
    try { localStorage.setItem('moering-theme', chosen); } catch { /* of this page only, then */ }
    apply(chosen);
  }

  apply(choice());
  dark.addEventListener('change', () => apply(choice()));
  document.addEventListener('DOMContentLoaded', () => {
    apply(choice());
    document.getElementById('theme').addEventListener('click', next);
  });
})();
