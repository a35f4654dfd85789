import { createApiToken, deleteApiToken, listApiTokens } from './api-tokens.ts'
import { emitEvents, searchEvents } from './audit.ts'
import { getJwks, getStatus, ping } from './cluster.ts'
import { announceDatabases, listVisibleDatabases, signDatabaseServer, signDatabaseUser } from './databases.ts'
import { issueEndpointToken } from './endpoint-tokens.ts'
import { finishBrowserLogin, issueRouteAssertion, loginLocal, signCertificate, startBrowserLogin, whoami } from './identity.ts'
import { issueIdentityToken, rotateJwtKey } from './identity-tokens.ts'
import { announceBot, announceHost, announceTunnels, issueBotOutput, join, renewIdentity, reportDestination, startJoin } from './join.ts'
import { assignMcpNames, findMcpName } from './mcp-names.ts'
import { findMcpSession, keepMcpSession, takeMcpSession } from './mcp-sessions.ts'
import { addMfaApp, listMfaDevices, offerMfaApp, removeMfaDevice } from './mfa.ts'
import { deleteOAuthGrant, listOAuthGrants } from './oauth-grants.ts'
import { createResource, deleteResource, getResource, listResources, upsertResource } from './resources.ts'
import { readSecret } from './secrets.ts'
import { announceServers, explainAccess, listVisibleServers } from './servers.ts'
import { getSsoTest, startSsoTest } from './sso.ts'
import { deleteUpstreamAccount, issueUpstreamToken, listUpstreamAccounts } from './upstream-accounts.ts'
import { watchResources } from './watch.ts'
import { getSpiffeBundle, getSvidIssuer, getSvidJwks, issueSvid } from './workload-identity.ts'
import { acceptInvite, inviteUser, resetUser, showInvite } from './users.ts'

/** The whole contract, in the order a reader wants it. */
export const ROUTES = {
  ping,
  getStatus,
  getJwks,
  loginLocal,
  startBrowserLogin,
  finishBrowserLogin,
  whoami,
  issueRouteAssertion,
  issueEndpointToken,
  issueIdentityToken,
  rotateJwtKey,
  readSecret,
  signCertificate,
  startJoin,
  join,
  renewIdentity,
  issueBotOutput,
  issueSvid,
  getSpiffeBundle,
  getSvidJwks,
  getSvidIssuer,
  announceBot,
  reportDestination,
  announceHost,
  announceTunnels,
  inviteUser,
  resetUser,
  showInvite,
  acceptInvite,
  listMfaDevices,
  offerMfaApp,
  addMfaApp,
  removeMfaDevice,
  createApiToken,
  listApiTokens,
  deleteApiToken,
  listOAuthGrants,
  deleteOAuthGrant,
  issueUpstreamToken,
  listUpstreamAccounts,
  deleteUpstreamAccount,
  listResources,
  getResource,
  createResource,
  upsertResource,
  deleteResource,
  startSsoTest,
  getSsoTest,
  watchResources,
  listVisibleServers,
  announceServers,
  listVisibleDatabases,
  announceDatabases,
  signDatabaseUser,
  signDatabaseServer,
  explainAccess,
  assignMcpNames,
  findMcpName,
  keepMcpSession,
  findMcpSession,
  takeMcpSession,
  searchEvents,
  emitEvents,
} as const
