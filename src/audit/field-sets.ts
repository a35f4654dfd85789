/** Who did it and how it went, as every event tells. */
export const CALLER = {
  user: 'public',
  user_kind: 'public',
  user_roles: 'public',
  user_traits: 'sensitive',
  with_mfa: 'public',
  impersonator: 'public',
  bot_name: 'public',
  bot_instance_id: 'public',
  join_token: 'public',
  join_method: 'public',
  access_requests: 'public',
  credential: 'public',
  remote_addr: 'public',
  success: 'public',
  error: 'sensitive',
  outcome: 'public',
  decision: 'public',
  reason: 'sensitive',
} as const

/** Of something that has a name. */
export const NAMED = { ...CALLER, name: 'public', kind: 'public', expires: 'public', revision: 'public', labels: 'public' } as const
/** Of somebody who has roles. */
export const ACCOUNT = { ...NAMED, roles: 'public', connector: 'public' } as const
