-- Daemons and their events are in the order of `seq` alone, for a host's clock may be set back.
-- `daemons.seq` is that of the event that told so, or of the latest that the host took account of when
-- it told of all it has; NULL in a row of an earlier version, which is older than any event.
-- `daemon_events.removed` is 1 as long as what has a lower `seq` is of before the removal: not any more
-- once the host has begun to count anew.
CREATE INDEX daemon_events_seq ON daemon_events (host, removed, seq);
