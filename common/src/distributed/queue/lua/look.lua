-- What an acceptance has to know. KEYS: job, lane front, lane backlog of its project.
-- Answers: known (0/1), jobs of the project ready in front, jobs of it in the backlog.
return { redis.call('EXISTS', KEYS[1]), redis.call('SCARD', KEYS[2]), redis.call('SCARD', KEYS[3]) }
