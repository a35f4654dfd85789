import { ACCOUNT, CALLER, NAMED } from './field-classes.ts'

const DEVICE = { mfa_device_name: 'public', mfa_device_uuid: 'public', mfa_device_type: 'public' } as const

/** Who signs in, by what, and how that is set up: rows of `events.ts`. */
export const PEOPLE_EVENTS = {
  'user.login': {
    code: { success: 'T1000I', failure: 'T1000W' },
    fields: { ...CALLER, method: 'public', connector: 'public', client_info: 'public', mfa_device: 'public' },
    summary: 'Somebody signed in, or tried to.',
  },
  'sso.test': {
    code: { success: 'SPSSO001I', failure: 'SPSSO001W' },
    fields: { ...NAMED, connector: 'public', roles: 'public' },
    summary: 'A connector was tried out; nobody was signed in.',
  },
  'user.create': { code: { success: 'SPUSR001I' }, fields: ACCOUNT, summary: 'A user was created.' },
  'user.update': { code: { success: 'SPUSR002I' }, fields: ACCOUNT, summary: 'A user was changed.' },
  'user.delete': { code: { success: 'SPUSR003I' }, fields: ACCOUNT, summary: 'A user was deleted.' },
  'user.invite': { code: { success: 'SPUSR004I' }, fields: ACCOUNT, summary: 'A one-time sign-up link was made.' },
  'user.reset': { code: { success: 'SPUSR005I' }, fields: ACCOUNT, summary: 'Password and second factors of a user were dropped.' },
  'user.password_change': {
    code: { success: 'SPUSR006I', failure: 'SPUSR006W' },
    fields: ACCOUNT,
    summary: 'A one-time link was used to set a password or passkey.',
  },
  'mfa.add': {
    code: { success: 'T1006I', failure: 'T1006W' },
    fields: { ...CALLER, ...DEVICE },
    summary: 'A person set up a second factor: a passkey or an authenticator app.',
  },
  'mfa.delete': {
    code: { success: 'T1007I', failure: 'T1007W' },
    fields: { ...CALLER, ...DEVICE },
    summary: 'A person removed a second factor.',
  },
  'mfa_auth_challenge.create': {
    code: { success: 'T1015I' },
    fields: { ...CALLER, method: 'public' },
    summary: 'Somebody whose password was right was asked for a second factor.',
  },
  'mfa_auth_challenge.validate': {
    code: { success: 'T1016I', failure: 'T1016W' },
    fields: { ...CALLER, mfa_device: 'public' },
    summary:
      'A person who is signed in proved a second factor before changing something, or failed to; at the sign-in itself `user.login` tells.',
  },
  'browser_session.end': {
    code: { success: 'SPUSR007I' },
    fields: { ...CALLER, name: 'public' },
    summary: 'A person signed a browser out.',
  },
  'oidc.created': { code: { success: 'T8100I' }, fields: NAMED, summary: 'An OpenID Connect connector was created.' },
  'oidc.updated': { code: { success: 'T8102I' }, fields: NAMED, summary: 'An OpenID Connect connector was changed.' },
  'oidc.deleted': { code: { success: 'T8101I' }, fields: NAMED, summary: 'An OpenID Connect connector was deleted.' },
  'github.created': { code: { success: 'T8000I' }, fields: NAMED, summary: 'A GitHub connector was created.' },
  'github.updated': { code: { success: 'T80002I' }, fields: NAMED, summary: 'A GitHub connector was changed.' },
  'github.deleted': { code: { success: 'T8001I' }, fields: NAMED, summary: 'A GitHub connector was deleted.' },
  'auth_preference.update': { code: { success: 'SPCAP001I' }, fields: NAMED, summary: 'How people sign in was changed.' },
} as const
