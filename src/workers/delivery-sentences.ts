// What a person is told of deliveries that went otherwise than wanted (delivery.ts). `peer`: what people
// call it.

import type { DeliveryBatchReader } from "../shared/runtime/delivery-batch.js";

/** Of an ordered message, some in front of it never came. */
export const gapSentence = (
  peer: string,
  { gapFirst, gapLast, stream }: DeliveryBatchReader,
): string =>
  `${peer} left out ${gapFirst} to ${gapLast} of stream ${JSON.stringify(stream)}: they expired or ` +
  "failed there";

export const conflictSentence = (peer: string, id: string, source: string): string =>
  `${peer} sent another message under id ${id}, which it used before (from ${source}): refused`;

export const quotaSentence = (peer: string, quotaBytes: number): string =>
  `${peer} has used up the quota of ${quotaBytes} bytes in inbound_messages: new messages wait at ` +
  "the sender; delete read ones or raise the quota";
