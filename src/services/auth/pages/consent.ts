import type { ClientOrigin } from '../oauth/clients.ts'
import { html } from './html.ts'
import type { Html } from './html.ts'
import { hiddenFields, layout } from './layout.ts'

export interface ConsentPage {
  clusterName: string
  action: string
  hidden: Readonly<Record<string, string>>
  user: string
  client: { id: string; name: string; origin: ClientOrigin }
  /** Where the client asks to be let in, as a URL. */
  endpoint: string
  /** What the person may use there, by server; tools as patterns. Empty: nothing. */
  servers: readonly { name: string; tools: readonly string[] }[]
  /** Where the browser goes afterwards. */
  target: string
  /** Whether that is a program on this computer. */
  isLocal: boolean
  /** How long, in words. */
  duration: string
}

const MAX_SERVERS = 50
const MAX_TOOLS = 20

/** What a person agrees to: who asks, for what, for how long, and where the answer goes. */
export function renderConsent(page: ConsentPage): string {
  const { client, servers } = page
  return layout(
    'Allow access?',
    page.clusterName,
    html`<p><b>${client.name}</b> asks to use MCP servers as you, <b>${page.user}</b>.</p>
      ${originOf(page)}
      <h2>What it will be able to do</h2>
      <p>At <b>${page.endpoint}</b> it may do what your roles allow, which is now:</p>
      ${
        servers.length === 0
          ? html`<p>Nothing: no MCP server there is open to you.</p>`
          : html`<ul>
              ${servers.slice(0, MAX_SERVERS).map(({ name, tools }) => html`<li><b>${name}</b>: ${describeTools(tools)}</li>`)}
              ${servers.length > MAX_SERVERS && html`<li>and ${servers.length - MAX_SERVERS} more</li>`}
            </ul>`
      }
      <p>For ${page.duration} at most. You can end it at any time on <a href="/web/account">your account page</a>.</p>
      <form method="post" action="${page.action}">
        ${hiddenFields(page.hidden)}
        <button type="submit" name="decision" value="allow">Allow</button>
        <button type="submit" name="decision" value="deny" class="second">Do not allow</button>
        <button type="submit" name="decision" value="switch" class="second">Sign in as somebody else</button>
      </form>`,
  )
}

function originOf({ client, target, isLocal }: ConsentPage): Html {
  const asked = isLocal ? 'Go on only if you have just started this yourself.' : ''
  switch (client.origin) {
    case 'administrator':
      return html`<p>It was registered by your administrator. You go back to <b>${target}</b>. ${asked}</p>`
    case 'document':
      return html`<p>It says who it is at <b>${client.id}</b>. You go back to <b>${target}</b>. ${asked}</p>`
    case 'itself':
      return html`<p class="alert">
        Its name is not verified: anybody could have chosen it. What counts is where you go back to: <b>${target}</b>. ${asked}
      </p>`
  }
}

function describeTools(tools: readonly string[]): string {
  if (tools.includes('*')) return 'all tools'
  if (tools.length === 0) return 'no tools'
  const shown = tools.slice(0, MAX_TOOLS).join(', ')
  return tools.length > MAX_TOOLS ? `${shown} and ${tools.length - MAX_TOOLS} more` : shown
}
