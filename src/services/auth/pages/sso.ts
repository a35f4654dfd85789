import type { Hono } from 'hono'
import { CONNECTOR_KINDS, callbackPath } from '../../../resources/connector.ts'
import type { AppEnv } from '../authenticate.ts'
import type { AuthContext } from '../context.ts'
import type { OAuthServer } from '../oauth/serve.ts'
import { approveLogin } from '../routes/browser-login.ts'
import { finishSso, issueTicket, startSso } from '../sso/serve.ts'
import { placeAfter } from './account.ts'
import { servePage } from './form.ts'
import { openSession } from './visitor.ts'

/** Where browsers come back to from identity providers, and the page that `tctl sso test` names. */
export function addSsoPages(app: Hono<AppEnv>, context: AuthContext, oauth: Pick<OAuthServer, 'provider'>): void {
  for (const kind of CONNECTOR_KINDS)
    app.get(
      callbackPath(kind),
      servePage(context, async (c) =>
        finishSso(context, c, kind, async (page, signedIn, purpose) => {
          switch (purpose.type) {
            case 'login':
              return page.redirect(await approveLogin(context, purpose.id, signedIn), 303)
            case 'oauth':
              return page.redirect(`/web/oauth/${purpose.uid}?ticket=${await issueTicket(context, purpose.uid, signedIn)}`, 303)
            case 'account':
              await openSession(context, page, await oauth.provider(), signedIn)
              return page.redirect(placeAfter(purpose.next ?? ''), 303)
          }
        }),
      ),
    )
  app.get(
    '/web/sso/test',
    servePage(context, async (c) => startSso(context, c, '', { type: 'test', id: c.req.query('id') ?? '' })),
  )
}
