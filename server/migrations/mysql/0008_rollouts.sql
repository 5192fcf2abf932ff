-- Whom the request's expression was for; NULL where hosts were named alone.
ALTER TABLE requests ADD COLUMN target TEXT;
-- Of a rollout, how it goes on: a JSON object with batch and so on.
ALTER TABLE requests ADD COLUMN rollout TEXT;
-- Of a rollout, how many of its hosts, in the order asked, may have heard of it: written before they do.
ALTER TABLE requests ADD COLUMN begun BIGINT;
-- Of a rollout that ended before all were begun: a JSON object with reason, detail and not_begun.
ALTER TABLE requests ADD COLUMN stopped TEXT;
