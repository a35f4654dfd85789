import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inviteUser } from '../../src/api/users.ts'
import { type Cluster, PASSWORD, startCluster } from '../cluster.ts'
import { Authenticator, CHROMIUM, openPage, startChromium } from '../fakes/browser.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'

if (CHROMIUM === undefined) console.warn('page-quality.test.ts is skipped: no Chromium in /usr/bin (Debian package chromium)')

let cluster: Cluster
let browser: Browser
let url: string

beforeAll(async () => {
  if (CHROMIUM === undefined) return
  cluster = await startCluster()
  url = cluster.url.replace('127.0.0.1', 'localhost')
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  browser = await startChromium()
}, 60_000)
afterAll(async () => {
  await browser?.close()
  await cluster?.close()
})

/**
 * What is wrong with a page for who cannot see it well, or has no mouse: fields without a label (WCAG 2.2, 1.3.1), text of too little
 * contrast (1.4.3), buttons that are too small (2.5.8), a page that has to be scrolled sideways (1.4.10), an order of focus that is not
 * that of the page (2.4.3), no or several headings, an id given twice.
 */
const FIND_FAULTS = `(() => {
  const faults = []
  const seen = (element) => element.checkVisibility()
  const all = (selector) => [...document.querySelectorAll(selector)].filter(seen)
  if (document.documentElement.lang !== 'en') faults.push('no language')
  if (document.title === '') faults.push('no title')
  if (all('h1').length !== 1) faults.push('headings: ' + all('h1').length)
  if (all('main').length !== 1) faults.push('no main')
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id)
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push('twice: #' + id)
  for (const input of all('input')) if (input.labels.length !== 1) faults.push('no label: ' + input.name)
  for (const element of document.querySelectorAll('[aria-describedby], [aria-labelledby]'))
    for (const name of ['aria-describedby', 'aria-labelledby'])
      if (element.hasAttribute(name) && !document.getElementById(element.getAttribute(name))) faults.push(name + ' leads nowhere')
  for (const button of all('button, a.button')) {
    if (button.textContent.trim() === '') faults.push('a button without words')
    if (button.getBoundingClientRect().height < 24) faults.push('too small: ' + button.textContent)
  }
  if (document.querySelector('[tabindex]')) faults.push('an order of its own')
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth) faults.push('wider than the window')
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number)
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((each) => (each / 255 <= 0.04045 ? each / 255 / 12.92 : ((each / 255 + 0.055) / 1.055) ** 2.4))
    return 0.2126 * x + 0.7152 * y + 0.0722 * z
  }
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor)
      if (colour.length === 3 || colour[3] > 0) return colour
    }
    return [255, 255, 255]
  }
  for (const element of all('main *')) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== '')) continue
    const pair = [luminance(numbers(getComputedStyle(element).color)), luminance(behind(element))].sort((a, b) => b - a)
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05)
    if (contrast < 4.5) faults.push('contrast ' + contrast.toFixed(1) + ': ' + element.textContent.trim().slice(0, 30))
  }
  return faults
})()`

async function check(page: Page, name: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    expect([name, colorScheme, await page.evaluate(FIND_FAULTS)]).toEqual([name, colorScheme, []])
  }
}

test.skipIf(CHROMIUM === undefined)(
  'every page can be read in a narrow window, in light and dark, with a screen reader and without a mouse',
  async () => {
    const { page } = await openPage(browser, { viewport: { width: 320, height: 640 } })
    await Authenticator.plugInto(page)
    const name = 'a-rather-long-name-of-somebody.with-a-domain@department.example.com'
    await page.goto(url + (await cluster.admin(inviteUser, { name, roles: ['dev'] })).path)
    await page.getByRole('button', { name: 'Create a passkey' }).waitFor()
    await check(page, 'sign-up')
    await page.getByLabel('Password').fill(PASSWORD)
    await page.getByLabel('The same again').fill(PASSWORD)
    await page.getByRole('button', { name: 'passkey as second factor' }).click()
    await page.getByText('Your password is set').waitFor()
    await check(page, 'signed up')

    await page.goto(`${url}/web/account`)
    await check(page, 'sign-in')
    await page.getByLabel('User name').fill(name)
    await page.getByLabel('Password').fill('wrong')
    await page.keyboard.press('Enter')
    await page.locator('#error').waitFor()
    await check(page, 'sign-in refused')
    await page.getByLabel('Password').fill(PASSWORD)
    await page.keyboard.press('Enter')
    await page.locator('button:focus', { hasText: 'Use your passkey' }).waitFor()
    await check(page, 'second step')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Your account' }).waitFor()
    await check(page, 'account')
    await page.getByRole('link', { name: 'Add an authenticator app' }).click()
    await check(page, 'authenticator app')
    for (const path of ['/web/accounts', '/oauth/device', '/web/signup/unknown', '/web/account?again=yes']) {
      await page.goto(url + path)
      await check(page, path)
    }

    const flow = new OAuthFlow(cluster)
    await flow.register({ client_name: 'A client with a name that is rather long, as some are' })
    await page.goto(flow.authorizeUrl().href)
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    await check(page, 'sign-in for a client')
    await cluster.saveUser('ana', ['dev'])
    await page.getByLabel('User name').fill('ana')
    await page.getByLabel('Password').fill(PASSWORD)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Allow access?' }).waitFor()
    await check(page, 'consent')

    // That it finds something where there is something.
    await page.goto('about:blank')
    await page.setContent('<main><h1 id="a">x</h1><p id="a" style="color: #777; background: #888">grey</p><input name="mute"></main>')
    expect(await page.evaluate(FIND_FAULTS)).toEqual([
      'no language',
      'no title',
      'twice: #a',
      'twice: #a',
      'no label: mute',
      'contrast 1.3: grey',
    ])
  },
  60_000,
)
