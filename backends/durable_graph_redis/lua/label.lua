-- Store a thread's card, if it is the next.
-- KEYS: the thread; its part of the list.
-- ARGV: 1 the card, 2 its version, 3 a plus and where it says that the log is, or empty; 4 the
-- place in the list of a thread that has no log.
-- 1: stored, now or before. 0: there is another.
local thread, index = KEYS[1], KEYS[2]
local now = redis.call('HMGET', thread, 'version', 'card', 'head', 'place')
if tonumber(ARGV[2]) ~= (tonumber(now[1]) or 0) + 1 then
  return now[2] == ARGV[1] and 1 or 0
end
redis.call('HSET', thread, 'card', ARGV[1], 'version', ARGV[2])
if ARGV[3] == '' then redis.call('HDEL', thread, 'away')
else redis.call('HSET', thread, 'away', string.sub(ARGV[3], 2)) end
if not now[3] then
  if now[4] and now[4] ~= ARGV[4] then redis.call('ZREM', index, now[4]) end
  redis.call('HSET', thread, 'place', ARGV[4])
  redis.call('ZADD', index, 0, ARGV[4])
end
return 1
