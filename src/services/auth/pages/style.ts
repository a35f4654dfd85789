/** The one style sheet of the pages; colours follow the system. */
export const STYLE = `:root { color-scheme: light dark; --text: #1c2128; --soft: #57606a; --page: #f6f8fa; --card: #fff; --line: #8c959f; --thin: #d0d7de; --accent: #0b5cad; --on-accent: #fff; --bad: #a40e26; --bad-page: #ffebe9 }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --soft: #9da7b3; --page: #0d1117; --card: #161b22; --line: #6e7681; --thin: #30363d; --accent: #58a6ff; --on-accent: #0d1117; --bad: #ffb3ad; --bad-page: #3d1117 }
}
* { box-sizing: border-box }
[hidden] { display: none !important }
body { margin: 0; background: var(--page); color: var(--text); font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 28rem; margin: 8vh auto; padding: 2rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem }
@media (max-width: 30rem) { main { min-height: 100vh; margin: 0; padding: 1.25rem; border: 0; border-radius: 0 } }
h1 { margin: 0 0 1rem; font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere }
h2 { margin: 1.5rem 0 .5rem; font-size: 1.1rem }
h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere }
p { overflow-wrap: anywhere }
.cluster, .hint { margin: 0 0 .5rem; color: var(--soft); font-size: .9rem }
.alert::first-letter, .told::first-letter { text-transform: uppercase }
input + .hint { margin-top: .35rem }
:is(form, a.button, .alert) + .hint { margin-top: 1.25rem }
time { white-space: nowrap }
section { margin-top: 2rem; border-top: 1px solid var(--thin) }
label { display: block; margin-top: 1rem; font-weight: 600 }
input { width: 100%; margin-top: .25rem; padding: .6rem; color: inherit; background: var(--page); border: 1px solid var(--line); border-radius: .25rem; font: inherit }
::placeholder { color: var(--soft); opacity: 1 }
ul { margin: 0; padding-left: 1.25rem; overflow-wrap: anywhere }
ul.cards { padding: 0; list-style: none }
ul.cards li { margin-top: .75rem; padding: .75rem 1rem; border: 1px solid var(--thin); border-radius: .25rem }
ul.cards button { margin-top: .25rem; padding: .4rem .7rem; font-weight: 500 }
a { color: var(--accent) }
button { width: 100%; min-height: 2.75rem; margin-top: 1.5rem; padding: .7rem; color: var(--on-accent); background: var(--accent); border: 1px solid var(--accent); border-radius: .25rem; font: inherit; font-weight: 600; cursor: pointer; overflow-wrap: anywhere }
button.second { margin-top: .75rem; color: inherit; background: var(--card); border: 1px solid var(--line) }
button:hover, a.button:hover { filter: brightness(.94) }
@media (prefers-color-scheme: dark) { button:hover, a.button:hover { filter: brightness(1.15) } }
button[aria-busy="true"] { opacity: .6; cursor: progress }
a.button { display: block; margin-top: .75rem; padding: .7rem; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .25rem; font-weight: 600; text-align: center; text-decoration: none }
a.button.first { color: var(--on-accent); background: var(--accent); border-color: var(--accent) }
.or { display: flex; align-items: center; gap: .75rem; margin: 1.5rem 0 0; color: var(--soft) }
.or::before, .or::after { content: ""; flex: 1; border-top: 1px solid var(--thin) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
code { display: block; padding: .5rem; background: var(--page); border-radius: .25rem; overflow-wrap: anywhere; font-size: .9rem }
fieldset { margin: 1.5rem 0 0; padding: 0 1rem 1rem; border: 1px solid var(--line); border-radius: .25rem; min-width: 0 }
legend { padding: 0 .25rem; font-weight: 600 }
.alert { padding: .6rem; color: var(--bad); background: var(--bad-page); border: 1px solid var(--bad); border-radius: .25rem }
`
