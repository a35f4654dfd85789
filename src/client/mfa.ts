import { addMfaApp, listMfaDevices, offerMfaApp, removeMfaDevice } from '../api/mfa.ts'
import type { MfaDevices } from '../api/mfa.ts'
import type { InputOf, OutputOf } from '../api/route.ts'
import type { ApiClient } from './call.ts'

/** The caller's second factors, what a change of them needs, and the page that does it in a browser. */
export const fetchMfaDevices = (api: ApiClient): Promise<MfaDevices> => api(listMfaDevices, {})

/** A secret for an authenticator app; of use only once a code proves that it is stored. */
export const fetchMfaOffer = (api: ApiClient): Promise<OutputOf<typeof offerMfaApp>> => api(offerMfaApp, {})

export async function keepMfaApp(api: ApiClient, app: InputOf<typeof addMfaApp>): Promise<void> {
  await api(addMfaApp, app)
}

export async function dropMfaDevice(api: ApiClient, which: InputOf<typeof removeMfaDevice>): Promise<void> {
  await api(removeMfaDevice, which)
}
