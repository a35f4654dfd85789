import { expect, test } from 'vitest'
import { html } from './html.ts'

test('every value is escaped, in text and in attributes', () => {
  const name = `<script>alert("x")</script>&'`
  expect(html`<p title="${name}">${name}</p>`.markup).toBe(
    '<p title="&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;">&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;</p>',
  )
})

test('something that only looks like a piece of HTML is refused', () => {
  expect(() => html`<p>${JSON.parse('{"markup":"<script>"}')}</p>`).toThrow(TypeError)
})

test('pieces stay what they are; undefined and false leave nothing; control characters and turned text are replaced', () => {
  const items = [html`<li>${1}</li>`, html`<li>${'a'}</li>`]
  expect(html`<i>${items}${undefined}${false}</i>`.markup).toBe('<i><li>1</li><li>a</li></i>')
  expect(html`${'a\u0000b\u202Ec'}`.markup).toBe('a\uFFFDb\uFFFDc')
})
