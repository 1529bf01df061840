// Text from strangers on a person's terminal: nothing in it may move the cursor, change colours,
// reorder the line or forge a second one.

/** Controls, line separators and the marks that reorder text. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;

/** Characters of a value that a message quotes at most. */
const QUOTED_CHARACTERS_MAX = 80;

const escaped = (character: string): string =>
  `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** The text with every unprintable character as `\uXXXX`, valid inside a JSON string too. */
export const printable = (text: string): string => text.replace(UNPRINTABLE, escaped);

/** A value in double quotes, printable, cut to a length that leaves the message readable. */
export function quoted(value: string): string {
  const cut =
    value.length <= QUOTED_CHARACTERS_MAX ? value : `${value.slice(0, QUOTED_CHARACTERS_MAX)}...`;
  return printable(JSON.stringify(cut));
}
