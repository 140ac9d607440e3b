import fc from 'fast-check';
import { expect, test } from 'vitest';
import { allOf, childOf, escapeXml, parseXml, unwritable, XmlError } from './xml.ts';

test('elements are found by namespace, whatever their prefix', () => {
  for (const text of [
    '<a:x xmlns:a="urn:1"><a:y>1</a:y></a:x>',
    '<x xmlns="urn:1"><b:y xmlns:b="urn:1">1</b:y></x>',
    '\ufeff<?xml version="1.0"?><!-- c --><x xmlns=\'urn:1\'><y >1</y\n></x>\n',
  ]) {
    expect(childOf(parseXml(text), 'urn:1', 'y')?.text).toBe('1');
  }
  expect(childOf(parseXml('<x xmlns="urn:1"><y xmlns="urn:2"/></x>'), 'urn:1', 'y')).toBeUndefined();
});

test('text is joined across comments, sections and entities', () => {
  const { text, attributes } = parseXml(
    '<x a="&quot;&#x41;&#66;&gt;">1<!-- 9 -->&amp;<![CDATA[<2>]]>&#x1D11E;</x>',
  );
  expect(text).toBe('1&<2>𝄞');
  expect(attributes.get('a')).toBe('"AB>');
});

test.each([
  ['nothing', ''],
  ['text alone', 'no XML'],
  ['a document type', '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'],
  ['an undeclared entity', '<x>&a;</x>'],
  ['an entity without an end', '<x>&amp</x>'],
  ['a number that is not a character', '<x>&#x110000;</x>'],
  ['an element that is not closed', '<x><y></x>'],
  ['an end without a beginning', '<x></x></x>'],
  ['two roots', '<x/><x/>'],
  ['a prefix that is not declared', '<a:x/>'],
  ['an attribute without quotes', '<x a=1/>'],
  ['endless depth', '<x>'.repeat(100)],
  ['endless elements', `<x>${'<y/>'.repeat(60_000)}</x>`],
  ['endless attributes', `<x ${Array.from({ length: 300 }, (_, n) => `a${n}="1"`).join(' ')}/>`],
  ['endless namespaces', `<x ${Array.from({ length: 200 }, (_, n) => `xmlns:a${n}="1"`).join(' ')}/>`],
  ['a comment without an end', '<x><!-- </x>'],
])('%s is refused', (_, text) => {
  expect(() => parseXml(text)).toThrow(XmlError);
});

const unit = fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code));

test('written text is read back unchanged', () => {
  fc.assert(
    fc.property(fc.string({ unit }), fc.string({ unit }), (value, text) => {
      const all = [value, text].map((each) => (unwritable(each) === undefined ? each : 'plain'));
      const read = parseXml(`<x a="${escapeXml(all[0] ?? '')}">${escapeXml(all[1] ?? '')}</x>`);
      expect([read.attributes.get('a'), read.text]).toEqual(all);
    }),
  );
});

test('any random text is either read or refused', () => {
  const part = fc.constantFrom(
    '<',
    '>',
    '/',
    'x',
    'a:',
    '=',
    '"',
    "'",
    '&',
    ';',
    '<!',
    '--',
    '<?',
    '?>',
    ' ',
    '<x>',
    '</x>',
  );
  fc.assert(
    fc.property(fc.array(part), (parts) => {
      try {
        expect([...allOf(parseXml(parts.join('')))].length).toBeGreaterThan(0);
      } catch (error) {
        expect(error).toBeInstanceOf(XmlError);
      }
    }),
  );
});
