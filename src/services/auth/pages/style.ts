/** The one style sheet of the pages; colours follow the system. */
export const STYLE = `:root { color-scheme: light dark; --text: #1c2128; --soft: #57606a; --page: #f6f8fa; --card: #fff; --line: #8c959f; --accent: #0b5cad; --on-accent: #fff; --bad: #a40e26; --bad-page: #ffebe9 }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --soft: #9da7b3; --page: #0d1117; --card: #161b22; --line: #6e7681; --accent: #58a6ff; --on-accent: #0d1117; --bad: #ffb3ad; --bad-page: #3d1117 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--text); font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 28rem; margin: 8vh auto; padding: 2rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem }
h1 { margin: 0 0 1rem; font-size: 1.5rem }
p { overflow-wrap: anywhere }
.cluster, .hint { margin: 0 0 .5rem; color: var(--soft); font-size: .9rem }
label { display: block; margin-top: 1rem; font-weight: 600 }
input { width: 100%; margin-top: .25rem; padding: .6rem; color: inherit; background: var(--page); border: 1px solid var(--line); border-radius: .25rem; font: inherit }
h2 { margin: 1.5rem 0 .5rem; font-size: 1.1rem }
ul { margin: 0; padding-left: 1.25rem; overflow-wrap: anywhere }
a { color: var(--accent) }
button { width: 100%; margin-top: 1.5rem; padding: .7rem; color: var(--on-accent); background: var(--accent); border: 0; border-radius: .25rem; font: inherit; font-weight: 600; cursor: pointer }
button.second { margin-top: .75rem; color: inherit; background: var(--card); border: 1px solid var(--line) }
a.button { display: block; margin-top: .75rem; padding: .7rem; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .25rem; font-weight: 600; text-align: center; text-decoration: none }
a.button.first { color: var(--on-accent); background: var(--accent); border-color: var(--accent) }
.or { margin: 1.5rem 0 0; color: var(--soft); text-align: center }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
code { display: block; padding: .5rem; background: var(--page); border-radius: .25rem; overflow-wrap: anywhere; font-size: .9rem }
fieldset { margin: 1.5rem 0 0; padding: 0 1rem 1rem; border: 1px solid var(--line); border-radius: .25rem }
legend { padding: 0 .25rem; font-weight: 600 }
.alert { padding: .6rem; color: var(--bad); background: var(--bad-page); border: 1px solid var(--bad); border-radius: .25rem }
`
