/** How the page looks, in light and in dark. */
export const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d9dde3, #333a44); --soft: light-dark(#f4f6f8, #1b2027);
  --text: light-dark(#1c2330, #e4e8ee); --faint: light-dark(#5b6675, #9aa5b4); --link: light-dark(#1257c4, #7fb1ff); }
* { box-sizing: border-box; }
body { margin: 0; display: grid; grid-template-columns: 19rem minmax(0, 1fr); color: var(--text);
  background: light-dark(#fff, #12161c); font: 15px/1.55 system-ui, sans-serif; }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1.5rem; border-right: 1px solid var(--line); }
nav ul { list-style: none; margin: 0; padding: 0; }
nav li { margin: .35rem 0; font-size: .88rem; overflow-wrap: anywhere; }
h1 { font-size: 1.25rem; margin: 0 0 1rem; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
main { padding: 1.5rem 2.5rem 6rem; max-width: 64rem; }
.lead { color: var(--faint); font-size: 1.05rem; }
section { padding: 1.5rem 0 2rem; border-top: 1px solid var(--line); }
h2 { font-size: 1.1rem; margin: 0 0 .25rem; }
h3 { font-size: .78rem; text-transform: uppercase; letter-spacing: .06em; color: var(--faint); margin: 1.5rem 0 .5rem; }
.summary { font-weight: 600; margin: .25rem 0 .5rem; }
.method { display: inline-block; min-width: 2.9rem; margin-right: .5rem; padding: 0 .4rem; border-radius: .25rem;
  font: 600 .7rem/1.6 ui-monospace, monospace; text-align: center; color: #fff; background: #2d7d46; vertical-align: middle; }
.method.post { background: #1257c4; }
.method.delete { background: #b3261e; }
code, pre { font: .86em/1.5 ui-monospace, monospace; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem 1rem; overflow: auto; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
td { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
td:nth-child(1) { width: 34%; } td:nth-child(2) { width: 26%; color: var(--faint); }
sup { color: light-dark(#b3261e, #ff8a80); }
@media (max-width: 50rem) { body { display: block; } nav { position: static; height: auto; border-right: 0; } main { padding: 0 1.2rem 4rem; } }
`;
