import { z } from 'zod'
import { route } from './route.ts'

/** A resource as it travels: the registry's schema of its kind is applied by the receiver. */
export const wireResource = z.looseObject({
  kind: z.string(),
  version: z.string(),
  metadata: z.looseObject({ name: z.string(), revision: z.string().optional() }),
  spec: z.unknown(),
})
export type WireResource = z.infer<typeof wireResource>

const named = { kind: z.string(), name: z.string() }
const withSecrets = z.stringbool().optional()

export const listResources = route({
  name: 'listResources',
  method: 'GET',
  path: '/v1/resources/:kind',
  access: { byKind: 'list' },
  summary: 'All resources of a kind, sorted by name.',
  input: z.strictObject({ kind: z.string(), with_secrets: withSecrets }),
  output: z.object({ items: z.array(wireResource) }),
})

export const getResource = route({
  name: 'getResource',
  method: 'GET',
  path: '/v1/resources/:kind/:name',
  access: { byKind: 'read' },
  summary: 'One resource.',
  input: z.strictObject({ ...named, with_secrets: withSecrets }),
  output: wireResource,
})

/** `created` tells whether the resource was new. `warnings` are faults that do not stop a save, such as a role expression that cannot be parsed. */
const saved = z.object({ resource: wireResource, created: z.boolean(), warnings: z.array(z.string()) })

export const createResource = route({
  name: 'createResource',
  method: 'POST',
  path: '/v1/resources/:kind',
  access: { byKind: 'create' },
  summary: 'Creates a resource; `already_exists` when the name is taken.',
  input: z.strictObject({ kind: z.string(), resource: wireResource }),
  output: saved,
})

export const upsertResource = route({
  name: 'upsertResource',
  method: 'PUT',
  path: '/v1/resources/:kind/:name',
  access: { byKind: 'update' },
  summary:
    'Creates or replaces a resource (creating needs the verb create too); with metadata.revision set, only that revision is replaced.',
  input: z.strictObject({ ...named, resource: wireResource }),
  output: saved,
})

export const deleteResource = route({
  name: 'deleteResource',
  method: 'DELETE',
  path: '/v1/resources/:kind/:name',
  access: { byKind: 'delete' },
  summary: 'Deletes a resource.',
  input: z.strictObject(named),
  output: z.object({}),
})
