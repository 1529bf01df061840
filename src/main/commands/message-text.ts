// A row of a message table as JSON text.

import { COLUMNS_NEW, type Row } from "../../client/message-pages.js";
import { deeper, type Layout, objectText, payloadText, stringText } from "./json-text.js";

/** Class of a row that nobody gave one; not worth a line. */
const PRIORITY_DEFAULT = 1;

/** The row, or its payload alone, in this layout. Values are whatever a producer wrote. */
export function messageText(row: Row, payloadOnly: boolean, layout: Layout): string {
  if (payloadOnly) return valueText("payload", row.payload, layout);
  const members: [string, string][] = [];
  for (const [name, value] of Object.entries(row)) {
    if (COLUMNS_NEW.has(name) && says(name, value) === false) continue;
    members.push([name, valueText(name, value, deeper(layout))]);
  }
  return objectText(members, layout);
}

const says = (name: string, value: Row[string]): boolean =>
  value !== null && value !== "" && !(name === "priority" && value === PRIORITY_DEFAULT);

function valueText(name: string, value: Row[string], layout: Layout): string {
  if (value instanceof Uint8Array) {
    return name === "payload"
      ? payloadText(value, layout)
      : stringText(Buffer.from(value).toString("utf8"));
  }
  return typeof value === "string" ? stringText(value) : JSON.stringify(value);
}
