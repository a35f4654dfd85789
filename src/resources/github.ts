import { z } from 'zod'
import { connectorFields, mappedRoles, providerUrl, redirectUrls } from './connector.ts'
import { resourceSchema } from './envelope.ts'

const teamMapping = z.strictObject({
  organization: z.string().min(1).max(100),
  team: z.string().min(1).max(255).describe('its slug, as in its URL; * for every team of the organization'),
  roles: mappedRoles,
})
export type TeamMapping = z.infer<typeof teamMapping>

const specSchema = z.strictObject({
  ...connectorFields,
  redirect_url: redirectUrls('github'),
  teams_to_roles: z.array(teamMapping).max(1000).default([]).describe('whoever is in none of these teams is not let in'),
  endpoint_url: providerUrl.default('https://github.com').describe('of GitHub Enterprise'),
  api_endpoint_url: providerUrl.optional().describe('https://api.github.com, of GitHub Enterprise ENDPOINT/api/v3, unless told'),
})

/** GitHub, or GitHub Enterprise, whose teams say what people may. */
export const githubSchema = resourceSchema('github', ['v3'], specSchema)
export type GithubConnector = z.infer<typeof githubSchema>
