import { z } from 'zod'
import { route } from './route.ts'

/** A certificate proves who somebody is to one server at a time; at a URL of several servers, and for clients that speak HTTP only, this does. */
export const issueEndpointToken = route({
  name: 'issueEndpointToken',
  method: 'POST',
  path: '/v1/endpoint-tokens',
  access: 'authenticated',
  summary:
    'A token for one MCP endpoint, for an hour at most. Of a certificate: good with that certificate only. Of the own certificate of a bot: for a client that the bot hands it to.',
  input: z.strictObject({
    endpoint: z.string().max(1024).describe('path of the endpoint: `/mcp`, `/mcp/sets/NAME` or `/mcp/apps/NAME`'),
    roles: z.array(z.string()).min(1).max(100).optional().describe("some of the bot's roles; without, all of them"),
    ttl: z.int().min(60, 'must be at least 60 seconds').max(3600, 'must be at most an hour').optional().describe('seconds wanted'),
  }),
  output: z.object({ token: z.string(), expires: z.string() }),
})
