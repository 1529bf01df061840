-- The database of SecureDGram, schema version 4, as a new file has it. For reading: the daemon makes the
-- file, and brings files of older daemons up to date (there the columns stand in another order).
--
-- Other programs may insert into outbound_messages, and read, mark and delete in both tables, while the
-- daemon runs. They should keep transactions short, use SQLite 3.51.3 or later, leave the file in WAL
-- mode with synchronous = FULL, and set wal_autocheckpoint = 0. Who inserts thousands of rows at once
-- writes INSERT OR FAIL: beside a trigger a plain INSERT costs SQLite three times as much.
-- All times are UTC text, YYYY-MM-DDTHH:MM:SS.mmm.

PRAGMA user_version = 4;

-- Messages to send. Any program may insert dst_addr (IP address, host name, or the name of a configured
-- peer), dst_port and payload (a JSON object); the daemon does the rest. message_id may be left out: then
-- the daemon makes one, 24 lower-case hex digits, and writes it here and into the payload.
-- state: pending -> sending -> sent -> acknowledged, or send_failed with the reason in last_error.
-- acknowledged means: committed and synced at the receiver. Setting a final row back to pending sends it
-- again; so does another dst_addr for a row that was sent. priority: 0 bulk, 1 normal, 2 high, 3 urgent.
-- not_before and expires_at are UTC times as the other columns have them; NULL means now, and the life
-- that is configured. generation counts what an owner changed after the row was first read. The life of a
-- row begins at redriven_at, where there is one, else at created_at. reserve is room for what the
-- daemon writes into the row later, so that a large one need not be written anew; leave it out.
CREATE TABLE outbound_messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  message_id TEXT,
  dst_addr TEXT NOT NULL,
  dst_port INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT 'pending',
  retry_count INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f','now')),
  sent_at TEXT,
  ack_received_at TEXT,
  last_error TEXT,
  updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f','now')),
  peer TEXT NOT NULL DEFAULT '',
  stream TEXT,
  sequence INTEGER,
  boot BLOB,
  number INTEGER,
  priority INTEGER NOT NULL DEFAULT 1,
  not_before TEXT,
  expires_at TEXT,
  in_reply_to TEXT,
  next_attempt_at TEXT,
  redriven_at TEXT,
  generation INTEGER NOT NULL DEFAULT 0,
  digest BLOB,
  reserve BLOB NOT NULL DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000',
  payload TEXT NOT NULL
);

-- Messages received. read_count 0 is unread; whoever reads a row counts it up. crypto_timestamp is the
-- sender's clock when it sealed the message, ns. state and ack_sent are made with the commit that allows
-- the acknowledgement; received is found in files of older daemons only. peer is the scope of the
-- message_id: the public key of a session peer in base64, the name of another configured peer, or '' for
-- all users of the shared secret. A session message has boot and number (the run of the sender, and its
-- count there), stream and sequence when it was ordered, and its payload is a BLOB when it was sent as
-- bytes, or is no well-formed text. digest: of a session message the one of the session protocol, of
-- others BLAKE2b-256 of the payload's canonical form. Deleting rows is allowed at any time.
CREATE TABLE inbound_messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  message_id TEXT NOT NULL,
  src_addr TEXT NOT NULL,
  src_port INTEGER NOT NULL,
  crypto_timestamp TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'received',
  ack_sent INTEGER NOT NULL DEFAULT 0,
  received_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f','now')),
  ack_sent_at TEXT,
  updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f','now')),
  read_count INTEGER NOT NULL DEFAULT 0,
  peer TEXT NOT NULL DEFAULT '',
  stream TEXT,
  sequence INTEGER,
  boot BLOB,
  number INTEGER,
  in_reply_to TEXT,
  digest BLOB,
  payload TEXT NOT NULL
);

