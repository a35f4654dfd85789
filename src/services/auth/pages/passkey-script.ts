import { createHash } from 'node:crypto'

/**
 * The one script of the pages: it asks the browser for a passkey and sends the form. Nothing else depends on it. It reads nothing that a
 * person types, and puts no text of others into the page but as text.
 */
export const PASSKEY_SCRIPT = `'use strict'
{
  const decode = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (sign) => sign.charCodeAt(0))
  const encode = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\\+/g, '-').replace(/\\//g, '_').replace(/=+$/, '')

  const options = ({ call, publicKey }) => {
    const ids = (list) => (list || []).map((each) => ({ ...each, id: decode(each.id) }))
    const read = { ...publicKey, challenge: decode(publicKey.challenge) }
    if (call === 'get') return { publicKey: { ...read, allowCredentials: ids(publicKey.allowCredentials) } }
    const user = { ...publicKey.user, id: decode(publicKey.user.id) }
    return { publicKey: { ...read, user, excludeCredentials: ids(publicKey.excludeCredentials) } }
  }

  const answer = ({ id, rawId, type, response }) => {
    const told = { clientDataJSON: encode(response.clientDataJSON) }
    if (response.attestationObject) {
      told.attestationObject = encode(response.attestationObject)
      told.transports = response.getTransports ? response.getTransports() : []
    } else {
      told.authenticatorData = encode(response.authenticatorData)
      told.signature = encode(response.signature)
      if (response.userHandle && response.userHandle.byteLength > 0) told.userHandle = encode(response.userHandle)
    }
    return JSON.stringify({ id, rawId: encode(rawId), type, response: told, clientExtensionResults: {} })
  }

  const explain = (fault) => {
    if (fault.name === 'NotAllowedError') return 'No passkey was used: it was cancelled, took too long, or there is none here. You can try again.'
    if (fault.name === 'InvalidStateError') return 'You have set up this one already: choose another.'
    if (fault.name === 'SecurityError') return 'Passkeys do not work at this address: open this page at the address that your administrator gave you.'
    return fault.message
  }

  const ask = async (form, button) => {
    const body = new URLSearchParams({ flow: button.dataset.passkey, form_token: form.elements.form_token.value })
    if (form.elements.pending) body.set('pending', form.elements.pending.value)
    if (button.dataset.alone) body.set('alone', 'yes')
    const response = await fetch('/web/passkeys/challenge', { method: 'POST', body })
    const ceremony = await response.json()
    if (!response.ok) throw new Error(ceremony.error.message)
    return answer(await navigator.credentials[ceremony.call](options(ceremony)))
  }

  const tell = (form, text) => {
    const place = form.querySelector('[data-fault]')
    place.textContent = text
    place.hidden = text === ''
  }

  if (window.isSecureContext && window.PublicKeyCredential) {
    for (const hidden of document.querySelectorAll('[data-needs-passkeys]')) hidden.hidden = false
    const first = document.querySelector('button[data-passkey][data-first]')
    if (first) first.focus()
  } else {
    for (const shown of document.querySelectorAll('[data-without-passkeys]')) shown.hidden = false
  }

  document.addEventListener('submit', async (event) => {
    const button = event.submitter
    if (!button || !button.dataset.passkey) return
    event.preventDefault()
    const form = event.target
    if (button.getAttribute('aria-busy') === 'true') return
    button.setAttribute('aria-busy', 'true')
    tell(form, '')
    try {
      form.elements.passkey.value = await ask(form, button)
      form.submit()
    } catch (fault) {
      tell(form, explain(fault))
    } finally {
      button.removeAttribute('aria-busy')
    }
  })
}
`

const HASH = createHash('sha256').update(PASSKEY_SCRIPT).digest('base64')

/** What the script element says beside the path: a script that is not this one does not run. */
export const PASSKEY_INTEGRITY = `sha256-${HASH}`
export const PASSKEY_SCRIPT_PATH = '/web/passkeys.js'
/** Another address for another script, so that no browser keeps the one before. */
export const PASSKEY_SCRIPT_URL = `${PASSKEY_SCRIPT_PATH}?v=${Buffer.from(HASH, 'base64').toString('hex').slice(0, 12)}`