-- What was deleted from inbound_messages, so that a late copy is not stored again. Kept until the sender
-- said that the number is settled; of classic, and of a run of the sender that has ended, eight days.
CREATE TABLE tombstones (
  peer TEXT NOT NULL,
  message_id TEXT NOT NULL,
  digest BLOB NOT NULL,
  boot BLOB,
  number INTEGER,
  deleted_at TEXT NOT NULL,
  PRIMARY KEY (peer, message_id, digest)
) WITHOUT ROWID;

-- What each scope holds, for its quota.
CREATE TABLE inbound_usage (
  peer TEXT NOT NULL PRIMARY KEY,
  rows INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  tombstones INTEGER NOT NULL DEFAULT 0
);

-- Sessions: the greatest stamps sent to and accepted from each peer, ns. They never fall, or an old
-- handshake could be replayed.
CREATE TABLE handshake_stamps (
  peer_key BLOB NOT NULL PRIMARY KEY,
  sent INTEGER NOT NULL DEFAULT 0,
  accepted INTEGER NOT NULL DEFAULT 0
);

-- Peers with a public key. session_since: from when on nothing but sessions is spoken with it.
-- session_up_since: start of the session that is up, NULL while none is.
-- classic_since: when the operator last took that back. The rest is for status: boot id and address of
-- its newest session, how far its clock is ahead, where a change of keys stands (JSON), and handshakes
-- that it did not answer.
CREATE TABLE peers (
  public_key BLOB NOT NULL PRIMARY KEY,
  name TEXT,
  session_since TEXT,
  session_up_since TEXT,
  boot BLOB,
  last_handshake_at TEXT,
  skew_ms INTEGER,
  endpoint TEXT,
  rotation TEXT,
  classic_since TEXT,
  handshakes_unanswered INTEGER NOT NULL DEFAULT 0
);

-- Ordered messages that never came: first to last sequence of a stream, in one run of the sender. The
-- latest thousand of each peer. peer is its public key in base64, as in inbound_messages.
CREATE TABLE stream_gaps (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  peer TEXT NOT NULL,
  stream TEXT NOT NULL,
  boot BLOB NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  noticed_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f','now'))
);

-- What the daemon must know after a crash. sealed_stamps: spans of stamps that it may have used, ns.
CREATE TABLE meta (
  key TEXT NOT NULL PRIMARY KEY,
  value
);

-- One id, one row.
CREATE UNIQUE INDEX idx_outbound_message_id ON outbound_messages(message_id);

-- Where the daemon looks for work: rows that are not final, by destination and priority.
CREATE INDEX outbound_work ON outbound_messages(
  dst_addr, dst_port, priority, id
) WHERE (state = 'pending' OR state = 'sending' OR state = 'sent') AND not_before IS NULL;

-- Rows whose not_before has not come, and rows that expire at a time of their own.
CREATE INDEX outbound_delayed ON outbound_messages(not_before)
WHERE not_before IS NOT NULL AND (state = 'pending' OR state = 'sending' OR state = 'sent');
CREATE INDEX outbound_expiring ON outbound_messages(expires_at)
WHERE expires_at IS NOT NULL AND (state = 'pending' OR state = 'sending' OR state = 'sent');

-- Rows of a stream go in the order of their ids, whatever their priorities.
CREATE INDEX outbound_streams ON outbound_messages(dst_addr, dst_port, stream, id)
WHERE stream IS NOT NULL AND not_before IS NULL AND (state = 'pending' OR state = 'sending' OR state = 'sent');

-- The dedupe rule. A peer with a key of its own: one id, one message. Under the shared secret nobody can
-- be told apart, so the content belongs to the key.
CREATE UNIQUE INDEX inbound_peer_message ON inbound_messages(peer, message_id)
WHERE peer <> '';
CREATE UNIQUE INDEX inbound_shared_message ON inbound_messages(message_id, digest)
WHERE peer = '';

-- Small indexes for readers, and for the first start after an older daemon.
CREATE INDEX inbound_unread ON inbound_messages(id) WHERE read_count = 0;
CREATE INDEX inbound_received ON inbound_messages(id) WHERE state = 'received';

CREATE INDEX tombstones_age ON tombstones(peer, deleted_at);
CREATE INDEX tombstones_number ON tombstones(peer, boot, number)
WHERE boot IS NOT NULL;

CREATE UNIQUE INDEX stream_gaps_place ON stream_gaps(peer, stream, boot, first);

-- An id near 2^63 would block every later insert.
CREATE TRIGGER outbound_far_id BEFORE INSERT ON outbound_messages
WHEN (NEW.id > 1000000 OR NEW.id < -1)
  AND (NEW.id < -1 OR NEW.id > 1000000 + coalesce(
    (SELECT seq FROM sqlite_sequence WHERE name = 'outbound_messages'), 0))
BEGIN
  SELECT RAISE(ROLLBACK, 'id is negative or far above the sequence; leave it out');
END;
CREATE TRIGGER outbound_far_id_set BEFORE UPDATE OF id ON outbound_messages
WHEN (NEW.id > 1000000 OR NEW.id < -1)
  AND (NEW.id < -1 OR NEW.id > 1000000 + coalesce(
    (SELECT seq FROM sqlite_sequence WHERE name = 'outbound_messages'), 0))
BEGIN
  SELECT RAISE(ROLLBACK, 'id is negative or far above the sequence; leave it out');
END;

-- A final row that is set back to pending begins anew.
CREATE TRIGGER outbound_redriven AFTER UPDATE OF state ON outbound_messages
WHEN NEW.state = 'pending' AND OLD.state IN ('acknowledged','send_failed')
BEGIN
  UPDATE outbound_messages SET
    generation = generation + 1,
    redriven_at = strftime('%Y-%m-%dT%H:%M:%f','now'),
    updated_at = strftime('%Y-%m-%dT%H:%M:%f','now'),
    retry_count = 0, sent_at = NULL, ack_received_at = NULL, last_error = NULL,
    next_attempt_at = NULL,
    expires_at = CASE WHEN julianday(expires_at) <= julianday('now') THEN NULL ELSE expires_at END
  WHERE id = NEW.id;
END;

-- Another destination, payload or id: what is under way no longer counts for this row.
CREATE TRIGGER outbound_readdressed AFTER UPDATE OF dst_addr, dst_port, payload, message_id
ON outbound_messages
WHEN coalesce(OLD.message_id, '') <> '' AND (NEW.payload IS NOT OLD.payload
  OR NEW.message_id IS NOT OLD.message_id
  OR NEW.dst_addr IS NOT OLD.dst_addr OR NEW.dst_port IS NOT OLD.dst_port)
BEGIN
  UPDATE outbound_messages SET
    generation = generation + 1,
    digest = NULL,
    next_attempt_at = NULL,
    updated_at = strftime('%Y-%m-%dT%H:%M:%f','now'),
    redriven_at = CASE WHEN state IN ('sending','sent')
      THEN strftime('%Y-%m-%dT%H:%M:%f','now') ELSE redriven_at END,
    retry_count = CASE WHEN state IN ('sending','sent') THEN 0 ELSE retry_count END,
    state = CASE WHEN state IN ('sending','sent') THEN 'pending' ELSE state END
  WHERE id = NEW.id;
END;

-- Whoever deletes: the id stays known.
CREATE TRIGGER inbound_deleted AFTER DELETE ON inbound_messages
BEGIN
  INSERT OR REPLACE INTO tombstones(peer, message_id, digest, boot, number, deleted_at)
  VALUES (OLD.peer, OLD.message_id, coalesce(OLD.digest, x''), OLD.boot, OLD.number,
    strftime('%Y-%m-%dT%H:%M:%f','now'));
  INSERT INTO inbound_usage(peer, tombstones) VALUES (OLD.peer, 1)
  ON CONFLICT(peer) DO UPDATE SET
    rows = max(0, rows - 1),
    bytes = max(0, bytes - length(CAST(OLD.payload AS BLOB))),
    tombstones = tombstones + 1;
END;
